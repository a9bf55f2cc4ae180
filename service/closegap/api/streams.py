"""Answers that go on: they have a seat, and end with the job, the token or the store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import final

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from closegap.api.context import Context
from closegap.api.identity import Caller
from closegap.api.limits import Seat
from closegap.errors import StoreUnavailable
from closegap.job import Event, Job
from closegap.queue.shares import SEAT_SECONDS

_HEADERS = {"X-Accel-Buffering": "no"}


@final
class _Stream(StreamingResponse):
    """A stream that has taken a seat: it keeps it, and gives it back however it ends."""

    def __init__(self, source: AsyncIterator[bytes], media_type: str, context: Context, seat: Seat) -> None:
        super().__init__(source, media_type=media_type, headers=_HEADERS)
        self._context, self._seat = context, seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keeping = asyncio.create_task(self._keep())
        try:
            await super().__call__(scope, receive, send)
        finally:
            keeping.cancel()
            await leave(self._context, self._seat)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SEAT_SECONDS / 3)
            with contextlib.suppress(
                StoreUnavailable
            ):  # where the store stays away the stream ends by itself
                await run_in_threadpool(self._context.limits.streams.keep, self._seat)


async def streamed(
    context: Context, caller: Caller, source: AsyncIterator[bytes], media_type: str
) -> _Stream:
    """What a source says, as long as it does. Raises StoreUnavailable, Answer 429: too many streams."""
    return _Stream(source, media_type, context, await take(context, caller))


async def take(context: Context, caller: Caller) -> Seat:
    """A seat, for what goes on. Raises StoreUnavailable, Answer 429."""
    seat = await run_in_threadpool(context.limits.streams.take, caller.key)
    context.measures.streams.set(context.limits.streams.taken)
    return seat


async def leave(context: Context, seat: Seat) -> None:
    """Give it back, also where the task was cancelled."""
    streams = context.limits.streams
    streams.free(seat)
    context.measures.streams.set(streams.taken)
    with anyio.CancelScope(shield=True), contextlib.suppress(StoreUnavailable):  # then it runs out
        await run_in_threadpool(streams.leave, seat)


async def watched(context: Context, caller: Caller, job: Job, after: str) -> AsyncIterator[Event | None]:
    """Until the end, or until the caller may no longer see it: a token that is revoked ends its streams, too.

    Where the store goes away the stream ends as well: the client comes back with the last event it saw.
    """
    beat = context.settings.api_beat_seconds
    looked = time.monotonic()
    try:
        async for event in context.feed.watch(job.id, after, beat):
            if time.monotonic() - looked >= beat:
                looked = time.monotonic()
                if not await run_in_threadpool(_welcome, context, caller):
                    return
            yield event
    except StoreUnavailable:
        return


def _welcome(context: Context, caller: Caller) -> bool:
    return not caller.token or context.tokens.usable(caller.token)
