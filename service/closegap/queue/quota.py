"""What each project holds and may hold at most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import redis

from closegap.errors import Refused
from closegap.job import Project
from closegap.queue.fleet import words
from closegap.specs.spec import Spec
from closegap.store.store import speaking


def read(client: redis.Redis, root: str, names: Iterable[str] | None = None) -> list[Project]:
    """Projects by name: these, or all that have a job or a limit."""
    with speaking(client), client.pipeline(transaction=False) as pipe:
        pipe.zrange(f"{root}:lines", 0, -1)
        pipe.smembers(f"{root}:projects")
        lines, known = pipe.execute()
        chosen = sorted(known if names is None else set(names))
        for name in chosen:
            pipe.hgetall(f"{root}:limits:{name}")
            pipe.hgetall(f"{root}:held:{name}")
            pipe.zcard(f"{root}:in:project:{name}")
        for line in lines:
            pipe.zcard(f"{root}:line:{line}")
        found: list[Any] = pipe.execute()
    waiting = dict.fromkeys(chosen, 0)
    for line, count in zip(lines, found[3 * len(chosen) :], strict=True):
        project = line.partition("|")[0]
        waiting[project] = waiting.get(project, 0) + count
    return [
        Project(
            name=name,
            running=held.get("running", 0),
            gpus=held.get("gpus", 0.0),
            waiting=waiting[name],
            jobs=jobs,
            most_running=limits.get("running"),
            most_gpus=limits.get("gpus"),
        )
        for place, name in enumerate(chosen)
        for limits, held, jobs in [found[3 * place : 3 * place + 3]]
    ]


def refuse_impossible(client: redis.Redis, root: str, project: str, specs: Sequence[Spec]) -> None:
    """Raise Refused when a spec asks for more GPUs than all jobs of its project together may hold."""
    with speaking(client):
        most = client.hget(f"{root}:limits:{project}", "gpus")
    for spec in specs if most is not None else ():
        if spec.resources.total_gpus > float(str(most)):
            asked = words(0, spec.resources.total_gpus)
            raise Refused(
                f"{spec.name or spec.kind} asks for {asked}, more than project {project} may hold; accepted: at "
                f"most {float(str(most)):g}"
            )
