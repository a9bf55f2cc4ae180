"""What Prometheus is told, held against a history of which every number is known, and what asks for it in deploy/."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from closegap.access.token import Role
from closegap.api.context import Context, opened
from closegap.api.measures import OTHERS, Measures
from closegap.job import Capacity, Failure, State
from closegap.queue.queue import Queue
from closegap.queue.tallies import CLASSES, Tallies
from closegap.settings import Settings, environment
from closegap.specs import spec
from closegap.store.embedded import EmbeddedStore
from tests.api.conftest import TRAIN, As
from tests.api.test_service import Served

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOM = Capacity(cpus=8, gpus=0)
_CLAIMING = """
import time
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.store import connect
settings = Settings.load()
queue = Queue(connect(settings), settings.namespace)
claim = queue.claim("doomed", Capacity(cpus=8, gpus=0), 0.5)
queue.start(claim.lease)
print("claimed", flush=True)
time.sleep(600)
"""


def families(text: str) -> dict[str, Metric]:
    """An exposition, as Prometheus' own parser reads it."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    """The one sample of a name that has these labels."""
    values = [
        one.value
        for family in found.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    ]
    assert len(values) == 1, (sample, labels, values)
    return float(values[0])


def submit(queue: Queue, kind: str = "train", project: str = "default", **fields: Any) -> None:
    """Record one job."""
    body: dict[str, Any] = TRAIN if kind == "train" else {"kind": kind, "model": "sha256:" + "0" * 64}
    body = {**body, **({"data": {"part": "test"}} if kind == "encode" else {}), **fields}
    queue.submit(spec.parse(body), project=project)


def die(settings: Settings) -> None:
    """A worker that claims the next job for half a second, starts it and is killed."""
    variables = {"HOME": str(settings.home), "NAMESPACE": settings.namespace, "STORAGE": settings.storage}
    process = subprocess.Popen(
        [sys.executable, "-c", _CLAIMING],
        stdout=subprocess.PIPE,
        env=environment(**{f"CLOSEGAP_{name}": text for name, text in variables.items()}),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"claimed\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def history(queue: Queue, settings: Settings) -> None:
    """Three successes, one of them after a lease was lost by kill -9; a numerical failure; a cancellation; an encoding
    in two attempts; an export that its gate refused; two jobs that wait."""
    submit(queue, priority=90)
    die(settings)
    time.sleep(0.6)
    assert len(queue.reap()) == 1
    submit(queue)
    submit(queue, priority=10)
    for _ in range(3):
        claim = queue.claim("w", ROOM, 30)
        assert claim is not None
        queue.start(claim.lease)
        queue.report(
            claim.lease, [{"type": "progress", "done": n, "total": 2, "unit": "step"} for n in (1, 2)]
        )
        queue.succeed(claim.lease, {})
    submit(queue, retries={"numerical": 0})
    claim = queue.claim("w", ROOM, 30)
    assert claim is not None
    queue.start(claim.lease)
    queue.fail(claim.lease, Failure(failure="numerical", message="not finite"))
    submit(queue)
    claim = queue.claim("w", ROOM, 30)
    assert claim is not None
    queue.start(claim.lease)
    queue.cancel(claim.job.id)
    queue.stopped(claim.lease)
    submit(queue, "encode")
    for rows, released in (((100, 300), True), ((300, 450, 500), False)):
        claim = queue.claim("w", ROOM, 30)
        assert claim is not None
        queue.start(claim.lease)
        for done in rows:
            queue.report(claim.lease, [{"type": "progress", "done": done, "total": 500, "unit": "row"}])
        queue.release(claim.lease, "drains") if released else queue.succeed(claim.lease, {})
    submit(queue, "export")
    claim = queue.claim("w", ROOM, 30)
    assert claim is not None
    queue.start(claim.lease)
    queue.report(claim.lease, [{"type": "parity", "passed": False}])
    queue.fail(claim.lease, Failure(failure="user", message="it differs"))
    for project in ("default", "vision"):
        submit(queue, project=project)
    queue.heartbeat("w", ROOM)


@pytest.mark.usefixtures("history")
def test_the_exposition_tells_the_history(by: As, settings: Settings) -> None:
    client = by("viewer")
    found = families(client.get("/metrics").text)
    attempts = {
        (one.labels["kind"], one.labels["outcome"], one.labels["failure"]): one.value
        for one in found["closegap_attempts"].samples
        if one.value
    }
    assert attempts == {
        ("train", "succeeded", ""): 3,
        ("train", "lost", "infrastructure"): 1,
        ("train", "failed", "numerical"): 1,
        ("train", "cancelled", ""): 1,
        ("encode", "preempted", ""): 1,
        ("encode", "succeeded", ""): 1,
        ("export", "failed", "user"): 1,
    }
    assert value(found, "closegap_lease_losses_total", kind="train") == 1
    assert value(found, "closegap_lease_losses_total", kind="encode") == 0
    assert value(found, "closegap_jobs_submitted_total", kind="train") == 7
    assert value(found, "closegap_jobs_finished_total", kind="train", state="succeeded") == 3
    assert value(found, "closegap_jobs_finished_total", kind="train", state="failed") == 1
    assert value(found, "closegap_encode_rows_total") == 500
    assert value(found, "closegap_parity_failures_total") == 1
    assert value(found, "closegap_store_up") == 1
    for project in ("default", "vision"):
        assert value(found, "closegap_jobs", project=project, kind="train", state="queued") == 1
    assert value(found, "closegap_jobs", project="default", kind="train", state="succeeded") == 3
    assert value(found, "closegap_workers", alive="true") == 1
    assert 0 <= value(found, "closegap_worker_heartbeat_age_seconds", worker="w") < 60
    _check_histograms(found)
    # Whoever is asked tells the same of the store.
    with Served(opened(settings)) as url:
        other = families(httpx.get(f"{url}/metrics", headers=client.headers).text)
    for name in ("closegap_attempts", "closegap_queue_wait_seconds", "closegap_encode_rows"):
        assert other[name].samples == found[name].samples


def _check_histograms(found: dict[str, Metric]) -> None:
    wait = "closegap_queue_wait_seconds"
    by_class = {name: value(found, f"{wait}_count", kind="train", priority=name) for name, _ in CLASSES}
    # The job that was lost waited twice.
    assert by_class == {"low": 1, "normal": 3, "high": 2}
    assert value(found, f"{wait}_count", kind="encode", priority="normal") == 2
    assert value(found, f"{wait}_bucket", kind="train", priority="high", le="+Inf") == 2
    claims = [one for one in found["closegap_claim_duration_seconds"].samples if one.name.endswith("_bucket")]
    assert [one.value for one in claims] == sorted(one.value for one in claims)
    assert claims[-1].value == 9
    assert 0 < value(found, "closegap_claim_duration_seconds_sum") < 60
    assert value(found, "closegap_run_duration_seconds_count", kind="train") == 6
    # At least the half second of the lease that was lost.
    assert value(found, "closegap_run_duration_seconds_sum", kind="train") >= 0.5
    assert value(found, "closegap_time_to_first_step_seconds_count", kind="train") == 3
    assert value(found, "closegap_time_to_first_step_seconds_count", kind="encode") == 2


def test_projects_beyond_the_first_are_one(queue: Queue, settings: Settings, context: Context) -> None:
    for project in ("a", "b", "c"):
        submit(queue, project=project)
    measures = Measures(queue, Tallies(context.client, settings.namespace), 1)
    found = families(measures.exposition().decode())
    counted = {
        one.labels["project"]: one.value
        for one in found["closegap_jobs"].samples
        if one.labels["state"] == State.QUEUED
    }
    assert counted == {"a": 1, OTHERS: 2}


def test_labels_of_requests_are_bounded(by: As) -> None:
    client = by("viewer")
    for n in range(5):
        client.request(f"BREW{n}", "/v1/jobs")
    text = client.get("/metrics").text
    assert "BREW" not in text
    assert 'closegap_api_requests_total{method="other"' in text


def test_without_the_store_it_is_told_that_it_is_away(
    own_settings: Settings, own_store: EmbeddedStore
) -> None:
    context = opened(own_settings)
    known, unknown = (context.tokens.create(name, Role.VIEWER).secret for name in "ab")
    with Served(context) as url:

        def ask(secret: str) -> httpx.Response:
            return httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {secret}"}, timeout=30)

        assert value(families(ask(known).text), "closegap_store_up") == 1
        own_store.stop()
        away = ask(known)
        assert away.status_code == 200
        assert value(families(away.text), "closegap_store_up") == 0
        assert "closegap_attempts" not in away.text
        assert ask(unknown).status_code == 503


@pytest.fixture
def own_settings(own_store: EmbeddedStore, tmp_path: Path) -> Settings:
    """Of that store."""
    return Settings.load(home=tmp_path / "own", storage=(tmp_path / "storage").as_uri())


# --- what is in deploy/ -----------------------------------------------------------------------------------


def expressions(value: Any) -> Iterator[str]:
    """Every query in a dashboard or in rules."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("expr", "query", "definition") and isinstance(item, str):
                yield item
            else:
                yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)


def asked_for(queries: Iterator[str]) -> set[str]:
    """Names of the metrics in them."""
    return {name for query in queries for name in re.findall(r"closegap_[a-z_]+", query)}


@pytest.mark.usefixtures("history")
def test_every_query_in_deploy_is_of_a_metric_that_exists(by: As) -> None:
    client = by("viewer")
    client.get("/metrics")
    found = families(client.get("/metrics").text)
    told = {one.name for family in found.values() for one in family.samples}
    dashboard = json.loads((DEPLOY / "grafana" / "closegap.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    for place in (dashboard, rules):
        asked = asked_for(expressions(place))
        assert len(asked) > 5
        assert asked <= told, asked - told
    # And what is told is shown: only series that Prometheus' client adds by itself are left out.
    unseen = {name for name in told if not name.endswith(("_created", "_sum", "_count"))}
    assert unseen - asked_for(expressions(dashboard)) == set()


def test_the_dashboard_has_the_shape_of_one() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "closegap.json").read_text())
    variables = {item["name"]: item for item in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert "label_values(closegap_jobs, project)" in variables["project"]["query"]
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["Queue", "Workers", "API", "Encode"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        assert {"x", "y", "w", "h"} <= set(panel["gridPos"])
        assert "unit" in panel["fieldConfig"]["defaults"], panel["title"]
    spots = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len(set(spots)) == len(spots)
    # What every API process tells alike is not added up over them.
    for query in expressions(panels):
        stored = re.search(r"closegap_(?!api_)", query)
        assert not stored or "instance" not in query
        if stored:
            assert "max" in query, query


def test_the_rules_and_the_scrape_configuration_have_the_shape_of_such() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    for group in rules["groups"]:
        # After ten minutes without the store nothing is told any more, which must not end the alert.
        assert "or absent(closegap_store_up)" in group["rules"][0]["expr"]
        assert set(group) <= {"name", "interval", "rules"}
        for rule in group["rules"]:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])
            assert re.fullmatch(r"\d+[smh]", rule["for"])
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert {"summary", "description"} == set(rule["annotations"])
            assert rule["expr"].count("(") == rule["expr"].count(")")
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    [job] = scrape["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["type"] == "Bearer"
    assert "credentials" not in job["authorization"]  # a file, so that no secret is in a configuration
    assert job["static_configs"][0]["targets"]
    assert scrape["rule_files"] == ["rules.yaml"]
