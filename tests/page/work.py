"""Jobs in every state, made as a worker makes them: through the queue, with leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from closegap.job import Capacity, Claim, Failure, Job
from closegap.queue.queue import Queue
from closegap.specs import spec
from tests.serving import TRAIN

WORKER, CAPACITY = "node1-4711-9f2c", Capacity(cpus=8, gpus=1)


def submitted(queue: Queue, name: str, project: str = "default", **fields: Any) -> Job:
    """A job that waits."""
    return queue.submit(spec.parse({**TRAIN, "name": name, **fields}), project=project)[0]


def many(queue: Queue, name: str, count: int) -> list[Job]:
    """So many jobs that wait, of one submission."""
    return queue.submit([item for i in range(count) for item in spec.parse({**TRAIN, "name": f"{name}-{i}"})])


def claimed(queue: Queue, name: str, **fields: Any) -> Claim:
    """A job that a worker has just taken."""
    queue.heartbeat(WORKER, CAPACITY)
    submitted(queue, name, priority=100, **fields)
    claim = queue.claim(WORKER, CAPACITY, 600)
    assert claim is not None
    return claim


def running(queue: Queue, name: str, reported: Sequence[Mapping[str, Any]] = (), **fields: Any) -> Claim:
    """A job that runs, and has reported this."""
    claim = claimed(queue, name, **fields)
    queue.start(claim.lease)
    queue.report(claim.lease, reported)
    return claim


def succeeded(queue: Queue, name: str, outputs: Mapping[str, Any] | None = None, **fields: Any) -> Job:
    """A job that is done."""
    claim = running(queue, name, **fields)
    queue.succeed(claim.lease, outputs or {})
    return queue.get(claim.job.id)


def failed(queue: Queue, name: str, message: str = "the ELBO is not finite at step 12", **fields: Any) -> Job:
    """A job that will not be run again."""
    claim = running(queue, name, **fields)
    failure = Failure(
        failure="numerical",
        message=message,
        traceback="Traceback (most recent call last):\n  …",
        hint="a smaller training.learning_rate",
    )
    queue.fail(claim.lease, failure)
    return queue.get(claim.job.id)


def progress(done: float, total: float = 40.0) -> dict[str, Any]:
    """A report of how far it is."""
    return {"type": "progress", "done": done, "total": total, "unit": "step", "rate": 2.0}
