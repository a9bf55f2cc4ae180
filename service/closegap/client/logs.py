"""The lines that a job's attempts have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, final

from closegap.client import events
from closegap.client.connection import Connection
from closegap.job import Event
from closegap.loglines import Filter, text_of


@final
class LogLine(NamedTuple):
    """One line. `str` of it is as people are shown it, what would move a terminal's cursor not done.

    `data`: `level`, `rank`, `trial`, `exception`, … where they are known.
    """

    time: datetime
    text: str
    attempt: int
    data: Mapping[str, Any]

    def __str__(self) -> str:
        return text_of(self.data)


def lines(connection: Connection, job: str, wanted: Filter, follow: bool = False) -> Iterator[LogLine]:
    """Those that are wanted, oldest first; `follow`: until the job is over. Raises ClientError."""
    after, attempt = events.FIRST, 0
    while True:
        page = events.page(
            connection, job, after, events.LONGEST_WAIT if follow else 0.0, types=("log", "state")
        )
        for event in page.events:
            attempt += event.type == "state" and event.data.get("to") == "claimed"
            line = _line(event, attempt)
            if event.type == "log" and wanted(line.data):
                yield line
        if page.over or (not follow and page.next == after):
            return
        after = page.next


def last(connection: Connection, job: str, count: int) -> list[str]:
    """The last lines, each with its time. Raises ClientError."""
    response = connection.send("GET", f"/v1/jobs/{job}/logs", repeatable=True, query={"tail": count})
    return response.text.split("\n")[:-1]


def _line(event: Event, attempt: int) -> LogLine:
    """Of the attempt that it names, or that the job was last claimed for."""
    data = {"attempt": attempt, **event.data}
    return LogLine(event.time, str(data.get("line", "")), data["attempt"], data)
