"""The queue with ten thousand waiting jobs, on the real embedded store, against one durable write to the same store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.figure import Figure, Mark
from benchmarks.queue import SPEC, durable_write, milliseconds
from closegap.job import Capacity, State
from closegap.queue.queue import Queue
from closegap.queue.selector import Selector
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.store import EmbeddedStore, connect

BATCH = 1000
WAITING = Selector(states=frozenset({State.QUEUED}))
DOOMED = {"fate": "cancelled"}


def figures(batches: int = 10, claims: int = 200, pages: int = 50) -> Iterator[Figure]:
    """Jobs a second in batches, and milliseconds of claims, pages and a cancelled batch with `batches` * 1000 waiting.

    Jobs are of two projects and three sizes, so that there are several lines.
    """
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place))
        with EmbeddedStore(settings.home), connect(settings) as client:
            queue = Queue(client, "bench")
            write = durable_write(client)
            specs = [
                item
                for cpus in (1, 2, 4)
                for item in spec.parse({**SPEC, "resources": {"cpus": cpus}}) * (BATCH // 3 + 1)
            ][:BATCH]
            rates = [
                1e3 * BATCH / milliseconds(partial(queue.submit, specs, project=project))
                for project in ("one", "two") * (batches // 2)
            ]
            yield _rate("submit in batches of 1,000", median(rates), write)
            waiting = f"with {batches * BATCH:,} waiting"
            capacity = Capacity(cpus=4)
            times = [milliseconds(partial(queue.claim, "bench", capacity, 600.0)) for _ in range(claims)]
            yield _latency(f"claim {waiting}, p50", median(times), write, 50.0)
            for name, selector in (("all", Selector()), ("one state", WAITING)):
                times = [milliseconds(partial(queue.jobs, selector, 50)) for _ in range(pages)]
                yield _latency(f"page of 50, {name}, {waiting}, p50", median(times), write, 100.0)
            doomed = [item.model_copy(update={"labels": DOOMED}) for item in specs]
            queue.submit(doomed)
            took = milliseconds(partial(queue.cancel_all, Selector(labels=DOOMED)))
            yield _latency("cancel of 1,000 waiting", took, write, 1000.0)


def _latency(name: str, value: float, write: float, most: float) -> Figure:
    return Figure(name, value, "ms", write, "one durable write", write / value, Mark("value", "<", most))


def _rate(name: str, value: float, write: float) -> Figure:
    """Against one durable write for each job."""
    limit = 1e3 / write
    return Figure(name, value, "/s", limit, "a durable write each", value / limit, Mark("value", "≥", 2000.0))
