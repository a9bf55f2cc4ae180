"""Jobs: list, look at, change, cancel, retry, pause, resume."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from closegap.api.context import Context, Ctx
from closegap.api.documents import (
    EXAMPLE_JOB,
    EXAMPLE_JOBS,
    Cursor,
    JobName,
    Jobs,
    Limit,
    Waiting,
    answers,
)
from closegap.api.identity import Caller, Submitter, Viewer
from closegap.api.problem import Answer
from closegap.api.reasons import positions, with_reasons
from closegap.api.selection import Selection, labels_of, selector
from closegap.job import Job, State
from closegap.specs.kinds import Priority
from closegap.specs.labels import checked
from closegap.specs.references import Kind

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
class Cancelled(BaseModel):
    """Which jobs were cancelled, or are wished to be while they run."""

    jobs: dict[str, State]


@final
class Counts(BaseModel):
    """How many jobs there are."""

    states: dict[State, int]


# --- look ---------------------------------------------------------------------------------------------------


@router.get(
    "/v1/jobs",
    response_model=Jobs,
    responses=answers(example=EXAMPLE_JOBS) | {304: {"description": "As `If-None-Match` has it."}},
)
def list_jobs(
    request: Request,
    context: Ctx,
    caller: Viewer,
    project: Annotated[
        list[str] | None, Query(max_length=100, description="Absent: all that the token may see.")
    ] = None,
    state: Annotated[list[State] | None, Query()] = None,
    kind: Annotated[list[Kind] | None, Query()] = None,
    label: Annotated[
        list[str] | None, Query(max_length=50, description="`name=value`; all of them must hold.")
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="Whole, or with `*` for any text.")] = None,
    pipeline: Annotated[str | None, Query(max_length=100)] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    waiting: Annotated[bool, Query(description="Say of each why it waits.")] = False,
    specs: Annotated[
        bool, Query(description="Whether each comes with its spec, the longest part of it.")
    ] = True,
    limit: Limit = 50,
    cursor: Cursor = None,
    if_none_match: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """Jobs, newest first."""
    meant = selector(
        caller,
        Selection(
            states=state,
            kinds=kind,
            labels=labels_of(label or []),
            name=name,
            pipeline=pipeline,
            created_after=created_after,
            created_before=created_before,
        ),
        project,
    )
    page = context.queue.jobs(meant, limit, None if cursor is None else _opened(cursor))
    following = None if page.cursor is None else f"c{page.cursor}"
    jobs = page.jobs if specs else [job.model_copy(update={"spec": {}}) for job in page.jobs]
    found = with_reasons(context, caller, jobs) if waiting else Jobs(jobs=jobs)
    return _listed(found.model_copy(update={"next_cursor": following}), request, if_none_match)


@router.get("/v1/jobs:count", responses=answers(example={"states": {"queued": 3, "running": 1}}))
def count(
    context: Ctx,
    caller: Viewer,
    project: Annotated[
        list[str] | None, Query(max_length=100, description="Absent: all that the token may see.")
    ] = None,
) -> Counts:
    """How many jobs are in each state."""
    meant = selector(caller, Selection(), project).projects
    states = dict.fromkeys(State, 0)
    for (of, _, state), number in context.tallies.population().items():
        if meant is None or of in meant:
            states[State(state)] += number
    return Counts(states=states)


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
    return positions(context, caller, [context.queue.get(job, caller.projects)])[0]


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
    with context.tracer.submission(caller.traceparent, "retry") as span:
        jobs = context.queue.retry(job, caller.actor, caller.projects, caller.request_id, span)
    response.headers["Location"] = f"/v1/jobs/{jobs[0].id}"
    return with_reasons(context, caller, jobs)


@router.post("/v1/jobs:cancel", responses=answers(example={"jobs": {"train-7f3a91c2": "cancelled"}}))
def cancel_all(selection: Selection, context: Ctx, caller: Submitter) -> Cancelled:
    """Cancel every job that is meant and not over, at once."""
    if selection == Selection():
        raise Answer(422, "nothing_selected", 'the selection is empty; to mean every job say `"all": true`')
    jobs = context.queue.cancel_all(selector(caller, selection), caller.actor)
    note(context, caller, "job.cancel", jobs)
    return Cancelled(jobs={job.id: job.state for job in jobs})


def note(context: Context, caller: Caller, action: str, jobs: Sequence[Job]) -> None:
    """Write a change of jobs into the audit stream."""
    context.audit.record_jobs(caller.actor, action, jobs, caller.token, caller.request_id)


# --- parts --------------------------------------------------------------------------------------------------


def _asked(context: Context, caller: Caller, action: str, job: Job, response: Response) -> Job:
    note(context, caller, action, [job])
    return _tagged(job, response)


def _listed(found: Jobs, request: Request, known: str) -> Response:
    """A page of jobs, or that it is what the client has."""
    content = found.model_dump_json().encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag}
    if found.next_cursor is not None:
        following = request.url.include_query_params(cursor=found.next_cursor)
        headers["Link"] = f'<{following}>; rel="next"'
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


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


def _opened(cursor: str) -> str:
    if not re.fullmatch(r"c[0-9]{1,15}", cursor):
        raise Answer(422, "invalid_cursor", "the cursor is none; accepted: `next_cursor` of the page before")
    return cursor[1:]
