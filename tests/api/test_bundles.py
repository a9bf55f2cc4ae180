"""Files of bundles, registered models, aliases, online encoding; and names and files that must not work."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.types import Message

from closegap.api.context import Context
from closegap.api.files import sent
from closegap.api.span import Wanted
from closegap.job import Capacity
from closegap_core.durable import file_digest
from tests.api.conftest import TRAIN, As
from tests.api.sealed import bundle_folder, sealed_model
from tests.serving import awaited


@pytest.fixture
def digest(context: Context) -> str:
    """Of a model that is registered as `m/1` in project `default`."""
    made = sealed_model(context.artifacts)
    context.registry("default").register("m", made, "train-1", 1)
    return made


@pytest.fixture
def job(context: Context, by: As, digest: str) -> str:
    """A job that has left the model."""
    made: str = by("submitter").post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
    claim = context.queue.claim("w", Capacity(cpus=1), 60)
    assert claim is not None
    context.queue.start(claim.lease)
    context.queue.succeed(claim.lease, {"model": digest, "valid_elbo": -1.0})
    return made


def test_artifacts_are_listed_and_sent_whole(by: As, job: str, context: Context, digest: str) -> None:
    client = by("viewer")
    [artifact] = client.get(f"/v1/jobs/{job}/artifacts").json()["artifacts"]
    assert (artifact["output"], artifact["digest"], artifact["kind"]) == ("model", digest, "model")
    names = [file["name"] for file in artifact["files"]]
    assert names == ["config.json", "encoder.onnx", "metrics.json", "notes/read me.html"]
    for file in artifact["files"]:
        answer = client.get(quote(file["href"]))
        assert answer.status_code == 200
        assert len(answer.content) == file["bytes"] == int(answer.headers["content-length"])
        assert answer.headers["etag"] == f'"{file["sha256"]}"'
        assert answer.content == (bundle_folder(context.artifacts, digest) / file["name"]).read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
    assert 'filename="read_me.html"' in answer.headers["content-disposition"]
    by_model = client.get("/v1/models/m/versions/1/files/config.json")
    assert by_model.content == b"{}"


RANGES = {
    "bytes=0-3": (0, 4),
    "bytes=4-": (4, 10),
    "bytes=-3": (7, 10),
    "bytes=-99": (0, 10),
    "bytes=9-9": (9, 10),
    "bytes=2-99": (2, 10),
    "bytes=0-": (0, 10),
}
NO_RANGES = (
    "bytes=0-1,4-5", "bytes=3-1", "bytes=", "bytes=-", "items=0-1", "0-1", "bytes=a-b", "bytes=1--2", "",
    "bytes 0-1", f"bytes={'9' * 400}-", "bytes=\u0660-\u0663",
)  # fmt: skip


def test_a_range_of_a_file(by: As, context: Context) -> None:
    content = b"0123456789"
    context.registry("default").register("m", sealed_model(context.artifacts, digits=content), "train-1", 1)
    client, path = by("viewer"), "/v1/models/m/versions/1/files/digits"
    tag = client.get(path).headers["etag"]
    for asked, (start, stop) in RANGES.items():
        for conditions in ({}, {"If-Range": tag}):
            answer = client.get(path, headers={"Range": asked, **conditions})
            assert (answer.status_code, answer.content) == (206, content[start:stop]), asked
            assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/10"
            assert answer.headers["content-length"] == str(stop - start)
            assert (answer.headers["etag"], answer.headers["accept-ranges"]) == (tag, "bytes")
    for other in ('"0"', f"W/{tag}", "Sat, 21 Nov 2026 12:00:00 GMT", ""):
        answer = client.get(path, headers={"Range": "bytes=0-3", "If-Range": other})
        assert (answer.status_code, answer.content) == (200, content), other
        assert "content-range" not in answer.headers


def test_what_is_no_single_range_is_ignored_and_what_is_outside_is_said_to_be(by: As, job: str) -> None:
    client, path = by("viewer"), f"/v1/jobs/{job}/artifacts/model/config.json"
    for asked in NO_RANGES:
        answer = client.get(path, headers={"Range": asked.encode()})
        assert (answer.status_code, answer.content) == (200, b"{}"), asked
        assert answer.headers["accept-ranges"] == "bytes"
    for asked in ("bytes=2-", "bytes=2-3", "bytes=-0", "bytes=999999999999999999-"):
        answer = client.get(path, headers={"Range": asked})
        assert (answer.status_code, answer.json()["code"]) == (416, "no_such_range"), asked
        assert answer.headers["content-range"] == "bytes */2"
        assert client.get(path, headers={"Range": asked, "If-Range": '"0"'}).status_code == 200


def test_a_download_that_broke_off_goes_on(by: As, context: Context) -> None:
    content = bytes(range(256)) * 4096
    context.registry("default").register("m", sealed_model(context.artifacts, big=content), "train-1", 1)
    client, path = by("viewer"), "/v1/models/m/versions/1/files/big"
    with client.stream("GET", path) as answer:
        tag, have = answer.headers["etag"], next(answer.iter_bytes(100_000))
    rest = client.get(path, headers={"Range": f"bytes={len(have)}-", "If-Range": tag})
    assert rest.status_code == 206
    assert have + rest.content == content


def test_a_client_that_hangs_up_before_the_first_byte_leaves_nothing_open(
    context: Context, digest: str
) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        """As a server does for one that is gone: nothing."""

    def held() -> list[Path]:
        """Open files of the bundle; other threads of this process open theirs meanwhile."""
        found = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return [path for path in found if path.is_symlink() and bundle.path in path.resolve().parents]

    bundle = context.artifacts.open(digest)
    answer = sent(bundle, "config.json", Wanted(None, None))
    assert held()
    awaited(answer({"type": "http", "asgi": {"spec_version": "2.3"}}, gone, send))
    assert held() == []


TRAVERSAL = [
    "../manifest.json", "..%2fmanifest.json", "%2e%2e/%2e%2e/secret", "..%2f..%2f..%2fetc%2fpasswd", "/etc/passwd",
    "%2fetc%2fpasswd", "....//secret", "..;/secret", "notes/../config.json", "notes/..%2fconfig.json", "./config.json",
    "notes//read me.html", "config.json/", "config.json%00", "config.json%00.txt", "CONFIG.JSON", "config.json ",
    "%c0%ae%c0%ae/secret", "%252e%252e%252fsecret", "..\\..\\secret", "C:\\secret", "file:///etc/passwd",
    "~/.ssh/id_rsa",
    "notes", "manifest.json", "", ".", "..", "%ff", "\u202e", "config.json?x", "*", "config.json\r\nX-Injected: 1",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSAL)
def test_no_name_leads_out_of_a_bundle(by: As, url: str, job: str, context: Context, name: str) -> None:
    """Only what the manifest names can be had; every other name, however written, is not there."""
    (context.artifacts.root / "secret").write_text("what is hidden")
    client = by("admin")
    for base in (f"/v1/jobs/{job}/artifacts/model", "/v1/models/m/versions/1/files"):
        raw = f"{base}/{name}".encode("utf-8", "surrogateescape")
        target = quote(raw, safe="/%:;\\~*?")
        status, headers, text = raw_get(url, target, client.headers["authorization"])
        assert status == (200 if name == "config.json?x" else 404), f"{target}: {status} {text[:200]}"
        assert "what is hidden" not in text
        assert "root:" not in text
        assert "x-injected" not in headers


def raw_get(url: str, target: str, authorization: str) -> tuple[int, set[str], str]:
    """Status, names of headers and text; httpx would tidy the path up."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.putrequest("GET", target)
    connection.putheader("Authorization", authorization)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, {name.lower() for name, _ in answer.getheaders()}, text


@pytest.mark.parametrize("output", ["valid_elbo", "nothing", "..", "__class__", "path"])
def test_only_bundles_are_artifacts(by: As, job: str, output: str) -> None:
    answer = by("admin").get(f"/v1/jobs/{job}/artifacts/{output}/config.json")
    assert answer.status_code == 404


def test_links_and_what_was_altered_are_refused(
    by: As, job: str, context: Context, digest: str, tmp_path: Path
) -> None:
    """A bundle that somebody put there by hand: symbolic and hard links, a fifo, a longer file, a linked folder."""
    folder, client = bundle_folder(context.artifacts, digest), by("admin")
    outside = tmp_path / "outside"
    outside.write_bytes(b"{}")
    path = f"/v1/jobs/{job}/artifacts/model/config.json"

    def swapped(make: Callable[[Path], Any]) -> httpx.Response:
        (folder / "config.json").unlink(missing_ok=True)
        make(folder / "config.json")
        return client.get(path)

    tries: dict[str, Callable[[Path], Any]] = {
        "symbolic": lambda file: file.symlink_to(outside),
        "hard": lambda file: os.link(outside, file),
        "fifo": os.mkfifo,
        "longer": lambda file: file.write_bytes(b"{} "),
        "absent": lambda file: None,
    }
    for name, make in tries.items():
        answer = swapped(make)
        assert (answer.status_code, answer.json()["code"]) == (409, "bundle_damaged"), name
        assert str(context.artifacts.root) not in answer.text, name
    (folder / "config.json").unlink(missing_ok=True)
    (folder / "config.json").write_bytes(b"{}")
    assert client.get(path).status_code == 200
    (folder / "notes" / "read me.html").unlink()
    (folder / "notes").rmdir()
    (folder / "notes").symlink_to(tmp_path)
    assert client.get(f"/v1/jobs/{job}/artifacts/model/notes/read me.html").status_code == 409


def test_models_versions_and_aliases(by: As, context: Context, digest: str) -> None:
    client, admin = by("submitter"), by("admin")
    second = sealed_model(context.artifacts, extra=b"x")
    context.registry("default").register("m", second, "train-2", 1)
    [model] = client.get("/v1/models").json()["models"]
    assert (model["project"], model["name"], model["versions"], model["newest"]["version"]) == (
        "default",
        "m",
        2,
        2,
    )
    assert [item["digest"] for item in client.get("/v1/models/m").json()["versions"]] == [digest, second]
    version = client.get("/v1/models/m/versions/1").json()
    assert version["metrics"] == {"summary": {"valid_elbo": -10.5}}
    assert (version["encodes"], version["aliases"], version["lineage"]["register"]) == (True, [], "m")
    assert client.put("/v1/models/m/aliases/best", json={"version": 1}).json()["version"] == 1
    assert client.get("/v1/models/m/aliases/best").json()["actor"].startswith("submitter (token")
    assert client.get("/v1/models/m/versions/1").json()["aliases"] == ["best"]
    assert context.registry("default").resolve("m@best").digest == digest
    assert client.post("/v1/jobs:validate", json={"kind": "export", "model": "m@best"}).status_code == 200
    assert client.put("/v1/models/m/aliases/best", json={"version": 2}).json()["version"] == 2
    assert context.registry("default").resolve("m@best").digest == second
    assert client.put("/v1/models/m/aliases/best", json={"version": 3}).status_code == 404
    assert client.delete("/v1/models/m/aliases/best").status_code == 204
    assert client.get("/v1/models/m/aliases/best").status_code == 404
    assert client.get("/v1/models/n").status_code == 404
    for number in (3, 0, "x", 10**30):
        assert client.get(f"/v1/models/m/versions/{number}").status_code == 404, number
    assert client.put("/v1/models/m/aliases/a.b", json={"version": 1}).status_code == 404
    actions = [entry["action"] for entry in admin.get("/v1/audit").json()["entries"]]
    assert actions[:3] == ["model.unalias", "model.alias", "model.alias"]


ROWS = [[0.0, 1.0, 2.0, 3.0], [0.5, 0.25, 0.0, -1.0]]


def test_rows_become_posteriors_with_their_evidence(by: As, digest: str, context: Context) -> None:
    client = by("viewer")
    context.registry("default").set_alias("m", "best", 1, "me")
    for reference in ("m", "m:1", "m@best"):
        answer = client.post(f"/v1/encode/{reference}", json={"rows": ROWS})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["mean"] == [[0.0, 1.0], [0.5, 0.25]]
        assert found["log_var"] == [[2.0, 3.0], [0.0, -1.0]]
        assert found["elbo"] == [-6.0, 0.25]
        assert (found["model"], found["version"], found["digest"], found["iterations"]) == ("m", 1, digest, 1)
    for reference in ("n", "m:2", "m@worst"):
        assert client.post(f"/v1/encode/{reference}", json={"rows": ROWS}).status_code == 404
    assert "closegap_api_encoded_rows_total 6.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"rows": [[1, 2, 3]]}', 422, "invalid_rows"),
        (b'{"rows": [[1, 2, 3, 4], [1]]}', 422, "invalid_rows"),
        (b'{"rows": []}', 422, "invalid_request"),
        (b'{"rows": [["a", 2, 3, 4]]}', 422, "invalid_request"),
        (b'{"rows": [[null, 2, 3, 4]]}', 422, "invalid_request"),
        (b'{"rows": [[1, 2, 3, 4]], "iterations": -1}', 422, "invalid_request"),
        (b'{"rows": [[1, 2, 3, 4]], "iterations": 7}', 422, "invalid_rows"),
        (b'{"rows": [[1, 2, 3, 4]], "model": "/etc/passwd"}', 422, "invalid_request"),
        (b'{"rows": [[1e39, 2, 3, 4]]}', 422, "invalid_rows"),
        (b'{"rows": [[3e38, 3e38, 0, 0]]}', 422, "not_finite"),
        (b'{"rows": [[1e999, 2, 3, 4]]}', 422, "invalid_rows"),
        (b'{"rows": [[NaN, 2, 3, 4]]}', 422, "invalid_rows"),
        (b"{", 400, "malformed_json"),
        (b"\xff", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b'{"rows": [' + b"[1,2,3,4]," * 4096 + b"[1,2,3,4]]}", 413, "too_large"),
        (b" " * (33 << 20), 413, "too_large"),
    ],
)  # fmt: skip
def test_rows_that_are_none(by: As, digest: str, content: bytes, status: int, code: str) -> None:
    answer = by("viewer").post("/v1/encode/m", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_encoding_is_bounded_and_says_when_to_come_back(by: As, digest: str, context: Context) -> None:
    client = by("viewer")
    with context.limits.encodings.place("a"), context.limits.encodings.place("b"):
        answer = client.post("/v1/encode/m", json={"rows": ROWS})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert client.post("/v1/encode/m", json={"rows": ROWS}).status_code == 200


def test_a_session_is_opened_once_a_digest(context: Context, digest: str) -> None:
    bundle = context.artifacts.open(digest)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(context.encoders.get, [bundle] * 8))
    assert len({id(encoder) for encoder in found}) == 1


def malicious(folder: Path, name: str) -> None:
    """Make the bundle's encoder what it must not be, the manifest made to fit where that is possible."""
    import onnx
    from onnx import TensorProto, helper

    file = folder / "encoder.onnx"
    model = onnx.load_from_string(file.read_bytes())
    if name == "altered":
        model.metadata_props[0].value = model.metadata_props[0].value.replace("1", "2")  # of the same length
    elif name == "external":
        weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
        weights.ClearField("float_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", "../../../../../../etc/passwd"
        model.graph.initializer.append(weights)
        model.graph.node.append(helper.make_node("Identity", ["w"], ["unused"]))
    elif name == "custom operator":
        model.graph.node.append(helper.make_node("Evil", ["x"], ["unused"], domain="evil"))
        model.opset_import.append(helper.make_opsetid("evil", 1))
    elif name == "not ours":
        del model.metadata_props[:]
    content = b"\x80\x04cos\nsystem\n" if name == "pickle" else model.SerializeToString()
    file.chmod(0o644)
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["altered", "external", "custom operator", "not ours", "pickle"])
def test_a_malicious_encoder_is_refused(by: As, context: Context, name: str) -> None:
    """Sealed with the evil in it, so that its digests fit: what refuses it is not the digest (but for `altered`)."""
    from closegap_core import bundle

    with context.artifacts.staged("train-1", 1) as folder:
        from tests.api.sealed import encoder

        (folder / "config.json").write_text("{}")
        (folder / "encoder.onnx").write_bytes(encoder())
        if name != "altered":
            malicious(folder, name)
        bundle.write(folder, "model", {})
        digest = context.artifacts.publish(folder)
    context.registry("default").register("evil", digest, "j", 1)
    if name == "altered":
        malicious(bundle_folder(context.artifacts, digest), name)
    answer = by("viewer").post("/v1/encode/evil", json={"rows": ROWS})
    assert answer.status_code in (409, 422), answer.text
    assert "root:" not in answer.text
    assert file_digest(Path("/etc/passwd"))  # there to be read, so the test could fail
