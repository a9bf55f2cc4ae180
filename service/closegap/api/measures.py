"""What Prometheus is told: requests by route, streams, the queue by state, workers, rows encoded here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from closegap.census import Census
from closegap.queue import Queue

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@final
class Measures:
    """The metrics of one API process; a registry of its own, nothing global."""

    def __init__(self, queue: Queue, census: Census) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "closegap_api_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "closegap_api_request_seconds",
            "Time until the answer began.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.streams = Gauge("closegap_api_event_streams", "Event streams open now.", registry=self._registry)
        self.encoded = Counter("closegap_api_encoded_rows", "Rows encoded online.", registry=self._registry)
        self._registry.register(_Line(queue, census))

    def exposition(self) -> bytes:
        """The text that Prometheus reads. Raises StoreUnavailable."""
        return generate_latest(self._registry)


@final
class _Line(Collector):
    """The queue, asked when it is scraped."""

    def __init__(self, queue: Queue, census: Census) -> None:
        self._queue, self._census = queue, census

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("closegap_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._census.states().items():
            jobs.add_metric([state], count)
        yield jobs
        workers = GaugeMetricFamily(
            "closegap_workers", "Workers heard of, by whether they are alive.", labels=["alive"]
        )
        alive = [worker.alive for worker in self._queue.workers()]
        workers.add_metric(["true"], sum(alive))
        workers.add_metric(["false"], len(alive) - sum(alive))
        yield workers
