"""The lines of the queue: jobs that ask for the same, of one project, wait behind one another."""

from __future__ import annotations

from typing import final

from fastapi import APIRouter
from pydantic import BaseModel

from closegap.api.context import Ctx
from closegap.api.documents import answers
from closegap.api.identity import Viewer
from closegap.queue.census import Line

router = APIRouter(tags=["workers"])


@final
class Lines(BaseModel):
    """Those that somebody waits in; the one whose first job is next comes first."""

    lines: list[Line]


_LINE = {
    "project": "default",
    "kind": "train",
    "cpus": 1.0,
    "gpus": 0.0,
    "waiting": 3,
    "first": "train-7f3a91c2",
}


@router.get("/v1/lines", responses=answers(example={"lines": [_LINE]}))
def lines(context: Ctx, caller: Viewer) -> Lines:
    """What is waited for, by project, kind and resources. Lines of other projects are left out."""
    return Lines(lines=context.census.lines(caller.projects))
