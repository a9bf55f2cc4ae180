"""Who changed what: one bounded stream of the namespace, for thirty days."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, final

import redis

from closegap.job import Job
from closegap.queue.entry import Entry
from closegap.store.store import speaking

KEPT = timedelta(days=30)
LONGEST = 200
"""Characters of one field: names that users give are shorter, and nobody fills the stream with one entry."""
_TOKEN = re.compile(r"\(token ([0-9a-f]{12})\)$")
"""How the API names who asks."""


class Entries(NamedTuple):
    """Entries, newest first, and the cursor of the next page (None at the end)."""

    entries: list[Entry]
    cursor: str | None


@final
class Audit:
    """The audit stream of one namespace. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._stream = f"{{{namespace}}}:audit"

    def record(
        self, actor: str, action: str, project: str = "", target: str = "", token: str = "", request: str = ""
    ) -> None:
        """Add an entry, after the change was made; what is older than 30 days goes."""
        fields: dict[Any, Any] = {
            "actor": actor,
            "token": token,
            "action": action,
            "project": project,
            "target": target,
            "request": request,
        }
        oldest = int((datetime.now(UTC) - KEPT).timestamp() * 1000)
        short = {name: value[:LONGEST] for name, value in fields.items() if value}
        with speaking(self._client):
            self._client.xadd(self._stream, short, minid=oldest, approximate=True)

    def record_jobs(
        self, actor: str, action: str, jobs: Sequence[Job], token: str = "", request: str = ""
    ) -> None:
        """Add one entry for all of the jobs: of the first, and how many more."""
        if jobs:
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            projects = ",".join(sorted({job.project for job in jobs}))
            self.record(actor, action, projects, jobs[0].id + more, token, request)

    def read(self, limit: int = 100, cursor: str | None = None) -> Entries:
        """The newest entries, or those before a cursor."""
        newest = f"({cursor}" if cursor else "+"
        with speaking(self._client):
            rows: Any = self._client.xrevrange(self._stream, newest, "-", count=limit + 1)
        entries = [_entry(identifier, fields) for identifier, fields in rows[:limit]]
        return Entries(entries, entries[-1].id if len(rows) > limit else None)


def _entry(identifier: str, fields: Mapping[str, str]) -> Entry:
    time = datetime.fromtimestamp(int(identifier.partition("-")[0]) / 1000, UTC)
    found = _TOKEN.search(fields["actor"])
    return Entry(id=identifier, time=time, **{"token": found[1] if found else "", **fields})
