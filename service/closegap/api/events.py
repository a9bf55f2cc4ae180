"""What happens to a job, as it happens: server-sent events, and the same as pages of JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal, final, get_args

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Caller, Viewer
from closegap.api.streams import streamed, watched
from closegap.job import Event, Job

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
    return await streamed(context, caller, source, "text/event-stream")


def class_of(event: Event) -> Class:
    """By which name a browser listens for it."""
    return _CLASSES.get(event.type, "metric")


def sent(event: Event) -> bytes:
    """As a server-sent event. JSON has no line breaks, so `data` is one line."""
    data = event.model_dump_json()
    return f"id: {event.id}\nevent: {class_of(event)}\ndata: {data}\n\n".encode()


async def _sent(
    context: Context, caller: Caller, job: Job, after: str, types: frozenset[Class]
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for event in watched(context, caller, job, after):
        if event is None:
            yield b": beat\n\n"
        elif _wanted(event, types):
            yield sent(event)


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
