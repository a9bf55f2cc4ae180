"""What there is of jobs, in numbers: by state, before one that came now, and which of some may be seen."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, final

import redis

from closegap.job import AGEING_SECONDS, State
from closegap.store import speaking


@final
class Census:
    """Reads one namespace; writes nothing. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def states(self, projects: Collection[str] | None = None) -> dict[State, int]:
        """How many jobs of these projects (None: all) are in each state."""
        keys = {state: f"{self._root}:in:state:{state}" for state in State}
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for key in keys.values():
                if projects is None:
                    pipe.zcard(key)
                for project in projects or ():
                    pipe.zintercard(2, [key, f"{self._root}:in:project:{project}"])
            found = pipe.execute()
        each = 1 if projects is None else len(projects)
        return {state: sum(found[at * each : (at + 1) * each]) for at, state in enumerate(State)}

    def ahead(self, priority: int) -> int:
        """How many jobs wait that would come before one of this priority that came now."""
        score = (time.time() - priority * AGEING_SECONDS) * 1e6
        with speaking(self._client):
            lines: Any = self._client.zrange(f"{self._root}:lines", 0, -1)
            with self._client.pipeline(transaction=False) as pipe:
                for line in lines:
                    pipe.zcount(f"{self._root}:line:{line}", "-inf", f"({score:.0f}")
                return sum(pipe.execute())

    def visible(self, ids: Sequence[str], projects: frozenset[str]) -> frozenset[str]:
        """Those of the ids whose jobs are of these projects."""
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for identifier in ids:
                pipe.hget(f"{self._root}:job:{identifier}", "project")
            found = pipe.execute()
        return frozenset(identifier for identifier, of in zip(ids, found, strict=True) if of in projects)
