"""Latencies of the queue on the real embedded store, against one durable write to the same store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import redis

from benchmarks.figure import Figure, Mark
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.store import EmbeddedStore, connect

JOBS = 200
SUBMIT_MARK, CLAIM_MARK = Mark("value", "<", 10.0), Mark("value", "<", 100.0)
SPEC: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": "standard",
}


def figures(jobs: int = JOBS) -> Iterator[Figure]:
    """Submit, and submit to claimed, p50 and p99 in milliseconds of wall time."""
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place))
        with EmbeddedStore(settings.home):
            write, submit, claim = _measure(settings, jobs)
    floor = percentile(write, 50)
    for name, times, mark in (("submit", submit, SUBMIT_MARK), ("submit to claimed", claim, CLAIM_MARK)):
        for percent in (50, 99):
            value = percentile(times, percent)
            kept = mark if percent == 50 else None
            yield Figure(f"{name}, p{percent}", value, "ms", floor, "one durable write", floor / value, kept)


def _measure(settings: Settings, jobs: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of durable writes, of submits, and from each submit's start to its claim."""
    client = connect(settings)
    queue = Queue(client, "bench")
    specs = spec.parse(SPEC)
    claimed: SimpleQueue[float] = SimpleQueue()
    worker = Thread(target=_work, args=(settings, jobs, claimed), daemon=True)
    worker.start()
    write, submit, claim = [], [], []
    for number in range(jobs):
        write.append(milliseconds(partial(client.set, "bench:write", number)))
        start = time.perf_counter()
        queue.submit(specs)
        submit.append(1e3 * (time.perf_counter() - start))
        claim.append(1e3 * (claimed.get(timeout=30) - start))
        time.sleep(0.002)  # the worker goes back to waiting, as an idle one would
    worker.join(30)
    client.close()
    return write, submit, claim


def _work(settings: Settings, jobs: int, claimed: SimpleQueue[float]) -> None:
    """An idle worker that claims what comes and finishes it at once."""
    client = connect(settings)
    queue, capacity = Queue(client, "bench"), Capacity(cpus=1.0, gpus=0.0)
    while jobs:
        claim = queue.claim("bench", capacity, lease_seconds=30.0)
        if claim is None:
            queue.wait_for_work(10.0)
            continue
        claimed.put(time.perf_counter())
        queue.start(claim.lease)
        queue.succeed(claim.lease, {})
        jobs -= 1
    client.close()


def durable_write(client: redis.Redis) -> float:
    """Milliseconds of a small write, which the store has on disk before it answers: a median."""
    return median(milliseconds(partial(client.set, "bench:write", number)) for number in range(100))


def milliseconds(act: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - start)


def percentile(values: Sequence[float], percent: int) -> float:
    """Between the values, where there is none."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
