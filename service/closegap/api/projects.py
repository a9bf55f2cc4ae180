"""Projects: what each holds, and what it may hold at most."""

from __future__ import annotations

from typing import Annotated, final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from closegap.api.context import Ctx
from closegap.api.documents import ProjectName, answers
from closegap.api.identity import GlobalAdmin, Viewer
from closegap.job import Project

router = APIRouter(tags=["projects"])


@final
class Projects(BaseModel):
    """By name."""

    projects: list[Project]


@final
class Bounds(BaseModel):
    """What a project may hold at a time; null is without limit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"running": 4, "gpus": 2}]})
    running: Annotated[int, Field(ge=0, lt=1 << 31, strict=True)] | None
    gpus: Annotated[float, Field(ge=0, le=1e6)] | None


_PROJECT = {
    "name": "default",
    "running": 1,
    "gpus": 0.0,
    "waiting": 3,
    "jobs": 41,
    "most_running": 4,
    "most_gpus": None,
}


@router.get("/v1/projects", responses=answers(example={"projects": [_PROJECT]}))
def projects(context: Ctx, caller: Viewer) -> Projects:
    """Those that the token may see."""
    return Projects(projects=context.queue.projects(caller.projects))


@router.get("/v1/projects/{project}", responses=answers(404, example=_PROJECT))
def project(name: ProjectName, context: Ctx, caller: Viewer) -> Project:
    """One of them. A project that has no jobs yet is empty."""
    return context.queue.projects([caller.see(name)])[0]


@router.put("/v1/projects/{project}", responses=answers(404, example=_PROJECT))
def limit(name: ProjectName, bounds: Bounds, context: Ctx, caller: GlobalAdmin) -> Project:
    """Bound what a project may run at a time. Jobs over the bound wait, and say so."""
    found = context.queue.limit(name, bounds.running, bounds.gpus)
    context.audit.record(caller.actor, "project.limit", name, name, caller.token, caller.request_id)
    return found
