"""Jobs: submit, list, look at, change, cancel, retry, pause, resume; what would happen, and whether a spec is valid."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from closegap import references, spec
from closegap.api import body, forecast
from closegap.api.context import Context, Ctx
from closegap.api.documents import (
    EXAMPLE_JOB,
    EXAMPLE_JOBS,
    EXAMPLE_SPEC,
    Cursor,
    InProject,
    JobName,
    Jobs,
    Limit,
    Waiting,
    answers,
)
from closegap.api.forecast import Plan
from closegap.api.identity import Caller, Submitter, Viewer
from closegap.api.problem import Answer
from closegap.job import Job, State
from closegap.kinds import SPECS, Priority, Spec
from closegap.labels import checked
from closegap.selector import Selector

LONGEST_WAIT = 60.0
"""Seconds that `Prefer: wait` may hold an answer."""
_LABEL_FILTER = re.compile(r"([^=]{1,100})=(.{0,200})", re.DOTALL)
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
_JOB_ID = re.compile(r"\b[a-z]+-[0-9a-f]{8}\b")
_END_OF = "the end of "
Scale = Annotated[str | None, Query(max_length=100, description="Which of a file's scales; absent: `full`.")]
router = APIRouter(tags=["jobs"])


@final
class Change(BaseModel):
    """What may be changed of a job; absent stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"priority": 80}]})
    priority: Priority | None = None
    labels: Annotated[dict[str, str | None], AfterValidator(checked)] | None = Field(
        None, description="To be set; null removes one. Others stay."
    )


@final
class Selection(BaseModel):
    """Which jobs are meant: every field that is given must hold. To mean all of them, say so."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"states": ["queued"], "labels": {"team": "vision"}}]}
    )
    project: Annotated[str, Field(pattern=f"^{references.PROJECT}$")] | None = None
    states: list[State] | None = None
    kinds: list[str] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    name: Annotated[str, Field(max_length=200)] | None = None
    pipeline: Annotated[str, Field(max_length=100)] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    all: bool = Field(False, description="Every job that the token may see.")


@final
class Cancelled(BaseModel):
    """Which jobs were cancelled, or are wished to be while they run."""

    jobs: dict[str, State]


@final
class Valid(BaseModel):
    """Specs as they are normalised: every default written out."""

    valid: Literal[True] = True
    specs: list[dict[str, Any]]


# --- submit -------------------------------------------------------------------------------------------------


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
        jobs = context.queue.submit(specs, idempotency_key, caller.actor, chosen, caller.request_id)
        return _with_reasons(context, caller, jobs)

    found = await run_in_threadpool(record)
    seconds = _wait_of(prefer)
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        found = await _until_over(context, caller, found, seconds)
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
        return forecast.plan(
            context.queue, context.census, _specs(content, media_type, scale, caller, chosen, context), chosen
        )

    return await run_in_threadpool(look)


# --- look ---------------------------------------------------------------------------------------------------


@router.get("/v1/jobs", responses=answers(example=EXAMPLE_JOBS))
def list_jobs(
    response: Response,
    request: Request,
    context: Ctx,
    caller: Viewer,
    project: Annotated[
        list[str] | None, Query(max_length=100, description="Absent: all that the token may see.")
    ] = None,
    state: Annotated[list[State] | None, Query()] = None,
    kind: Annotated[
        list[Literal["train", "sweep", "evaluate", "export", "encode", "compare"]] | None, Query()
    ] = None,
    label: Annotated[
        list[str] | None, Query(max_length=50, description="`name=value`; all of them must hold.")
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="Whole, or with `*` for any text.")] = None,
    pipeline: Annotated[str | None, Query(max_length=100)] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    waiting: Annotated[bool, Query(description="Say of each why it waits.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Jobs:
    """Jobs, newest first."""
    selector = _selector(
        caller,
        Selection(
            states=state,
            kinds=None if kind is None else list(kind),
            labels=_labels(label or []),
            name=name,
            pipeline=pipeline,
            created_after=created_after,
            created_before=created_before,
        ),
        project,
    )
    page = context.queue.jobs(selector, limit, None if cursor is None else _opened(cursor))
    following = None if page.cursor is None else f"c{page.cursor}"
    if following is not None:
        response.headers["Link"] = f'<{request.url.include_query_params(cursor=following)}>; rel="next"'
    found = _with_reasons(context, caller, page.jobs) if waiting else Jobs(jobs=page.jobs)
    return found.model_copy(update={"next_cursor": following})


@router.get("/v1/jobs/{job}", responses=answers(404, 409, example=EXAMPLE_JOB))
def show(job: JobName, response: Response, context: Ctx, caller: Viewer) -> Job:
    """All that is recorded of a job."""
    return _tagged(context.queue.get(job, caller.projects), response)


@router.get(
    "/v1/jobs/{job}/position",
    responses=answers(
        404,
        409,
        example={
            "place": 3,
            "reason": "every worker that could run it is busy; 2 ahead of it",
            "unblocked_by": "the end of train-1",
        },
    ),
)
def position(job: JobName, context: Ctx, caller: Viewer) -> Waiting:
    """Why a job waits, its place in the line, and what would let it run."""
    return _positions(context, caller, [context.queue.get(job, caller.projects)])[0]


# --- change -------------------------------------------------------------------------------------------------


@router.patch("/v1/jobs/{job}", responses=answers(404, 409, 412, example=EXAMPLE_JOB))
def change(
    job: JobName,
    asked: Change,
    response: Response,
    context: Ctx,
    caller: Submitter,
    if_match: Annotated[
        str | None, Header(max_length=100, description="The `ETag` that the change is made for.")
    ] = None,
) -> Job:
    """Another priority for a job that waits, other labels for any."""
    changed = context.queue.change(
        job,
        priority=asked.priority,
        labels=asked.labels,
        expected=_version(if_match),
        actor=caller.actor,
        projects=caller.projects,
    )
    note(context, caller, "job.change", [changed])
    return _tagged(changed, response)


@router.post("/v1/jobs/{job}:cancel", responses=answers(404, 409, example=EXAMPLE_JOB))
def cancel(job: JobName, response: Response, context: Ctx, caller: Submitter) -> Job:
    """Cancel a job that waits; wish it of one that runs; leave one that is over as it is."""
    return _asked(
        context, caller, "job.cancel", context.queue.cancel(job, caller.actor, caller.projects), response
    )


@router.post("/v1/jobs/{job}:pause", responses=answers(404, 409, example=EXAMPLE_JOB))
def pause(job: JobName, response: Response, context: Ctx, caller: Submitter) -> Job:
    """Hold a job that waits; let one that runs stop at its next checkpoint."""
    return _asked(
        context, caller, "job.pause", context.queue.pause(job, caller.actor, caller.projects), response
    )


@router.post("/v1/jobs/{job}:resume", responses=answers(404, 409, example=EXAMPLE_JOB))
def resume(job: JobName, response: Response, context: Ctx, caller: Submitter) -> Job:
    """Put a paused job back into the line, to go on from its checkpoint."""
    return _asked(
        context, caller, "job.resume", context.queue.resume(job, caller.actor, caller.projects), response
    )


@router.post(
    "/v1/jobs/{job}:retry", status_code=202, responses=answers(404, 409, example=EXAMPLE_JOBS, status=202)
)
def retry(job: JobName, response: Response, context: Ctx, caller: Submitter) -> Jobs:
    """New jobs for one that failed or was cancelled, and for those that did not run because of it."""
    jobs = context.queue.retry(job, caller.actor, caller.projects, caller.request_id)
    response.headers["Location"] = f"/v1/jobs/{jobs[0].id}"
    return _with_reasons(context, caller, jobs)


@router.post("/v1/jobs:cancel", responses=answers(example={"jobs": {"train-7f3a91c2": "cancelled"}}))
def cancel_all(selection: Selection, context: Ctx, caller: Submitter) -> Cancelled:
    """Cancel every job that is meant and not over, at once."""
    if selection == Selection():
        raise Answer(422, "nothing_selected", 'the selection is empty; to mean every job say `"all": true`')
    jobs = context.queue.cancel_all(_selector(caller, selection), caller.actor)
    note(context, caller, "job.cancel", jobs)
    return Cancelled(jobs={job.id: job.state for job in jobs})


def note(context: Context, caller: Caller, action: str, jobs: Sequence[Job]) -> None:
    """Write a change of jobs into the audit stream: one entry, of the first and how many more."""
    if jobs:
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        projects = ",".join(sorted({job.project for job in jobs}))
        context.audit.record(
            caller.actor, action, projects, jobs[0].id + more, caller.token, caller.request_id
        )


# --- parts --------------------------------------------------------------------------------------------------


def _asked(context: Context, caller: Caller, action: str, job: Job, response: Response) -> Job:
    note(context, caller, action, [job])
    return _tagged(job, response)


def _tagged(job: Job, response: Response) -> Job:
    response.headers["ETag"] = f'"{job.version}"'
    return job


def _version(tag: str | None) -> int | None:
    """Of an If-Match header; None where any will do. Raises Answer 412: a tag that no version has."""
    if tag is None or tag.strip() == "*":
        return None
    found = re.fullmatch(r'"(\d{1,15})"', tag.strip())
    if not found:
        raise Answer(
            412, "changed", f'`{tag}` is the ETag of no version; accepted: as GET gives it, such as "3"'
        )
    return int(found[1])


def _specs(
    content: bytes, media_type: str, scale: str | None, caller: Caller, project: str, context: Context
) -> list[Spec]:
    registry = None if caller.projects is None else context.registry(project)
    return body.specs(content, media_type, scale, registry)


def _with_reasons(context: Context, caller: Caller, jobs: Sequence[Job]) -> Jobs:
    waiting = [job for job in jobs if job.state in (State.BLOCKED, State.QUEUED, State.PAUSED)]
    reasons = _positions(context, caller, waiting)
    found = {job.id: reason for job, reason in zip(waiting, reasons, strict=True)}
    return Jobs(jobs=list(jobs), waiting=found)


def _positions(context: Context, caller: Caller, jobs: Sequence[Job]) -> list[Waiting]:
    """Why each waits; jobs of projects that the caller may not see have no name."""
    found = [Waiting(**reason._asdict()) for reason in context.queue.positions(jobs)] if jobs else []
    if caller.projects is None:
        return found
    named = sorted({name for item in found for name in _JOB_ID.findall(item.unblocked_by)})
    hidden = set(named) - context.census.visible(named, caller.projects) if named else set()
    return [
        item.model_copy(update={"unblocked_by": _without(item.unblocked_by, hidden)}) if hidden else item
        for item in found
    ]


def _without(text: str, hidden: set[str]) -> str:
    shown = [
        part if part not in hidden else "a job of another project"
        for part in text.removeprefix(_END_OF).split(" or ")
    ]
    return _END_OF + " or ".join(dict.fromkeys(shown)) if text.startswith(_END_OF) else text


def _selector(caller: Caller, selection: Selection, projects: Sequence[str] | None = None) -> Selector:
    """Within what the caller may see; a project that does not exist for it has no jobs."""
    asked = projects if selection.project is None else [selection.project]
    allowed = caller.projects
    if asked is not None:
        allowed = frozenset(asked) if allowed is None else allowed & frozenset(asked)
    return Selector(
        projects=allowed,
        states=None if selection.states is None else frozenset(selection.states),
        kinds=None if selection.kinds is None else frozenset(selection.kinds) & frozenset(SPECS),
        labels=selection.labels,
        name=selection.name,
        pipeline=selection.pipeline,
        created_after=selection.created_after,
        created_before=selection.created_before,
    )


def _labels(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        match = _LABEL_FILTER.fullmatch(text)
        if not match:
            raise Answer(422, "invalid_request", f"the label `{text[:100]}` is not accepted: `name=value`")
        found[match[1]] = match[2]
    return found


def _opened(cursor: str) -> str:
    if not re.fullmatch(r"c\d{1,15}", cursor):
        raise Answer(422, "invalid_cursor", "the cursor is none; accepted: `next_cursor` of the page before")
    return cursor[1:]


def _wait_of(prefer: str) -> float:
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])", prefer)
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0


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
        lambda: _with_reasons(context, caller, [context.queue.get(job.id) for job in found.jobs])
    )
