"""Reading job records: by id, name or the beginning of an id, selected in pages, with what they need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, final

import redis

from closegap.errors import Conflict, NotFound
from closegap.job import Job, Page
from closegap.queue.scripts import Scripts
from closegap.queue.selector import Selector
from closegap.specs.problems import meant
from closegap.store.store import speaking

Projects = frozenset[str] | None
"""Those whose jobs may be seen; None is all. What another project has is not there."""

_TEXT = ("id", "project", "kind", "name", "digest", "state", "reason", "owner", "pipeline", "submitted_by",
         "request_id", "traceparent", "retry_of", "retried_as", "cancelled_by", "work", "priority", "preemptible",
         "version", "attempt")  # fmt: skip
_JSON = ("spec", "needs", "outputs", "error", "wish", "labels")
_TIMES = ("lease_until", "not_before", "created", "updated", "claimed", "started", "finished")
_AT_ONCE = 250
"""Records that one script reads: others want to be served too."""
_SUGGESTED = 1000
"""Names among which one that was meant is looked for."""


@final
class Records:
    """Reads one namespace; writes nothing."""

    def __init__(self, client: redis.Redis, root: str, scripts: Scripts) -> None:
        self._client = client
        self._root = root
        self._run = scripts

    def find(self, identifier: str, projects: Projects = None) -> str:
        """The id that an id, a name (its newest job) or the beginning of an id stands for.

        Raises NotFound, Conflict (several ids begin so).
        """
        found = self._run("find", identifier, "" if projects is None else json.dumps(sorted(projects)))
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(
                f"several jobs begin with `{identifier}`: {', '.join(found[:5])}{', …' if found[5:] else ''}"
            )
        hint = meant(identifier, self._names(projects))
        raise NotFound(f"there is no job `{identifier}`{hint}; see `closegap ps`")

    def read(self, identifier: str) -> Job:
        """The record of an id. Raises NotFound."""
        return self.read_all([identifier])[0]

    def read_all(self, ids: Sequence[str]) -> list[Job]:
        """The records of ids, in their order. Raises NotFound."""
        found: list[dict[str, str]] = []
        for start in range(0, len(ids), _AT_ONCE):
            for text in self._run("read", *ids[start : start + _AT_ONCE]):
                flat = json.loads(text)
                found.append(dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {})
        for identifier, fields in zip(ids, found, strict=True):
            if not fields:
                raise NotFound(f"there is no job `{identifier}`")
        return [_job(fields) for fields in found]

    def page(self, selector: Selector, limit: int, cursor: str | None) -> Page:
        """The jobs that are meant, newest first. Raises NotFound for a cursor that is none."""
        ids, following = self.select(selector, limit, cursor)
        return Page(self.read_all(ids), following)

    def select(self, selector: Selector, limit: int, cursor: str | None) -> tuple[list[str], str | None]:
        """Ids of the jobs that are meant, newest first, and the cursor of the next. Raises NotFound as `page`."""
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 16):
            raise NotFound(f"`{cursor}` is no cursor of a page")
        found: list[str] = []
        following = cursor or ""
        while True:  # one call looks at so many jobs only, and may find too few
            following, *ids = self._run("select", *selector.arguments(), limit - len(found), following)
            found += ids
            if not following or len(found) >= limit:
                return found, following or None

    def kinds(self, ids: Sequence[str], project: str) -> dict[str, str]:
        """The kind of each of these that is the id of a job of a project."""
        if not ids:
            return {}
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            for identifier in ids:
                pipe.hmget(f"{self._root}:job:{identifier}", "kind", "project")
            found = pipe.execute()
        return {identifier: kind for identifier, (kind, of) in zip(ids, found, strict=True) if of == project}

    def dependents(self, identifier: str) -> list[Job]:
        """The jobs that need this one, oldest first."""
        with speaking(self._client):
            ids: Any = self._client.smembers(f"{self._root}:dependents:{identifier}")
        return sorted(self.read_all(sorted(ids)), key=lambda job: (job.created, job.id))

    def used(self, project: str, key: str) -> bool:
        """Whether a submission with this idempotency key is recorded."""
        with speaking(self._client):
            return bool(self._client.exists(f"{self._root}:key:{project}:{key}"))

    def places(self, ids: Sequence[str]) -> list[int | None]:
        """Of each, over all lines together: 1 for the first; None for one that is in none."""
        return [int(place) if place else None for place in self._run("place", *ids)] if ids else []

    def requests(self, ids: Sequence[str]) -> list[tuple[float, float]]:
        """(cpus, gpus) that each job asks for in all."""
        return requests(self._client, self._root, ids)

    def _names(self, projects: Projects) -> list[str]:
        with speaking(self._client):
            known: Any = self._client.smembers(f"{self._root}:projects") if projects is None else projects
            names: list[str] = []
            for project in sorted(known):
                some: Any = self._client.sscan(f"{self._root}:names:{project}", count=_SUGGESTED)[1]
                names += list(some)[: _SUGGESTED - len(names)]
        return names


def requests(client: redis.Redis, root: str, ids: Sequence[str]) -> list[tuple[float, float]]:
    """(cpus, gpus) that each job asks for in all; nothing for one that is gone."""
    with speaking(client), client.pipeline(transaction=False) as pipe:
        for identifier in ids:
            pipe.hget(f"{root}:job:{identifier}", "request")
        found = [json.loads(text) if text else {} for text in pipe.execute()]
    return [(request.get("cpus", 0.0), request.get("gpus", 0.0)) for request in found]


def _job(fields: Mapping[str, str]) -> Job:
    value: dict[str, Any] = {name: fields[name] for name in _TEXT if name in fields}
    value |= {name: json.loads(fields[name]) for name in _JSON if name in fields}
    value |= {name: _time(fields[name]) for name in _TIMES if name in fields}
    if "waited" in fields:
        value["waited"] = int(fields["waited"]) / 1000
    if "since" in fields:
        value["queued"] = datetime.fromtimestamp(int(fields["since"]) / 1e6, UTC)
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
