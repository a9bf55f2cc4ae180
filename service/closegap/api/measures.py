"""What Prometheus is told: by this process of its requests, streams and rows; by the store of everything else.

What the store tells is equal whichever process is asked, so dashboards take its maximum over instances and add up only
what begins with `closegap_api_`. Every label has a bounded set of values.
"""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from closegap.errors import StoreUnavailable
from closegap.job import State, Worker
from closegap.queue import tallies
from closegap.queue.queue import Queue
from closegap.queue.tallies import BUCKETS, Counts, Tallies
from closegap.specs.kinds import SPECS

MEDIA_TYPE = CONTENT_TYPE_LATEST
OTHERS = "(others)"
"""The project of the jobs of all projects that have no series of their own."""
WORKERS = 100
"""Workers with a series of their own: those heard of last."""
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLAIM = "claim"


@final
class Measures:
    """The metrics of one API process; a registry of its own, nothing global."""

    def __init__(self, queue: Queue, counted: Tallies, projects: int) -> None:
        """projects: how many have series of their own."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "closegap_api_requests",
            "Requests answered, by route template and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "closegap_api_request_duration_seconds",
            "Time until the answer began.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.streams = Gauge("closegap_api_event_streams", "Event streams open now.", registry=self._registry)
        self.encoded = Counter("closegap_api_encoded_rows", "Rows encoded online.", registry=self._registry)
        self._registry.register(_Store(queue, counted, projects))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. A method is whatever the client says: one that is none is `other`."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus reads; while the store is away, only what this process knows."""
        return generate_latest(self._registry)


@final
class _Store(Collector):
    """What the store knows, asked when it is scraped."""

    def __init__(self, queue: Queue, counted: Tallies, projects: int) -> None:
        self._queue, self._tallies, self._projects = queue, counted, projects

    def collect(self) -> Iterator[Metric]:
        try:
            counts, population = self._tallies.counts(), self._tallies.population()
            workers = self._queue.workers()
        except StoreUnavailable:
            yield GaugeMetricFamily("closegap_store_up", "Whether the store answers.", 0)
            return
        yield GaugeMetricFamily("closegap_store_up", "Whether the store answers.", 1)
        yield _jobs(population, self._projects)
        yield from _counters(counts)
        yield from _histograms(counts)
        yield from _workers(workers)


def _jobs(population: Mapping[tuple[str, str, str], int], projects: int) -> Metric:
    """Of the first projects by name, and all others together; every state of what has a job."""
    named = sorted({project for project, _, _ in population})[:projects]
    found: Multiset[tuple[str, str, str]] = Multiset()
    for (project, kind, state), number in population.items():
        found[project if project in named else OTHERS, kind, state] += number
    pairs = sorted({(project, kind) for project, kind, _ in found})
    family = GaugeMetricFamily(
        "closegap_jobs", "Jobs that are recorded now.", labels=["project", "kind", "state"]
    )
    for project, kind in pairs:
        for state in State:
            family.add_metric([project, kind, state], found[project, kind, state])
    return family


def _counters(counts: Counts) -> Iterator[Metric]:
    found = counts.counters
    attempts = found.get("attempts", {})
    lost: dict[tuple[str, ...], int] = {
        (kind,): number for (kind, outcome, _), number in attempts.items() if outcome == "lost"
    }
    kinds: list[tuple[str, ...]] = [(kind,) for kind in SPECS]
    yield _counter(
        "attempts", "Attempts that are over, and the class of their failure.", ("kind", "outcome", "failure"),
        attempts, [(kind, "succeeded", "") for kind in SPECS],
    )  # fmt: skip
    yield _counter("lease_losses", "Attempts whose worker was silent too long.", ("kind",), lost, kinds)
    yield _counter("jobs_submitted", "Jobs that were recorded.", ("kind",), found.get("submitted", {}), kinds)
    yield _counter(
        "jobs_finished", "Jobs that reached a terminal state.", ("kind", "state"), found.get("finished", {}),
        [(kind, state) for kind in SPECS for state in State if state.terminal],
    )  # fmt: skip
    for name, help_text in (
        ("encode_rows", "Rows that jobs of kind encode have encoded, each once."),
        ("parity_failures", "Exported files that differed from their model and were thrown away."),
    ):
        yield _counter(name, help_text, (), found.get(name, {}), [()])


def _counter(
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    values: Mapping[tuple[str, ...], int],
    always: Iterable[tuple[str, ...]],
) -> Metric:
    """`always`: label sets that are told before they have happened, so that a first time is an increase."""
    family = CounterMetricFamily(f"closegap_{name}", help_text, labels=labels)
    for label_set in sorted({*values, *always}):
        family.add_metric(label_set, values.get(label_set, 0))
    return family


def _histograms(counts: Counts) -> Iterator[Metric]:
    classes = [name for name, _ in tallies.CLASSES]
    for name, told, help_text, labels in (
        ("queue_wait", "queue_wait_seconds", "Time in a line, back-offs not counted.", ("kind", "priority")),
        (_CLAIM, "claim_duration_seconds", "Time that a worker's successful claim took.", ()),
        ("first_step", "time_to_first_step_seconds", "Time from a claim to the first progress.", ("kind",)),
        ("run", "run_duration_seconds", "Time that attempts ran, however they ended.", ("kind",)),
    ):  # fmt: skip
        family = HistogramMetricFamily(f"closegap_{told}", help_text, labels=labels)
        bounds = [*(f"{float(bound)}" for bound in BUCKETS[name]), "+Inf"]
        order = {label: place for place, label in enumerate(classes)}
        found = counts.histograms.get(name, {})
        for label_set in sorted(found, key=lambda values: [(order.get(value, 0), value) for value in values]):
            one = found[label_set]
            family.add_metric(
                label_set, list(zip(bounds, map(float, accumulate(one.buckets)), strict=True)), one.sum
            )
        yield family


def _workers(workers: list[Worker]) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "closegap_workers", "Workers heard of, by whether they are alive.", labels=["alive"]
    )
    alive = sum(worker.alive for worker in workers)
    family.add_metric(["true"], alive)
    family.add_metric(["false"], len(workers) - alive)
    yield family
    busy = GaugeMetricFamily("closegap_workers_busy", "Workers that hold a job.")
    busy.add_metric([], sum(bool(worker.jobs) for worker in workers))
    yield busy
    age = GaugeMetricFamily(
        "closegap_worker_heartbeat_age_seconds", "Time since a worker was heard of.", labels=["worker"]
    )
    now = datetime.now(UTC)
    for worker in sorted(workers, key=lambda one: one.seen, reverse=True)[:WORKERS]:
        age.add_metric([worker.id], max(0.0, (now - worker.seen).total_seconds()))
    yield age
