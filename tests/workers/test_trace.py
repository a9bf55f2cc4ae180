"""One trace from a submission to a shard, as a real collector receives it; and nothing of it where none is wanted."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from closegap.access.token import Role
from closegap.api.context import opened
from closegap.cli.parts import traced
from closegap.errors import SettingsError
from closegap.job import State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.storage.artifacts import ArtifactStore
from closegap.trace import Silent, Span, begun, tracer
from tests.api.sealed import sealed_model
from tests.api.test_service import Served
from tests.workers.working import TRAIN, Over, Start, training, until

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SHARDS = 400


class Received(NamedTuple):
    """A span, as the collector has it."""

    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    error: bool
    service: str
    attributes: dict[str, Any]


class Collector:
    """An OTLP receiver on loopback."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                outer.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def named(self, name: str) -> list[Received]:
        """Spans of a name, by their beginning."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began)

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for of_process in request.resource_spans:
        facts = {item.key: item.value.string_value for item in of_process.resource.attributes}
        for scope in of_process.scope_spans:
            for span in scope.spans:
                found = {
                    item.key.removeprefix("closegap."): getattr(
                        item.value, str(item.value.WhichOneof("value"))
                    )
                    for item in span.attributes
                }
                yield Received(
                    span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2,
                    facts["service.name"], found,
                )  # fmt: skip


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One for the test."""
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def encode(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """An encode job of many small shards, which needs no torch."""
    train = {name: value for name, value in TRAIN.items() if name not in ("kind", "resources")}
    train["model"] = {**TRAIN["model"], "likelihood": "gaussian"}
    [whole] = spec.parse({**train, "kind": "train"})
    config = {"train": {name: spec.dump(whole)[name] for name in train}}
    digest = sealed_model(ArtifactStore(settings.storage), **{"config.json": json.dumps(config).encode()})
    np.save(tmp_path / "rows.npy", np.ones((SHARDS, 4), np.float32))
    return {
        "kind": "encode", "model": digest, "data": {"source": str(tmp_path / "rows.npy")},
        "encode": {"shard_rows": 1}, "resources": {"workers": 0},
    }  # fmt: skip


def test_one_trace_from_submit_to_shard_across_the_death_of_a_worker(
    collector: Collector, encode: dict[str, Any], settings: Settings, start: Start, over: Over, tmp_path: Path,
    queue: Queue,
) -> None:  # fmt: skip
    context = opened(settings.model_copy(update={"otlp_endpoint": collector.url}))
    secret = context.tokens.create("t", Role.SUBMITTER).secret
    with Served(context) as url:
        headers = {"Authorization": f"Bearer {secret}", "traceparent": CALLER, "X-Request-Id": "r-1"}
        answer = httpx.post(f"{url}/v1/jobs", json=encode, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
        job = queue.get(answer.json()["jobs"][0]["id"])
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "CLOSEGAP_DATA_ROOTS": str(tmp_path)}
    first = start(variables=variables)
    first.held(ArtifactStore(settings.storage).work(job.work), "encoding/shard-00008.parquet")
    until(lambda: len(collector.named("shard")) >= 5, 60, "the first shards")
    first.kill(signal.SIGKILL)
    first.end()
    second = start(variables=variables)
    done = over(job, State.SUCCEEDED)
    assert done.attempt == 2
    second.kill(signal.SIGTERM)
    assert second.end() == 0

    caller = Span.parse(CALLER)
    assert caller is not None
    assert {span.trace for span in collector.spans} == {caller.trace}
    [submit] = collector.named("submit")
    assert (submit.parent, submit.service) == (caller.id, "closegap-api")
    assert done.traceparent == f"00-{caller.trace}-{submit.id}-01"
    attempts = collector.named("attempt")
    assert [(one.attributes["attempt"], one.error) for one in attempts] == [(1, True), (2, False)]
    assert [one.attributes["outcome"] for one in attempts] == ["lost", "succeeded"]
    for name in ("queue wait", "claim", "attempt"):
        spans = collector.named(name)
        assert len(spans) == 2, name
        assert {span.parent for span in spans} == {submit.id}
        assert {(span.attributes["job"], span.attributes["kind"]) for span in spans} == {(job.id, "encode")}
        assert {span.service for span in spans} == {"closegap-worker"}
    by_id = {one.id: one for one in attempts}
    shards, [publish] = collector.named("shard"), collector.named("publish")
    assert publish.parent == attempts[1].id
    for shard in (*shards, publish):
        above = by_id[shard.parent]
        assert above.attributes["attempt"] == shard.attributes["attempt"]
        assert above.began - 1e7 <= shard.began <= shard.ended <= above.ended + 1e7
    assert {shard.parent for shard in shards} == set(by_id)
    # No shard is written twice; only what the first worker had not yet sent is missing.
    numbers = [shard.attributes["shard"] for shard in shards]
    assert len(set(numbers)) == len(numbers)
    later = [shard.attributes["shard"] for shard in shards if shard.parent == attempts[1].id]
    assert later == list(range(SHARDS - len(later), SHARDS))
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    # The log names the trace, and the request.
    for attempt in (1, 2):
        log = ArtifactStore(settings.storage).work(job.work) / "logs" / f"attempt-{attempt}.log"
        for line in log.read_text().splitlines():
            assert json.loads(line).items() >= {"trace_id": caller.trace, "request_id": "r-1"}.items()
    told = [json.loads(line) for line in second.log.read_text().splitlines()]
    assert any(line.get("trace_id") == caller.trace and line.get("job") == job.id for line in told)


def test_ranks_are_below_their_attempt_in_trace_and_log(
    collector: Collector, start: Start, queue: Queue, settings: Settings, over: Over
) -> None:
    """What fails in a process of Ray's says so in the attempt's log, with its rank; and its span is told."""
    value = training(1, workers=2, data={"source": "no-such-data"})
    [job] = queue.submit(spec.parse(value), traceparent=CALLER)
    start("--until-idle", variables={"CLOSEGAP_OTLP_ENDPOINT": collector.url}).end(180)
    over(job, State.FAILED, 10)
    [attempt] = collector.named("attempt")
    assert attempt.error
    assert "no-such-data" in attempt.attributes["outcome"]
    ranks = [span for span in collector.spans if span.name.startswith("rank ")]
    assert {span.parent for span in ranks} == {attempt.id}
    assert 0 < len(ranks) <= 2
    file = ArtifactStore(settings.storage).work(job.work) / "logs" / "attempt-1.log"
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["job"] for record in found} == {job.id}
    failed = [record for record in found if record["event"] == "the work failed"]
    assert 1 <= len(failed) <= 2  # once a rank
    assert {record["rank"] for record in failed} <= {0, 1}
    assert "no-such-data" in failed[0]["exception"]
    told = [event.data for event in queue.events(job.id, limit=5000) if event.type == "log"]
    assert any(data.get("rank") == failed[0]["rank"] and data["attempt"] == 1 for data in told)


# --- without ----------------------------------------------------------------------------------------------


def test_where_no_endpoint_is_set_nothing_is_imported(tmp_path: Path) -> None:
    lines = """
import sys
import closegap.api.app, closegap.cli.submit, closegap_workers.supervisor, closegap_workers.attempt
from closegap.trace import tracer
tracing = tracer(None, "x")
with tracing.submission("", "submit") as span:
    assert span == ""
tracing.close()
unwanted = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "mlflow", "google.protobuf")
print([name for name in sys.modules if name.startswith(unwanted)])
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_command_line_begins_a_trace_as_well(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with traced("closegap submit") as traceparent:
        pass
    [span] = collector.spans
    assert (span.name, span.service, span.parent) == ("closegap submit", "closegap-cli", "")
    assert traceparent == f"00-{span.trace}-{span.id}-01"


def test_an_endpoint_without_the_extra_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"closegap\[trace\]"):
        tracer("http://127.0.0.1:9", "x")
    monkeypatch.undo()
    for strange in ("127.0.0.1:4318", "grpc://x", "http://a b"):
        with pytest.raises(SettingsError, match="OTLP_ENDPOINT"):
            Settings.load(otlp_endpoint=strange)


def test_a_collector_that_is_away_costs_little(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    tracing = tracer("http://127.0.0.1:9", "x")
    began = time.monotonic()
    for _ in range(100):
        with tracing.submission("", "submit") as span:
            assert Span.parse(span) is not None
    assert time.monotonic() - began < 2
    tracing.close()
    assert time.monotonic() - began < 20


def test_a_caller_that_is_not_sampled_is_not_told(collector: Collector) -> None:
    tracing = tracer(collector.url, "x")
    with tracing.submission(CALLER[:-1] + "0", "hidden") as span:
        assert span.endswith("-00")
    with pytest.raises(KeyError), tracing.submission("none", "shown"):
        raise KeyError("x")
    tracing.close()
    [shown] = collector.spans
    assert (shown.name, shown.parent, shown.error) == ("shown", "", True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        CALLER.upper(),
        CALLER.replace("00-", "ff-", 1),
        CALLER + "-x",
        "00-" + "0" * 32 + CALLER[35:],
    ],
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(text: str) -> None:
    assert Span.parse(text) is None
    with Silent().submission(text, "submit") as span:
        assert span == ""
    assert str(Span.parse(CALLER)) == CALLER
    first = begun()
    assert first.child("a", 1) == first.child("a", 1) != first.child("a", 2)
    assert len({first.child().id for _ in range(10)}) == 10
