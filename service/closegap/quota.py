"""What each project holds and may hold at most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import redis

from closegap.errors import Refused
from closegap.fleet import words
from closegap.job import Project
from closegap.spec import Spec
from closegap.store import speaking


def read(client: redis.Redis, root: str, names: Iterable[str] | None = None) -> list[Project]:
    """Projects by name: these, or all that have a job or a limit."""
    with speaking(client), client.pipeline(transaction=False) as pipe:
        known: Any = client.smembers(f"{root}:projects") if names is None else set(names)
        for name in (chosen := sorted(known)):
            pipe.hgetall(f"{root}:limits:{name}")
            pipe.hgetall(f"{root}:held:{name}")
            pipe.zcard(f"{root}:in:project:{name}")
            pipe.zintercard(2, [f"{root}:in:project:{name}", f"{root}:in:state:queued"])
        found = iter(pipe.execute())
    return [
        Project(
            name=name,
            running=held.get("running", 0),
            gpus=held.get("gpus", 0.0),
            waiting=waiting,
            jobs=jobs,
            most_running=limits.get("running"),
            most_gpus=limits.get("gpus"),
        )
        for name, limits, held, jobs, waiting in zip(chosen, found, found, found, found, strict=False)
    ]


def refuse_impossible(specs: Sequence[Spec], project: Project) -> None:
    """Raise Refused when a spec asks for more GPUs than all jobs of its project together may hold."""
    for spec in specs:
        if project.most_gpus is not None and spec.resources.total_gpus > project.most_gpus:
            asked = words(0, spec.resources.total_gpus)
            raise Refused(
                f"{spec.name or spec.kind} asks for {asked}, more than project {project.name} may hold; accepted: "
                f"at most {project.most_gpus:g}"
            )
