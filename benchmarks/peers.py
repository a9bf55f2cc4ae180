"""Putting one job into the queue and taking it out again, beside RQ and Dramatiq, interleaved on one store.

All three write to the same embedded server, which appends every write to disk before it answers. What a job brings with
it is different, and said with each figure.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import redis

from benchmarks.figure import Figure
from benchmarks.queue import SPEC, durable_write, milliseconds, percentile
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.address import Address
from closegap.store.store import EmbeddedStore, connect

JOBS = 300
PACKAGES = {"RQ": "rq", "Dramatiq": "dramatiq"}


@final
@dataclass(frozen=True)
class Peer:
    """One queue: how a job goes in, how one is taken by a worker, and what that leaves in the store."""

    name: str
    put: Callable[[], object]
    take: Callable[[], object]
    puts: str
    takes: str


def figures(jobs: int = JOBS) -> Iterator[Figure]:
    """Milliseconds of a put and of a take, p50 and p99, of ours and of each peer that is installed."""
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place))
        with EmbeddedStore(settings.home), connect(settings) as client:
            write = durable_write(client)
            peers = [*_peers(settings, client)]
            for verb in ("put", "take"):
                taken = _interleaved([getattr(peer, verb) for peer in peers], jobs)
                for peer, times in zip(peers, taken, strict=True):
                    for percent in (50, 99):
                        name, value = f"{verb} one job, {peer.name}, p{percent}", percentile(times, percent)
                        note = (peer.puts if verb == "put" else peer.takes) if percent == 50 else ""
                        yield Figure(name, value, "ms", write, "one durable write", write / value, note=note)


def absent() -> str | None:
    """Which peers are not measured, and why; None where all are."""
    lost = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None]
    return f"queues beside ours: {', '.join(lost)} not measured, for it is not installed" if lost else None


def _peers(settings: Settings, client: redis.Redis) -> Iterator[Peer]:
    yield _ours(Queue(client, "bench"))
    address = Address.read(settings.home)
    # They keep bytes where our client decodes text.
    plain = redis.Redis(
        unix_socket_path=str(address.socket), password=address.password.get_secret_value(), protocol=2
    )
    for name, made in (("RQ", _rq), ("Dramatiq", _dramatiq)):
        if importlib.util.find_spec(PACKAGES[name]) is not None:
            yield made(plain)


def _ours(queue: Queue) -> Peer:
    [item] = spec.parse(SPEC)
    return Peer(
        "closegap",
        put=partial(queue.submit, [item]),
        take=partial(_some, partial(queue.claim, "bench", Capacity(cpus=1), 600.0)),
        puts="one script: the whole record, its indices and place in line, event, audit entry, idempotency key",
        takes="one script: the fairest first by priority, age and project limits; lease, token, attempt, event",
    )


def _rq(client: redis.Redis) -> Peer:
    import rq

    queue = rq.Queue("bench", connection=client)
    return Peer(
        "RQ",
        put=partial(queue.enqueue, "json.dumps", SPEC),
        take=partial(_some, partial(rq.Queue.dequeue_any, [queue], None, client)),
        puts="one transaction: pickled call in a hash, id in a list, name of the queue",
        takes="first in, first out: id moved to a list of those in between, hash read; no lease yet",
    )


def _dramatiq(client: redis.Redis) -> Peer:
    from dramatiq import Message
    from dramatiq.brokers.redis import RedisBroker

    untyped: Any = RedisBroker
    broker = untyped(client=client, middleware=[])
    broker.declare_queue("bench")
    message: Any = partial(Message, "bench", "train", (SPEC,), {}, {})
    return Peer(
        "Dramatiq",
        put=lambda: broker.enqueue(message()),
        take=partial(_some, partial(_one, broker)),
        puts="one script: JSON message in a hash, id in a list, heartbeat of the broker",
        takes="first in, first out: id moved to the broker's set of unacknowledged, which its heartbeat keeps",
    )


def _one(broker: Any) -> object:
    """What its consumer does, which else fetches ahead: here one message is asked for, as of the others."""
    return next(iter(broker.do_fetch("bench", 1)), None)


def _some(take: Callable[[], object]) -> object:
    found = take()
    if found is None:
        raise RuntimeError("the queue gave nothing, though jobs wait in it")
    return found


def _interleaved(acts: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of each act, in rounds that begin with another one each time."""
    for act in acts:
        act()  # the first time loads scripts
    taken: list[list[float]] = [[] for _ in acts]
    for number in range(rounds):
        for place in range(len(acts)):
            index = (number + place) % len(acts)
            taken[index].append(milliseconds(acts[index]))
    return taken
