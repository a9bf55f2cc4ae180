"""Reading job records: by id, name or the beginning of an id, in pages, with what they need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, final

import redis

from closegap.errors import Conflict, NotFound
from closegap.job import Job, Page, State
from closegap.problems import meant
from closegap.store import speaking

_TEXT = ("id", "kind", "name", "digest", "state", "reason", "owner", "wish", "pipeline", "submitted_by",
         "retry_of", "retried_as", "cancelled_by", "work", "priority", "attempt")  # fmt: skip
_JSON = ("spec", "needs", "outputs", "error")
_TIMES = ("lease_until", "not_before", "created", "updated", "started", "finished")


@final
class Records:
    """Reads one namespace; writes nothing."""

    def __init__(self, client: redis.Redis, root: str) -> None:
        self._client = client
        self._root = root

    def find(self, identifier: str) -> str:
        """The id that an id, a name (its newest job) or the beginning of an id stands for.

        Raises NotFound, Conflict (several ids begin so).
        """
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            pipe.exists(f"{self._root}:job:{identifier}")
            pipe.hget(f"{self._root}:names", identifier)
            pipe.zrangebylex(f"{self._root}:ids", f"[{identifier}", f"[{identifier}\xff", 0, 6)
            exact, named, begun = pipe.execute()
        if exact:
            return identifier
        if named:
            return str(named)
        if identifier and len(begun) == 1:
            return str(begun[0])
        if identifier and begun:
            raise Conflict(
                f"several jobs begin with `{identifier}`: {', '.join(begun[:5])}{', …' if begun[5:] else ''}"
            )
        raise NotFound(f"there is no job `{identifier}`{meant(identifier, self._names())}; see `closegap ps`")

    def read(self, identifier: str) -> Job:
        """The record of an id. Raises NotFound."""
        return self.read_all([identifier])[0]

    def read_all(self, ids: Sequence[str]) -> list[Job]:
        """The records of ids, in their order. Raises NotFound."""
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for identifier in ids:
                pipe.hgetall(f"{self._root}:job:{identifier}")
            found = pipe.execute()
        for identifier, fields in zip(ids, found, strict=True):
            if not fields:
                raise NotFound(f"there is no job `{identifier}`")
        return [_job(fields) for fields in found]

    def page(self, state: State | None, limit: int, cursor: str | None) -> Page:
        """Jobs in a state, or all, newest first. Raises NotFound for a cursor that is none."""
        if cursor is not None and not cursor.isdecimal():
            raise NotFound(f"`{cursor}` is no cursor of a page")
        name = f"{self._root}:in:{state}" if state else f"{self._root}:jobs"
        newest = f"({cursor}" if cursor else "+inf"
        with speaking(self._client):
            rows: Any = self._client.zrevrangebyscore(name, newest, "-inf", 0, limit + 1, withscores=True)
        shown = rows[:limit]
        return Page(
            self.read_all([row[0] for row in shown]), f"{shown[-1][1]:.0f}" if len(rows) > limit else None
        )

    def kinds(self, ids: Sequence[str]) -> dict[str, str]:
        """The kind of each of these that is the id of a job."""
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for identifier in ids:
                pipe.hget(f"{self._root}:job:{identifier}", "kind")
            found = pipe.execute()
        return {identifier: kind for identifier, kind in zip(ids, found, strict=True) if kind}

    def dependents(self, identifier: str) -> list[Job]:
        """The jobs that need this one, oldest first."""
        with speaking(self._client):
            ids: Any = self._client.smembers(f"{self._root}:dependents:{identifier}")
        return sorted(self.read_all(sorted(ids)), key=lambda job: (job.created, job.id))

    def used(self, key: str) -> bool:
        """Whether a submission with this idempotency key is recorded."""
        with speaking(self._client):
            return bool(self._client.exists(f"{self._root}:key:{key}"))

    def place(self, identifier: str) -> int | None:
        """1 for the first in the line; None for one that is not in it."""
        with speaking(self._client):
            rank: Any = self._client.zrank(f"{self._root}:queue", identifier)
        return None if rank is None else rank + 1

    def request(self, identifier: str) -> tuple[float, float]:
        """(cpus, gpus) that a job asks for in all."""
        with speaking(self._client):
            request = json.loads(str(self._client.hget(f"{self._root}:job:{identifier}", "request")))
        return request["cpus"], request["gpus"]

    def _names(self) -> list[str]:
        with speaking(self._client):
            names: Any = self._client.hkeys(f"{self._root}:names")
        return list(names)


def _job(fields: Mapping[str, str]) -> Job:
    value: dict[str, Any] = {name: fields[name] for name in _TEXT if name in fields}
    value |= {name: json.loads(fields[name]) for name in _JSON if name in fields}
    value |= {name: _time(fields[name]) for name in _TIMES if name in fields}
    value["retries_spent"] = {
        name.removeprefix("spent:"): int(count) for name, count in fields.items() if name.startswith("spent:")
    }
    if "progress" in fields:
        progress = json.loads(fields["progress"])
        known = {
            name: progress[name] for name in ("done", "total", "unit", "rate", "eta") if name in progress
        }
        value["progress"] = {**known, "updated": _time(fields["progress_at"])}
    return Job.model_validate(value)


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
