"""What there is of jobs, in numbers: how many are before one that came now, and which of some may be seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

import redis

from closegap.job import AGEING_SECONDS
from closegap.store import speaking


@final
class Census:
    """Reads one namespace; writes nothing. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

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
