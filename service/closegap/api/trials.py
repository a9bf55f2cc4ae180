"""The trials of a sweep: of one that runs from the records that its attempts keep, of one that is over from its bundle.

Records are read one by one, so that a sweep of thousands of trials needs no more memory than a page of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api.context import Context, Ctx
from closegap.api.documents import Cursor, JobName, answers
from closegap.api.identity import Viewer
from closegap.api.problem import Answer
from closegap.api.sessions import verified
from closegap.errors import NotFound
from closegap.job import Job

_FOLDER = re.compile(r"trial-(\d{5,9})", re.ASCII)
_LARGEST = 1 << 20
"""Bytes of one record."""
Row = dict[str, Any]
router = APIRouter(tags=["metrics"])


@final
class Trials(BaseModel):
    """Trials of a sweep as they are now, by number. A live one is listed from the end of its first epoch on."""

    trials: list[Row]
    best: Row | None = Field(
        None, description="Of all trials the completed one with the highest validation ELBO."
    )
    count: int = Field(0, description="Trials in all pages.")
    next_cursor: str | None = Field(None, description="Of the next page; null at the end.")


_EXAMPLE_TRIAL = {
    "id": 0,
    "params": {"inference.iterations": 5},
    "epochs": 20,
    "epoch": 20,
    "value": -98.4,
    "state": "completed",
    "failure": None,
}


@router.get(
    "/v1/jobs/{job}/trials",
    responses=answers(
        404,
        409,
        example={"trials": [_EXAMPLE_TRIAL], "best": _EXAMPLE_TRIAL, "count": 1, "next_cursor": None},
    ),
)
def trials(
    job: JobName,
    context: Ctx,
    caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=2000, description="Trials of a page.")] = 2000,
    cursor: Cursor = None,
) -> Trials:
    """The trials of a sweep: live while it runs, as its bundle has them once it is over."""
    found = context.queue.get(job, caller.projects)
    if found.kind != "sweep":
        raise NotFound(f"job {found.id} is of kind {found.kind}, which has no trials")
    after = _after(cursor)
    try:
        return _page(_rows(context, found), limit, after)
    except FileNotFoundError:  # it succeeded just now, which removes the records, its bundle being there
        return _page(_rows(context, context.queue.get(found.id)), limit, after)


def _after(cursor: str | None) -> int:
    """The number of the last trial of the page before."""
    if cursor is None:
        return -1
    match = re.fullmatch(r"t(\d{1,9})", cursor, re.ASCII)
    if match is None:
        raise Answer(422, "invalid_cursor", "the cursor is none; accepted: `next_cursor` of the page before")
    return int(match[1])


def _page(rows: Iterable[Row], limit: int, after: int) -> Trials:
    """One walk over all rows, which keeps those of the page and the best."""
    page: list[Row] = []
    best, count, more = None, 0, False
    for row in rows:
        count += 1
        if row["id"] > after:
            more = more or len(page) == limit
            page += [row] if len(page) < limit else []
        if row["state"] == "completed" and row["value"] is not None:
            best = row if best is None or row["value"] > best["value"] else best
    return Trials(trials=page, best=best, count=count, next_cursor=f"t{page[-1]['id']}" if more else None)


def _rows(context: Context, job: Job) -> Iterator[Row]:
    """By number. Raises FileNotFoundError when they are removed meanwhile, Answer 409 where they cannot be read."""
    try:
        if "sweep" in job.outputs:
            bundle = context.artifacts.open(str(job.outputs["sweep"]), verify=False)
            yield from map(_checked, json.loads(verified(bundle, "trials.json")))
        else:
            held = context.artifacts.held(job.work)
            yield from () if held is None else _live(held / "trials")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Answer(409, "bundle_damaged", f"the trials of {job.id} cannot be read") from error


def _live(folder: Path) -> Iterator[Row]:
    try:
        names = sorted(name for name in os.listdir(folder) if _FOLDER.fullmatch(name))
    except FileNotFoundError:
        return  # no attempt has begun one
    for name in names:
        yield from _record(folder / name)


def _record(folder: Path) -> Iterator[Row]:
    """Of one trial; nothing before its first is written."""
    try:
        descriptor = os.open(
            folder / "trial.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except FileNotFoundError:
        if folder.is_dir():
            return
        raise
    with os.fdopen(descriptor, "rb") as stream:
        yield _checked(json.loads(stream.read(_LARGEST)))


def _checked(row: Any) -> Row:
    """Raises KeyError, TypeError for what is no trial."""
    if not isinstance(row["id"], int) or not isinstance(row["value"], float | int | None):
        raise TypeError("this is no trial")
    if not isinstance(row["params"], dict) or not isinstance(row["state"], str):
        raise TypeError("this is no trial")
    return dict(row)
