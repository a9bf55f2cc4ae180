"""The workers that have been heard of, and what no one of them could ever hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from closegap.errors import Refused
from closegap.job import Capacity, Worker
from closegap.specs.spec import Spec
from closegap.store.store import speaking

ALIVE = timedelta(seconds=60)
"""A worker that was heard of within this time is alive."""
REMEMBERED = timedelta(days=1)
"""A worker that was heard of within this time may come back: a job that only it could hold is not refused."""


def workers(client: redis.Redis, root: str) -> list[Worker]:
    """Everyone registered, by name."""
    with speaking(client), client.pipeline(transaction=False) as pipe:
        pipe.hgetall(f"{root}:workers")
        pipe.zrange(f"{root}:leases", 0, -1)
        pipe.time()
        pipe.hgetall(f"{root}:drained")
        found, held, clock, drained = pipe.execute()
        for job in held:
            pipe.hget(f"{root}:job:{job}", "owner")
        owners = pipe.execute()
    now = datetime.fromtimestamp(clock[0] + clock[1] / 1e6, UTC)
    return [
        _worker(name, json.loads(text), now, dict(zip(held, owners, strict=True)), drained.get(name))
        for name, text in sorted(found.items())
    ]


def _worker(
    name: str, value: dict[str, Any], now: datetime, owners: dict[str, str | None], drained: str | None
) -> Worker:
    seen = datetime.fromtimestamp(value["seen"] / 1000, UTC)
    return Worker(
        id=name,
        capacity=Capacity.model_validate_json(value["capacity"]),
        seen=seen,
        alive=now - seen < ALIVE,
        drained_by=drained,
        jobs=tuple(sorted(job for job, owner in owners.items() if owner == name)),
    )


def holds(capacity: Capacity, kind: str, cpus: float, gpus: float) -> bool:
    """Whether a request fits into a capacity."""
    takes = capacity.kinds is None or kind in capacity.kinds
    return takes and cpus <= capacity.cpus and gpus <= capacity.gpus


def words(cpus: float, gpus: float) -> str:
    """`4 CPUs and 1 GPU`."""
    return " and ".join(
        f"{n:g} {unit}{'' if n == 1 else 's'}" for n, unit in ((cpus, "CPU"), (gpus, "GPU")) if n
    )


def refuse_impossible(specs: Sequence[Spec], known: Sequence[Worker]) -> None:
    """Raise Refused when workers are alive and some spec is too large for each one that lives or may come back.

    Without a live worker nothing is known of the machines to come, and nothing is refused.
    """
    if not any(worker.alive for worker in known):
        return
    newest = max(worker.seen for worker in known)
    able = [worker.capacity for worker in known if newest - worker.seen < REMEMBERED]
    for spec in specs:
        cpus, gpus = spec.resources.total_cpus, spec.resources.total_gpus
        takers = [capacity for capacity in able if capacity.kinds is None or spec.kind in capacity.kinds]
        if takers and not any(holds(capacity, spec.kind, cpus, gpus) for capacity in takers):
            most_cpus, most_gpus = max(c.cpus for c in takers), max(c.gpus for c in takers)
            raise Refused(
                f"{spec.name or spec.kind} asks for {words(cpus, gpus)} (resources: workers {spec.resources.workers}, "
                f"cpus {spec.resources.cpus:g}, gpus {spec.resources.gpus:g}), more than any has; accepted: at most "
                f"{most_cpus:g} CPUs and {most_gpus:g} GPUs"
            )
