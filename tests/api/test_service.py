"""The service itself: health, metrics, limits, request ids, errors, headers, other sites, the document."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from closegap.access.token import Role
from closegap.api.app import PUBLIC
from closegap.api.context import Context, opened
from closegap.api.limits import Rate
from closegap.api.problem import Answer
from closegap.api.server import Server, listening
from closegap.api.server import url as server_url
from closegap.errors import StoreUnavailable
from closegap.queue.shares import Shares
from closegap.settings import Settings
from closegap.store.embedded import EmbeddedStore
from tests.api.conftest import TRAIN, As
from tests.serving import awaited


class Served:
    """A server of a context in a thread, for as long as a block lasts."""

    def __init__(self, context: Context) -> None:
        self.place = listening("127.0.0.1", 0)
        self.server = Server(context)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.place]})

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.005)
        return server_url(self.place)

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.place.close()


def test_health_needs_no_token_and_says_nothing(served: httpx.Client) -> None:
    assert served.get("/healthz").json() == {"status": "ok"}
    assert served.get("/readyz").json() == {"status": "ok"}


def test_metrics_count_requests_by_route(by: As) -> None:
    client = by("viewer")
    client.get("/v1/jobs/nothing")
    client.get("/v1/jobs/nothing-else")
    client.get("/no/such/route")
    text = client.get("/metrics").text
    assert 'closegap_api_requests_total{method="GET",route="/v1/jobs/{job}",status="404"} 2.0' in text
    assert "nothing" not in text
    assert "closegap_store_up 1.0" in text
    assert by("viewer", "some").get("/metrics").status_code == 403


def test_what_is_not_there_is_a_problem_document(served: httpx.Client) -> None:
    for method, path, status, code in (
        ("GET", "/nothing", 404, "no_such_route"),
        ("GET", "/v1/jobs/", 404, "no_such_route"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/docs", 404, "no_such_route"),
        ("TRACE", "/v1/jobs", 405, "method_not_allowed"),
    ):
        answer = served.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert answer.json()["instance"] == path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_request_ids_are_the_clients_where_they_are_plain(served: httpx.Client) -> None:
    assert (
        served.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    )
    for strange in ("a b", "<script>", "x" * 65, ""):
        fresh = served.get("/healthz", headers={"X-Request-Id": strange}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", fresh)


def test_a_fault_shows_nothing_of_itself(by: As, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("what is hidden")

    monkeypatch.setattr("closegap.queue.queue.Queue.workers", broken)
    answer = by("viewer").get("/v1/workers")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hidden" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert by("viewer").get("/v1/whoami").status_code == 200


def test_a_token_that_asks_too_often_is_told_when_to_come_back(settings: Settings) -> None:
    with Served(opened(settings.model_copy(update={"api_rate": 2.0}))) as url:
        tokens = opened(settings).tokens
        one, two = (tokens.create(name, Role.VIEWER).secret for name in "ab")
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {one}"}) as client:
            assert [client.get("/v1/whoami").status_code for _ in range(4)] == [200] * 4
            asked = (client.get("/v1/whoami") for _ in range(100))
            refused = next(answer for answer in asked if answer.status_code != 200)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            other = client.get("/v1/whoami", headers={"Authorization": f"Bearer {two}"})
            assert other.status_code == 200


def test_a_bucket_fills_with_time_and_all_processes_draw_from_it(context: Context) -> None:
    namespace = context.settings.namespace

    def rate() -> Rate:
        return Rate(Shares(context.client, namespace), "test", rate=0.01, burst=3.0)

    def passes(seconds: int) -> None:
        context.client.hincrby(f"{{{namespace}}}:bucket:test:a", "seen", -1000 * seconds)

    one, two = rate(), rate()
    one.take("a")
    two.take("a")
    one.take("a")
    for other in (one, two):
        with pytest.raises(Answer) as caught:
            other.take("a")
        assert (caught.value.status, int(caught.value.headers["Retry-After"])) == (
            429,
            pytest.approx(100, abs=9),
        )
    one.take("b")
    passes(105)
    two.take("a")
    with pytest.raises(Answer):
        one.take("a")
    passes(100_000)
    for _ in range(3):
        two.take("a")
    with pytest.raises(Answer):
        two.take("a")


def test_a_process_draws_some_tokens_at_a_time(context: Context) -> None:
    rate = Rate(Shares(context.client, context.settings.namespace), "test", rate=1e-3 + 100.0, burst=200.0)
    before = context.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    for _ in range(100):
        rate.take("a")
    assert context.client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 10


def test_without_the_store_nobody_is_counted_and_nobody_let_in(
    settings: Settings, own_store: EmbeddedStore
) -> None:
    context = opened(settings.model_copy(update={"home": own_store.home}))
    limits = context.limits
    limits.rate.take("a")
    own_store.stop()
    for read in (context.feed.recorded("j", "0"), context.feed.latest("j")):
        with pytest.raises(StoreUnavailable):
            awaited(read)
    for take in (limits.failures.take, limits.streams.take):
        with pytest.raises(StoreUnavailable):
            take("a")
    assert limits.streams.taken == 0


def test_guessing_tokens_is_slowed(served: httpx.Client) -> None:
    def guess() -> int:
        return served.get("/v1/whoami", headers={"Authorization": "Bearer x"}).status_code

    assert [guess() for _ in range(50)] == [401] * 50
    assert next(status for _ in range(1000) if (status := guess()) != 401) == 429


def test_the_store_goes_away_and_comes_back(own_store: EmbeddedStore) -> None:
    """503 with Retry-After meanwhile; streams end and can be taken up; the service needs no restart."""
    store, settings = own_store, Settings.load(home=own_store.home, api_beat_seconds=0.2)
    context = opened(settings)
    secret = context.tokens.create("a", Role.ADMIN).secret
    headers = {"Authorization": f"Bearer {secret}"}
    with Served(context) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        job = client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
        with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
            lines = answer.iter_lines()
            last = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
            store.stop()
            away = client.get("/v1/jobs")
            assert (away.status_code, away.json()["code"]) == (503, "store_unavailable")
            assert int(away.headers["retry-after"]) >= 1
            assert str(settings.home) not in away.text
            assert client.get("/readyz").status_code == 503
            assert client.get("/healthz").status_code == 200
            store.start()
            deadline = time.monotonic() + 30
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline
            # The stream is one of those that lived through it, or it has ended: both lose nothing.
            assert client.post(f"/v1/jobs/{job}:cancel").json()["state"] == "cancelled"
        again = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last}).text
        assert [line for line in again.splitlines() if line.startswith("event")] == [
            "event: state",
            "event: end",
        ]


def test_without_authentication_pages_of_other_sites_are_refused(settings: Settings) -> None:
    with Served(opened(settings, auth=False)) as url, httpx.Client(base_url=url) as client:
        assert client.get("/v1/whoami").json()["role"] == "admin"
        assert client.post("/v1/jobs", json=TRAIN).status_code == 202
        port = url.rpartition(":")[2]
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example"},
            {"Host": f"evil.example:{port}"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            answer = client.post("/v1/jobs", json=TRAIN, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), headers
        own = {"Origin": url, "Host": f"127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/v1/jobs", json=TRAIN, headers=own).status_code == 202
        assert client.get("/v1/whoami", headers={"Host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nzz",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v1/jobs/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    ],
)
def test_what_is_hardly_http_is_answered_and_lived_through(
    url: str, served: httpx.Client, sent: bytes
) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert not answer or answer.split()[1][:1] == b"4", answer[:200]
    assert served.get("/healthz").status_code == 200


def test_the_document_is_whole(served: httpx.Client) -> None:
    document = served.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document["components"]["schemas"], name
    assert "HTTPValidationError" not in text
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            contents = [content for answer in good for content in answer.get("content", {}).items()]
            for media, content in contents:
                assert "example" in content or media == "application/octet-stream" or len(contents) > 1, where
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], where
            if path not in PUBLIC:
                assert operation["security"] == [{"HTTPBearer": []}], where


def test_examples_of_the_document_are_valid(served: httpx.Client) -> None:
    from jsonschema import Draft202012Validator

    document = served.get("/openapi.json").json()
    checked, wrong = 0, []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            places = [answer.get("content", {}) for answer in operation["responses"].values()]
            places.append(operation.get("requestBody", {}).get("content", {}))
            for media in (media for place in places for media in place.values()):
                if "example" in media and "schema" in media and media["schema"].get("type") != "string":
                    schema = {**media["schema"], "components": document["components"]}
                    errors = list(Draft202012Validator(schema).iter_errors(media["example"]))
                    wrong += [f"{path}: {error.message}" for error in errors]
                    checked += 1
    assert not wrong
    assert checked > 25


def test_the_document_has_specs_in_few_words(app: FastAPI) -> None:
    from jsonschema import Draft202012Validator

    document = app.openapi()
    schema = {"$ref": "#/components/schemas/Submission", "components": document["components"]}
    validator = Draft202012Validator(schema)
    assert isinstance(TRAIN["inference"], str)
    validator.validate(TRAIN)
    validator.validate([TRAIN, {**TRAIN, "inference": {"method": "standard"}}])
    assert not validator.is_valid({**TRAIN, "inference": "elephant"})
    assert not validator.is_valid({name: value for name, value in TRAIN.items() if name != "kind"})


def test_info_and_schemas(by: As) -> None:
    client = by("viewer")
    info = client.get("/v1/info").json()
    assert info["limits"]["encode_rows"] == 4096
    for kind in info["kinds"]:
        found = client.get(f"/v1/schemas/{kind}").json()
        assert found["json_schema"]["properties"]["kind"]["const"] == kind
        parsed = client.post(
            "/v1/jobs:validate", content=found["example"], headers={"content-type": "application/yaml"}
        )
        assert parsed.status_code == 200, parsed.text
    assert client.get("/v1/schemas/nothing").status_code == 404


def test_projects_have_limits(by: As) -> None:
    admin = by("admin")
    admin.post("/v1/jobs", json=TRAIN, params={"project": "vision"})
    assert admin.put("/v1/projects/vision", json={"running": 2, "gpus": None}).json()["most_running"] == 2
    [project] = by("viewer", "vision").get("/v1/projects").json()["projects"]
    assert (project["name"], project["waiting"], project["most_running"]) == ("vision", 1, 2)
    assert admin.put("/v1/projects/vision", json={"running": -1, "gpus": None}).status_code == 422
    assert admin.put("/v1/projects/VISION", json={"running": 1, "gpus": None}).status_code == 404
