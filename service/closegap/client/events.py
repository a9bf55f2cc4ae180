"""The events of a job as they happen: server-sent events, taken up again after the last one that was seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, final

from closegap.client.connection import Connection, read
from closegap.client.documents import EventPage
from closegap.client.errors import ClientError, NoService, Unavailable, Unreachable
from closegap.job import Event

SILENCE_SECONDS = 60.0
"""A stream says something, if only that it is alive, more often than this."""
LONGEST_WAIT = 30.0
"""Seconds that the service holds an answer about events at most."""
FIRST = "0"


@final
class Sent(NamedTuple):
    """One server-sent event."""

    id: str
    event: str
    data: str


def follow(
    connection: Connection, job: str, after: str = FIRST, types: Sequence[str] | None = None
) -> Iterator[Event]:
    """Every event after one, as it happens, each once; ends after `end`. Raises ClientError.

    A stream that breaks is opened again with `Last-Event-ID`, as often as it takes while something still arrives, else
    as long as the connection's retries last.
    """
    failures, since = 0, time.monotonic()
    while True:
        try:
            for event in _stream(connection, job, after, types):
                failures, since = 0, time.monotonic()
                if event is None:
                    continue
                after = event.id
                yield event
                if event.type == "end":
                    return
            # A stream also ends where the service stops, or no longer knows the token, which this request will say.
            rest = page(connection, job, after, types=types)
            if rest.over and not rest.events:
                return
            failed: ClientError = Unreachable(f"the stream of {connection.url} ended before the job did")
        except (Unreachable, Unavailable) as error:
            failed = error
        failures += 1
        left = connection.retry.deadline_seconds - (time.monotonic() - since)
        wait = connection.retry.wait(failures, None, left)
        if wait is None:
            raise failed
        time.sleep(wait)


def page(
    connection: Connection, job: str, after: str, wait: float = 0.0, types: Sequence[str] | None = None
) -> EventPage:
    """What there is after an event; `wait`: seconds to wait for a first one, 30 at most. Raises ClientError."""
    held = min(wait, LONGEST_WAIT)
    response = connection.send(
        "GET",
        f"/v1/jobs/{job}/events",
        repeatable=True,
        query={"after": after, "wait": held, "type": None if types is None else list(types)},
        headers={"Accept": "application/json"},
        patience=held,
    )
    return read(EventPage, response)


def parsed(lines: Iterable[str]) -> Iterator[Sent | None]:
    """Server-sent events of lines; None for a comment: the stream is alive, and nothing has happened."""
    fields: dict[str, list[str]] = {}
    last = ""
    for line in lines:
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        else:
            last = fields.get("id", [last])[-1]
            if "data" in fields:
                yield Sent(last, fields.get("event", ["message"])[-1], "\n".join(fields["data"]))
            fields = {}


def _stream(
    connection: Connection, job: str, after: str, types: Sequence[str] | None
) -> Iterator[Event | None]:
    """None for a sign of life."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": after}
    query = {"type": None if types is None else list(types)}
    with connection.stream(
        f"/v1/jobs/{job}/events", query=query, headers=headers, silence=SILENCE_SECONDS
    ) as response:
        for sent in parsed(_lines(response.iter_bytes())):
            try:
                yield None if sent is None else Event.model_validate_json(sent.data, extra="ignore")
            except ValueError as error:
                raise NoService(f"an event of {connection.url} cannot be read: {sent}"[:300]) from error


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Ended by a line feed only: other separators of Unicode may stand in the text of a log."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode()
