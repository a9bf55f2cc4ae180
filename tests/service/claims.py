"""A worker's side of a queue, in a test's words."""

from __future__ import annotations

from closegap.job import Capacity, Claim
from closegap.queue.queue import Queue

ONE = Capacity(cpus=1)


def claimed(queue: Queue, capacity: Capacity = ONE, worker: str = "w") -> list[str]:
    """Names of all that can be claimed, in the order of the claims."""
    names = []
    while claim := queue.claim(worker, capacity, 30.0):
        names.append(claim.job.name)
    return names


def run(queue: Queue, worker: str = "w", capacity: Capacity = ONE) -> Claim:
    """Claim and start the next."""
    claim = queue.claim(worker, capacity, 30.0)
    assert claim is not None
    queue.start(claim.lease)
    return claim
