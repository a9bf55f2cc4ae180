"""What happens to a job, as it happens: server-sent events, the same as pages of JSON, and its log as text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal, NamedTuple, final, get_args

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Caller, Viewer
from closegap.api.limits import Seat
from closegap.errors import StoreUnavailable
from closegap.job import Event, Job
from closegap.loglines import Filter, Level, text_of
from closegap.queue.shares import SEAT_SECONDS

Class = Literal["state", "progress", "metric", "log", "end"]
_CLASSES: dict[str, Class] = {
    "state": "state",
    "wish": "state",
    "change": "state",
    "progress": "progress",
    "log": "log",
    "end": "end",
}
"""Of each type of event; whatever else an attempt reports is a metric."""
NDJSON = "application/x-ndjson"
_HEADERS = {"X-Accel-Buffering": "no"}
LATEST = "latest"
_ID = r"[0-9]{1,18}(-[0-9]{1,18})?"
EventId = Annotated[
    str,
    Query(
        pattern=f"^({_ID}|{LATEST})$", description="Only events after this one; `latest`: only those to come."
    ),
]
Before = Annotated[
    str | None,
    Query(
        pattern=f"^({_ID}|{LATEST})$",
        description="As JSON: in place of what follows `after`, the last events before this one; `latest`: of all.",
    ),
]
router = APIRouter(tags=["events"])


@final
class Events(BaseModel):
    """Some events, oldest first."""

    events: list[Event]
    next: str = Field(description="What to give as `after` for those that follow.")
    previous: str | None = Field(
        None, description="What to give as `before` for those before these; null where there are none."
    )
    over: bool = Field(description="Whether the job's last event is among these or before them.")


EXAMPLE_EVENT = {
    "id": "1795269785123-0",
    "type": "state",
    "time": "2026-11-21T14:03:05.123Z",
    "data": {"from": "queued", "to": "claimed", "reason": "attempt 1", "actor": "node1-4711-9f2c"},
}
_SENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": [*get_args(Class)]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""One event of a stream."""


@router.get(
    "/v1/jobs/{job}/events",
    response_model=None,
    responses=answers(404, 409)
    | {
        200: {
            "description": "A stream that ends with the job; as JSON, what there is after `after`.",
            "content": {
                "text/event-stream": {"schema": _SENT},
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Events"},
                    "example": {"events": [EXAMPLE_EVENT], "next": EXAMPLE_EVENT["id"], "over": False},
                },
            },
        },
        204: {"description": "The job is over and nothing happened after that event: do not ask again."},
    },
)
async def events(
    job: JobName,
    request: Request,
    context: Ctx,
    caller: Viewer,
    after: EventId = "0",
    before: Before = None,
    limit: Annotated[int, Query(ge=1, le=2000, description="With `before`: events at most.")] = 500,
    types: Annotated[list[Class] | None, Query(alias="type", description="Only these; `end` always.")] = None,
    wait: Annotated[
        float, Query(ge=0, le=30, description="As JSON: seconds to wait for a first event.")
    ] = 0.0,
    accept: Annotated[str, Header(max_length=500)] = "",
    last_event_id: Annotated[str | None, Header(pattern=f"^{_ID}$")] = None,
) -> Response:
    """Everything that happens to a job. A client that comes back names the last event it saw."""
    found = await run_in_threadpool(context.queue.get, job, caller.projects)
    chosen = frozenset(types or ())
    as_json = "application/json" in accept and "text/event-stream" not in accept
    if as_json and before is not None:
        return await _before(context, found, before, limit, chosen)
    start = last_event_id or after
    if start == LATEST:
        start = await context.feed.latest(found.id)
    if as_json:
        return await _page(context, found, start, wait, chosen)
    if found.state.terminal and not await context.feed.recorded(found.id, start, 1):
        return Response(status_code=204)
    source = _sent(context, caller, found, start, chosen)
    return await _stream(context, caller, source, "text/event-stream")


@router.get(
    "/v1/jobs/{job}/logs",
    response_model=None,
    responses=answers(404, 409)
    | {
        200: {
            "description": "One line each; tracebacks have several.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "2026-11-21T14:03:05.123Z [rank 0] epoch 1 of 20\n",
                },
                NDJSON: {
                    "schema": {"type": "string"},
                    "example": '{"time":"2026-11-21T14:03:05.123Z","line":"epoch 1","level":"info","attempt":1}\n',
                },
            },
        }
    },
)
async def logs(
    job: JobName,
    context: Ctx,
    caller: Viewer,
    tail: Annotated[
        int | None, Query(ge=0, le=100_000, description="Only so many of the last lines.")
    ] = None,
    follow: Annotated[bool, Query(description="Go on until the job is over.")] = False,
    after: EventId = "0",
    level: Annotated[Level | None, Query(description="The least that is told.")] = None,
    attempt: Annotated[int | None, Query(ge=1, le=1 << 31, description="Only of this attempt.")] = None,
    rank: Annotated[int | None, Query(ge=0, le=1 << 31, description="Only of this rank.")] = None,
    trial: Annotated[int | None, Query(ge=0, le=1 << 31, description="Only of this trial.")] = None,
    text: Annotated[str, Query(max_length=200, description="In the line, whatever its case.")] = "",
    accept: Annotated[str, Header(max_length=500)] = "",
) -> Response:
    """What the job's attempts have written, without control characters. Its oldest lines go when there are many.

    As `application/x-ndjson`: a JSON object a line, with level, logger, attempt, rank, trial and traceback.
    """
    found = await run_in_threadpool(context.queue.get, job, caller.projects)
    after = await context.feed.latest(found.id) if after == LATEST else after
    told = _Told(Filter(level, attempt, rank, trial, text), NDJSON in accept)
    lines, last = await _lines(context, found.id, after, told)
    kept = lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]
    if not follow or found.state.terminal:
        return Response("".join(kept), media_type=told.media_type)

    async def written() -> AsyncIterator[bytes]:
        yield "".join(kept).encode()
        async for event in _watched(context, caller, found, last):
            if event is not None and told.wants(event):
                yield told.line(event).encode()

    return await _stream(context, caller, written(), told.media_type)


@final
class _Told(NamedTuple):
    """Which lines, and how."""

    wanted: Filter
    as_json: bool

    @property
    def media_type(self) -> str:
        return NDJSON if self.as_json else "text/plain; charset=utf-8"

    def wants(self, event: Event) -> bool:
        return event.type == "log" and self.wanted(event.data)

    def line(self, event: Event) -> str:
        """Whatever moves a terminal's cursor or colours it is shown, not done."""
        time = event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.as_json:
            return json.dumps({"time": time, **event.data}) + "\n"
        first, *rest = text_of(event.data).split("\n")
        return "\n".join([f"{time} {first}", *(f"    {line}" for line in rest), ""])


def class_of(event: Event) -> Class:
    """By which name a browser listens for it."""
    return _CLASSES.get(event.type, "metric")


def sent(event: Event) -> bytes:
    """As a server-sent event. JSON has no line breaks, so `data` is one line."""
    data = event.model_dump_json()
    return f"id: {event.id}\nevent: {class_of(event)}\ndata: {data}\n\n".encode()


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
            await self._leave()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SEAT_SECONDS / 3)
            with contextlib.suppress(
                StoreUnavailable
            ):  # the stream ends by itself where the store stays away
                await run_in_threadpool(self._context.limits.streams.keep, self._seat)

    async def _leave(self) -> None:
        streams = self._context.limits.streams
        streams.free(self._seat)
        self._context.measures.streams.set(streams.taken)
        with anyio.CancelScope(shield=True), contextlib.suppress(StoreUnavailable):  # then it runs out
            await run_in_threadpool(streams.leave, self._seat)


async def _stream(context: Context, caller: Caller, source: AsyncIterator[bytes], media_type: str) -> _Stream:
    """Raises StoreUnavailable, Answer 429: too many streams."""
    seat = await run_in_threadpool(context.limits.streams.take, caller.key)
    context.measures.streams.set(context.limits.streams.taken)
    return _Stream(source, media_type, context, seat)


async def _sent(
    context: Context, caller: Caller, job: Job, after: str, types: frozenset[Class]
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for event in _watched(context, caller, job, after):
        if event is None:
            yield b": beat\n\n"
        elif _wanted(event, types):
            yield sent(event)


async def _watched(context: Context, caller: Caller, job: Job, after: str) -> AsyncIterator[Event | None]:
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


async def _page(context: Context, job: Job, after: str, wait: float, types: frozenset[Class]) -> JSONResponse:
    found = await context.feed.recorded(job.id, after)
    if not found and wait and not job.state.terminal:
        async for event in context.feed.watch(job.id, after, wait):
            found = [event] if event is not None else []
            break
    last = found[-1].id if found else after
    over = any(event.type == "end" for event in found) or (job.state.terminal and not found)
    chosen = [event for event in found if _wanted(event, types)]
    return JSONResponse(Events(events=chosen, next=last, over=over).model_dump(mode="json"))


async def _before(
    context: Context, job: Job, before: str, limit: int, types: frozenset[Class]
) -> JSONResponse:
    """The last events before one, oldest first; of many that are not wanted several pages are read."""
    found: list[Event] = []
    place: str | None = "+" if before == LATEST else before
    while place is not None and len(found) < limit:
        page = await context.feed.earlier(job.id, place)
        place = page[-1].id if page else None
        found += [event for event in page if _wanted(event, types)]
    if len(found) > limit:
        found = found[:limit]
        place = found[-1].id
    last = found[0].id if found else "0"
    answer = Events(events=found[::-1], next=last, previous=place, over=job.state.terminal)
    return JSONResponse(answer.model_dump(mode="json"))


def _wanted(event: Event, types: frozenset[Class]) -> bool:
    return not types or event.type == "end" or class_of(event) in types


async def _lines(context: Context, job: str, after: str, told: _Told) -> tuple[list[str], str]:
    """Every line after an event, and the id of the last event that was looked at."""
    lines: list[str] = []
    while page := await context.feed.recorded(job, after):
        lines += [told.line(event) for event in page if told.wants(event)]
        after = page[-1].id
    return lines, after
