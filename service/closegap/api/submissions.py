"""Specs that come in: recorded as jobs, validated, or told what would happen to them."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Literal, final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from closegap.api import body, forecast, streams
from closegap.api.context import Context, Ctx
from closegap.api.documents import EXAMPLE_JOBS, EXAMPLE_SPEC, InProject, Jobs, answers
from closegap.api.forecast import Plan
from closegap.api.identity import Caller, Submitter, Viewer
from closegap.api.limits import Seat
from closegap.api.problem import Answer
from closegap.api.reasons import shown, with_reasons
from closegap.specs import spec
from closegap.specs.kinds import Spec

LONGEST_WAIT = 60.0
"""Seconds that `Prefer: wait` may hold an answer."""
_SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One spec, a list of them (a pipeline), or a file with scales.",
        "content": {
            media: {"schema": {"$ref": "#/components/schemas/Submission"}, "example": EXAMPLE_SPEC}
            for media in (*body.JSON_TYPES, "application/yaml")
        },
    }
}
Scale = Annotated[str | None, Query(max_length=100, description="Which of a file's scales; absent: `full`.")]
router = APIRouter(tags=["jobs"])


@final
class Valid(BaseModel):
    """Specs as they are normalised: every default written out."""

    valid: Literal[True] = True
    specs: list[dict[str, Any]]


@router.post(
    "/v1/jobs",
    status_code=202,
    responses=answers(400, 409, 413, 415, example=EXAMPLE_JOBS, status=202, description="Recorded, durably.")
    | {200: {"model": Jobs, "description": "Recorded, and over within `Prefer: wait`."}},
    openapi_extra=_SPEC_BODY,
)
async def submit(
    request: Request,
    response: Response,
    context: Ctx,
    caller: Submitter,
    project: InProject = None,
    scale: Scale = None,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=200, description="The same key with the same specs gives the same jobs."),
    ] = None,
    prefer: Annotated[
        str, Header(max_length=200, description="`wait=SECONDS` holds the answer until they are over.")
    ] = "",
) -> Jobs:
    """Record one job, or a whole pipeline, or nothing of it."""
    content, media_type = await body.read(request)

    def record() -> Jobs:
        chosen = caller.chosen(project)
        specs = _specs(content, media_type, scale, caller, chosen, context)
        with context.tracer.submission(caller.traceparent, "submit") as span:
            jobs = context.queue.submit(specs, idempotency_key, caller.actor, chosen, caller.request_id, span)
        return with_reasons(context, caller, jobs)

    found = await run_in_threadpool(record)
    seconds = _wait_of(prefer)
    if seconds and (seat := await _seat(context, caller)) is not None:
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        try:
            found = await _until_over(context, caller, found, seconds)
        finally:
            await streams.leave(context, seat)
        if all(job.state.terminal for job in found.jobs):
            response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{found.jobs[0].id}"
    return found


@router.post(
    "/v1/jobs:validate",
    responses=answers(400, 413, 415, example={"valid": True, "specs": [EXAMPLE_SPEC]}),
    openapi_extra=_SPEC_BODY,
)
async def validate(
    request: Request, context: Ctx, caller: Viewer, project: InProject = None, scale: Scale = None
) -> Valid:
    """Every problem of specs, or the specs as they are normalised. Records nothing."""
    content, media_type = await body.read(request)
    specs = await run_in_threadpool(
        lambda: _specs(content, media_type, scale, caller, caller.chosen(project), context)
    )
    return Valid(specs=[spec.dump(item) for item in specs])


@router.post(
    "/v1/jobs:plan", responses=answers(400, 413, 415, example=forecast.EXAMPLE), openapi_extra=_SPEC_BODY
)
async def plan(
    request: Request, context: Ctx, caller: Viewer, project: InProject = None, scale: Scale = None
) -> Plan:
    """What would happen if these specs were submitted now: resources, waiting, time. Records nothing."""
    content, media_type = await body.read(request)

    def look() -> Plan:
        chosen = caller.chosen(project)
        specs = _specs(content, media_type, scale, caller, chosen, context)
        found = forecast.plan(context.queue, context.census, specs, chosen)
        return Plan(project=chosen, jobs=shown(context, caller, found.jobs))

    return await run_in_threadpool(look)


def _specs(
    content: bytes, media_type: str, scale: str | None, caller: Caller, project: str, context: Context
) -> list[Spec]:
    registry = None if caller.projects is None else context.registry(project)
    return body.specs(content, media_type, scale, registry)


def _wait_of(prefer: str) -> float:
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])", prefer)
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0


async def _seat(context: Context, caller: Caller) -> Seat | None:
    """An answer that is held is one of the caller's streams. None where there are no more: the jobs are recorded, and a
    preference may be passed over."""
    try:
        return await streams.take(context, caller)
    except Answer:
        return None


async def _until_over(context: Context, caller: Caller, found: Jobs, seconds: float) -> Jobs:
    """The jobs once all of them are over, or after so many seconds."""

    async def over(identifier: str) -> None:
        async for _ in context.feed.watch(identifier, "0", beat=seconds):
            pass

    waits = [asyncio.ensure_future(over(job.id)) for job in found.jobs]
    await asyncio.wait(waits, timeout=seconds)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return await run_in_threadpool(
        lambda: with_reasons(context, caller, [context.queue.get(job.id) for job in found.jobs])
    )
