"""Events of many jobs to many watchers over one connection to the store.

One task reads every stream that somebody watches, in one blocking command, and hands each event to its watchers. A
watcher first reads what happened already, then waits for its own; one that is too slow for its buffer reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, final

import redis.asyncio
from redis.exceptions import RedisError

from closegap.job import Event
from closegap.queue import events
from closegap.store.store import speaking

PAGE = 500
BUFFER = 1000
"""Events that a watcher may be behind."""
_READERS = 8
"""Connections, beside the one that waits, by which watchers read what happened already."""
_BLOCK_MS = 5000
_RETRY_SECONDS = 0.5
log = logging.getLogger("closegap.api.feed")


@final
class Watcher:
    """Who waits for the events of one stream. Has its own buffer; `behind` once that was full."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Event | None] = asyncio.Queue(BUFFER)
        self.behind = False

    def hand(self, event: Event | None) -> None:
        """Give it an event, unless its buffer is full; None when the feed ends."""
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.behind = True


@final
class _Stream:
    """A stream that is watched: the id of the last entry that was read, and who hears of the next."""

    def __init__(self, last: str) -> None:
        self.last = last
        self.watchers: set[Watcher] = set()


@final
class Feed:
    """Belongs to one event loop."""

    def __init__(self, client: redis.asyncio.Redis, namespace: str) -> None:
        self._client = client
        self._prefix = f"{{{namespace}}}:events:"
        self._streams: dict[str, _Stream] = {}
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._places = asyncio.Semaphore(_READERS)
        self._over = False

    @property
    def watchers(self) -> int:
        """How many there are."""
        return sum(len(stream.watchers) for stream in self._streams.values())

    async def recorded(self, job: str, after: str, limit: int = PAGE) -> list[Event]:
        """Events of a job (its id) after an event's id that are there already. Raises StoreUnavailable."""
        async with self._places:
            with speaking(self._client):
                rows: Any = await self._client.xrange(self._prefix + job, f"({after}", "+", count=limit)
        return events.parsed(rows)

    async def earlier(self, job: str, before: str, limit: int = PAGE) -> list[Event]:
        """Events of a job before an id (`+`: the last ones), newest first. Raises StoreUnavailable."""
        highest = before if before == "+" else f"({before}"
        async with self._places:
            with speaking(self._client):
                rows: Any = await self._client.xrevrange(self._prefix + job, highest, "-", count=limit)
        return events.parsed(rows)

    async def latest(self, job: str) -> str:
        """The id of a job's last event. Raises StoreUnavailable."""
        last = await self.earlier(job, "+", 1)
        return last[0].id if last else "0"

    async def watch(self, job: str, after: str, beat: float) -> AsyncIterator[Event | None]:
        """Events of a job after an id, until its or the feed's end; None whenever `beat` seconds were silent.

        Raises StoreUnavailable when the store is away while what happened already is read.
        """
        last = after
        while not self._over:
            async for event in self._past(job, last):
                yield event
                last = event.id
                if event.type == "end":
                    return
            with self._watching(job, last) as watcher:
                # Between the last page and now something may have happened that the reader had read before.
                missed = await self.recorded(job, last)
                while not (watcher.behind or self._over):
                    found = missed or await _next(watcher, beat)
                    missed = []
                    if not found and not self._over:
                        yield None
                    for event in found:
                        if _order(event.id) <= _order(last):
                            continue
                        yield event
                        last = event.id
                        if event.type == "end":
                            return

    def end(self) -> None:
        """Let every watcher go: the server stops."""
        self._over = True
        for stream in self._streams.values():
            for watcher in stream.watchers:
                watcher.hand(None)

    async def close(self) -> None:
        """Stop reading."""
        self.end()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None

    async def _past(self, job: str, after: str) -> AsyncIterator[Event]:
        while page := await self.recorded(job, after):
            for event in page:
                yield event
            after = page[-1].id

    @contextlib.contextmanager
    def _watching(self, job: str, last: str) -> Any:
        name = self._prefix + job
        watcher = Watcher()
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(last)
            self._changed.set()
        stream.watchers.add(watcher)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="closegap event feed")
        try:
            yield watcher
        finally:
            stream.watchers.discard(watcher)
            if not stream.watchers and self._streams.get(name) is stream:
                del self._streams[name]

    async def _read(self) -> None:
        """Until nobody watches."""
        while self._streams:
            self._changed.clear()
            positions: dict[Any, Any] = {name: stream.last for name, stream in self._streams.items()}
            read = asyncio.ensure_future(self._client.xread(positions, count=PAGE, block=_BLOCK_MS))
            change = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({read, change}, return_when=asyncio.FIRST_COMPLETED)
                if read.done():
                    self._deliver(events.batches(read.result()))
            except RedisError as error:
                log.warning("the store cannot be read: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                # A read that is given up closes its connection: the next one asks for the streams there are then.
                for task in (read, change):
                    task.cancel()
                await asyncio.gather(read, change, return_exceptions=True)

    def _deliver(self, found: dict[str, list[Event]]) -> None:
        for name, batch in found.items():
            stream = self._streams.get(name)
            if stream is None or not batch:
                continue
            stream.last = batch[-1].id
            for watcher in stream.watchers:
                for event in batch:
                    watcher.hand(event)


async def _next(watcher: Watcher, beat: float) -> list[Event]:
    """What waits for it, or comes within `beat` seconds."""
    try:
        found = [await asyncio.wait_for(watcher.waiting.get(), beat)]
    except TimeoutError:
        return []
    while not watcher.waiting.empty():
        found.append(watcher.waiting.get_nowait())
    return [event for event in found if event is not None]


def _order(identifier: str) -> tuple[int, int]:
    time, _, number = identifier.partition("-")
    return int(time), int(number or 0)
