"""What a job's attempts have written, as lines of text or of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple, final

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.events import LATEST, EventId
from closegap.api.identity import Viewer
from closegap.api.streams import streamed, watched
from closegap.job import Event
from closegap.loglines import Filter, Level, text_of

NDJSON = "application/x-ndjson"
router = APIRouter(tags=["events"])


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
        async for event in watched(context, caller, found, last):
            if event is not None and told.wants(event):
                yield told.line(event).encode()

    return await streamed(context, caller, written(), told.media_type)


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


async def _lines(context: Context, job: str, after: str, told: _Told) -> tuple[list[str], str]:
    """Every line after an event, and the id of the last event that was looked at."""
    lines: list[str] = []
    while page := await context.feed.recorded(job, after):
        lines += [told.line(event) for event in page if told.wants(event)]
        after = page[-1].id
    return lines, after
