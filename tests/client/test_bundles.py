"""Artefacts and models: downloads that break off or lie, the registry, and encoding arrays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap import Client, ClientError, Encoding
from closegap.api.context import Context
from closegap.client.documents import Bundle, EncoderFacts, File
from closegap.client.downloads import bundle, one
from closegap.client.encoding import checked, chunk
from closegap.client.errors import Conflict, DamagedFile, InvalidRequest, NotFound
from tests.api.sealed import bundle_folder, sealed_model

from .conftest import QUICK, InProcess, Worker, spec
from .little import Asked, Little, Says

CONTENT = bytes(range(256)) * 64
FILE = File(name="f.bin", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), href="/f")


def test_outputs_are_downloaded_whole(
    client: Client, worker: Worker, digest: str, context: Context, tmp_path: Path
) -> None:
    job = client.submit(spec())
    worker.succeeds(worker.starts(), model=digest)
    [left] = job.artifacts()
    assert (left.output, left.kind, left.digest) == ("model", "model", digest)
    file = job.download("model/metrics.json", tmp_path / "deep" / "m.json")
    assert file.read_text() == '{"summary": {"valid_elbo": -10.5}}'
    assert job.download("model/notes/read me.html", tmp_path).name == "read me.html"
    folder = job.download("model", tmp_path / "model")
    kept = bundle_folder(context.artifacts, digest)
    for known in left.files:
        assert (folder / known.name).read_bytes() == (kept / known.name).read_bytes()
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]
    with pytest.raises(ClientError, match="is there already"):
        job.download("model", tmp_path / "model")
    with pytest.raises(NotFound, match=re.escape("it has model/config.json")):
        job.download("model/nothing", tmp_path)


def ranged(number: int, asked: Asked, cut: int | None) -> Says:
    """A server that takes ranges, and cuts what it sends."""
    match = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    start = int(match[1]) if match else 0
    return Says(206 if match else 200, CONTENT[start:], {"Content-Type": "application/octet-stream"}, cut)


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    with (
        Little(lambda number, asked: ranged(number, asked, 3000 if number <= 4 else None)) as little,
        Client(little.url, retry=QUICK._replace(attempts=2)) as client,
    ):
        assert one(client.connection, FILE, tmp_path / "f").read_bytes() == CONTENT
        ranges = [asked.headers.get("Range") for asked in little.asked]
        assert ranges == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-", "bytes=12000-"]
        assert {asked.headers["If-Range"] for asked in little.asked[1:]} == {f'"{FILE.sha256}"'}


def test_a_server_without_ranges_sends_it_from_the_beginning(tmp_path: Path) -> None:
    def answer(number: int, asked: Asked) -> Says:
        return Says(200, CONTENT, cut=3000 if number == 1 else None)

    with Little(answer) as little, Client(little.url, retry=QUICK) as client:
        assert one(client.connection, FILE, tmp_path / "f").read_bytes() == CONTENT


def test_what_is_left_of_another_time_is_taken_up(tmp_path: Path) -> None:
    with Little(lambda number, asked: ranged(number, asked, 5000 if number == 1 else None)) as little:
        with Client(little.url, retry=QUICK._replace(attempts=1)) as client, pytest.raises(ClientError):
            one(client.connection, FILE, tmp_path / "f")
        assert not (tmp_path / "f").exists()
        with Client(little.url, retry=QUICK) as client:
            one(client.connection, FILE, tmp_path / "f")
        assert [asked.headers.get("Range") for asked in little.asked] == [None, "bytes=5000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_other_bytes_than_the_digest_says_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("as it was")
    with (
        Little(lambda number, asked: Says(200, CONTENT[::-1])) as little,
        Client(little.url) as client,
        pytest.raises(DamagedFile, match=r"f\.bin was not kept"),
    ):
        one(client.connection, FILE, tmp_path / "f")
    assert (tmp_path / "f").read_text() == "as it was"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "..\\out", "."])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    found = Bundle(
        output="m", digest="sha256:" + "0" * 64, kind="model", files=(FILE.model_copy(update={"name": name}),)
    )
    with Little(lambda number, asked: Says(200, CONTENT)) as little, Client(little.url) as client:
        with pytest.raises(DamagedFile, match="no name of a file"):
            bundle(client.connection, found, tmp_path / "in" / "m")
        assert not little.asked
    assert not list(tmp_path.rglob("out"))


def test_the_registry(client: Client, context: Context, digest: str, tmp_path: Path) -> None:
    context.registry("default").register(
        "m", sealed_model(context.artifacts, "train-2", more=b"x"), "train-2", 1
    )
    [summary] = client.models
    assert (summary.name, summary.versions, summary.newest.version) == ("m", 2, 2)
    assert client.models.get("m").version == 2
    assert client.models["m/1"].digest == digest
    alias = client.models["m/1"].set_alias("best")
    assert (alias.alias, alias.version) == ("best", 1)
    assert str(client.models["m@best"]) == "m/1"
    assert client.models["m@best"].facts.aliases == ("best",)
    assert client.models.set_alias("m", "best", 2).version == 2
    client.models.remove_alias("m", "best")
    assert [item.version for item in client.models.versions("m").versions] == [1, 2]
    for reference in ("m@best", "m/9", "nothing", "m/0", "../x", "sha256:00"):
        with pytest.raises(NotFound):
            client.models.get(reference)
    with pytest.raises(InvalidRequest):
        client.models.set_alias("m", "a/b", 1)
    model = client.models["m/1"]
    assert model.metrics == {"summary": {"valid_elbo": -10.5}}
    assert model.lineage["register"] == "m"
    assert "m/1" in model._repr_html_()
    assert model.download(tmp_path / "e.onnx", "encoder.onnx").stat().st_size > 100
    assert (model.download(tmp_path / "all") / "config.json").read_text() == "{}"
    with pytest.raises(NotFound, match=r"it has config\.json"):
        model.download(tmp_path / "x", "nothing")


def test_arrays_are_encoded(client: Client, digest: str) -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    found = client.models["m"].encode(x)
    assert isinstance(found, Encoding)
    np.testing.assert_allclose(found.mean, x[:, :2], rtol=1e-6)
    np.testing.assert_allclose(found.log_var, x[:, 2:], rtol=1e-6)
    np.testing.assert_allclose(found.elbo, -x.sum(1), rtol=1e-5)
    assert (found.mean.dtype, found.iterations, found.version, found.digest) == (np.float32, 1, 1, digest)
    np.testing.assert_array_equal(client.models["m"].encode(x.tolist()).mean, found.mean)


def test_many_rows_are_sent_in_parts(
    within: InProcess, context: Context, digest: str, secret: Callable[..., str]
) -> None:
    limited = context._replace(settings=context.settings.model_copy(update={"api_encode_rows": 3}))
    within._inner.app.state.context = limited  # type: ignore[attr-defined]
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    with Client("http://localhost", secret("viewer"), transport=within) as client:
        model = client.models["m"]
        assert model.encoder.most_rows == 3
        np.testing.assert_array_equal(model.encode(x).mean, x[:, :2])


FACTS = EncoderFacts(
    model="m", version=1, digest="d", width=4, shape=(2, 2), latent=2, likelihood="bernoulli", unit_interval=True,
    binarise=False, iterations=5, most_rows=100, most_values=1000, most_bytes=1 << 20,
)  # fmt: skip


def test_rows_of_one_request_fit_every_limit() -> None:
    assert chunk(FACTS, 1) == 100
    assert chunk(FACTS, None) == 1000 // (4 * 5)
    assert chunk(FACTS, 0) == 100
    assert chunk(FACTS.model_copy(update={"most_bytes": 4 * 24 * 10}), 1) == 9
    assert chunk(FACTS.model_copy(update={"most_bytes": 10}), 1) == 1


@pytest.mark.parametrize(
    ("rows", "said", "changes"),
    [
        ([[0.0] * 5], r"rows have shape \(1, 5\); `m` reads \(N, 4\) or \(N, 2, 2\)", {}),
        ([0.0] * 4, r"shape \(4,\)", {}),
        ([[0.0] * 3, [0.0] * 4], "no array of numbers", {}),
        ([["a"] * 4], "no array of numbers", {}),
        (np.zeros((0, 4)), "no rows", {}),
        (
            [[0, 0, 0, 0], [0, 0, float("nan"), 0]],
            "row 1, column 2 is nan; every value must be a finite number",
            {},
        ),
        ([[1e300, 0, 0, 0]], "row 0, column 0 is inf", {}),
        ([[0, 2, 0, 0]], r"row 0, column 1 is 2\.0; every value must be in \[0, 1\]", {}),
        ([[0, 0.5, 0, 0]], "a word count", {"likelihood": "multinomial"}),
    ],
)
def test_rows_that_do_not_fit_are_told_before_anything_is_sent(
    rows: Any, said: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match=said):
        checked(rows, FACTS.model_copy(update=changes))


def test_rows_may_have_the_shape_of_the_data() -> None:
    x = np.linspace(0, 1, 8).reshape(2, 2, 2)
    np.testing.assert_array_equal(checked(x, FACTS), x.reshape(2, 4).astype(np.float32))


def test_a_model_that_was_not_exported_cannot_encode(client: Client, context: Context) -> None:
    from closegap_core import bundle as bundles

    with context.artifacts.staged("train-3", 1) as folder:
        (folder / "config.json").write_text("{}")
        bundles.write(folder, "model", {})
        context.registry("default").register("raw", context.artifacts.publish(folder), "train-3", 1)
    assert not client.models["raw"].facts.encodes
    with pytest.raises(Conflict):
        client.models["raw"].encode([[0.0]])
