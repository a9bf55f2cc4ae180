"""What there is of jobs, in numbers: how many are before one that came now, and which of some may be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import redis

from closegap.job import AGEING_SECONDS, Record
from closegap.queue.records import requests
from closegap.store.store import speaking


@final
class Line(Record):
    """Jobs of one project that ask for the same, and so wait behind one another."""

    project: str
    kind: str
    cpus: float
    gpus: float
    waiting: int
    first: str
    """Id of the job whose turn it is."""


@final
class Census:
    """Reads one namespace; writes nothing. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def ahead(self, priority: int) -> int:
        """How many jobs wait that would come before one of this priority that came now."""
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            pipe.time()  # the store's: scores are made by it
            pipe.zrange(f"{self._root}:lines", 0, -1)
            (seconds, micros), lines = pipe.execute()
            score = (seconds - priority * AGEING_SECONDS) * 1e6 + micros
            for line in lines:
                pipe.zcount(f"{self._root}:line:{line}", "-inf", f"({score:.0f}")
            return sum(pipe.execute())

    def lines(self, projects: frozenset[str] | None) -> list[Line]:
        """The lines of these projects (None: all) that somebody waits in, by whose turn it is."""
        with speaking(self._client):
            names: Any = self._client.zrange(f"{self._root}:lines", 0, -1)
            with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.zcard(f"{self._root}:line:{name}")
                    pipe.zrange(f"{self._root}:line:{name}", 0, 0)
                found = pipe.execute()
        return [
            Line(project=project, kind=kind, cpus=cpus, gpus=gpus, waiting=waiting, first=first[0])
            for name, waiting, first in zip(names, found[::2], found[1::2], strict=True)
            for project, kind, cpus, gpus in [name.split("|")]
            if first and (projects is None or project in projects)
        ]

    def requests(self, ids: Sequence[str]) -> list[tuple[float, float]]:
        """(cpus, gpus) that each of these jobs asks for in all; nothing for one that is gone."""
        return requests(self._client, self._root, ids)

    def visible(self, ids: Sequence[str], projects: frozenset[str]) -> frozenset[str]:
        """Those of the ids whose jobs are of these projects."""
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for identifier in ids:
                pipe.hget(f"{self._root}:job:{identifier}", "project")
            found = pipe.execute()
        return frozenset(identifier for identifier, of in zip(ids, found, strict=True) if of in projects)
