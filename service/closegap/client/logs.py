"""The lines that a job's attempts have written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, final

from closegap.client import events
from closegap.client.connection import Connection
from closegap.job import Event


@final
class LogLine(NamedTuple):
    """One line. As text it is only that; `rank` None: the attempt itself."""

    time: datetime
    text: str
    attempt: int
    rank: int | None

    def __str__(self) -> str:
        return self.text


def lines(
    connection: Connection,
    job: str,
    follow: bool = False,
    attempt: int | None = None,
    rank: int | None = None,
) -> Iterator[LogLine]:
    """Oldest first, of one attempt or rank only where that is given; `follow`: until the job is over.

    Raises ClientError.
    """
    after, current = events.FIRST, 0
    while True:
        page = events.page(
            connection, job, after, events.LONGEST_WAIT if follow else 0.0, types=("log", "state")
        )
        for event in page.events:
            current += event.type == "state" and event.data.get("to") == "claimed"
            if event.type == "log":
                line = _line(event, current)
                if attempt in (None, line.attempt) and rank in (None, line.rank):
                    yield line
        if page.over or (not follow and page.next == after):
            return
        after = page.next


def last(connection: Connection, job: str, count: int) -> list[str]:
    """The last lines, each with its time. Raises ClientError."""
    response = connection.send("GET", f"/v1/jobs/{job}/logs", repeatable=True, query={"tail": count})
    return response.text.split("\n")[:-1]


def _line(event: Event, attempt: int) -> LogLine:
    """Of an attempt that says its number, or of the one that the job was last claimed for."""
    own: Any = event.data.get("attempt")
    rank: Any = event.data.get("rank")
    return LogLine(
        event.time,
        str(event.data.get("line", "")),
        own if isinstance(own, int) else attempt,
        rank if isinstance(rank, int) else None,
    )
