"""About the service and the one who asks: whoami, info, schemas of specs, the audit stream."""

from __future__ import annotations

import re
from datetime import datetime
from importlib.metadata import version
from typing import Annotated, Any, Literal, final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from closegap.access.token import Role
from closegap.api.context import Ctx
from closegap.api.documents import Cursor, Limit, answers
from closegap.api.identity import GlobalAdmin, Viewer
from closegap.api.limits import SPEC_BYTES
from closegap.api.problem import Answer
from closegap.queue.entry import Entry
from closegap.specs import spec
from closegap.specs.kinds import SPECS
from closegap.specs.references import Kind

router = APIRouter(tags=["about"])


@final
class Whoami(BaseModel):
    """The token that asks."""

    token: str = Field(description="Its id; empty where the service runs without authentication.")
    name: str
    role: Role
    projects: list[str] | None = Field(description="null is all of them.")
    expires: datetime | None


@final
class Info(BaseModel):
    """What this service is and takes."""

    version: str
    api: Literal["v1"] = "v1"
    kinds: list[str]
    limits: dict[str, float] = Field(description="Of one request or one token.")


@final
class SpecSchema(BaseModel):
    """Of one kind of job."""

    kind: str
    json_schema: dict[str, Any]
    example: str = Field(description="A commented spec, ready to run (YAML).")


@final
class AuditPage(BaseModel):
    """Changes, newest first."""

    entries: list[Entry]
    next_cursor: str | None = None


@router.get(
    "/v1/whoami",
    responses=answers(
        example={
            "token": "5c1e0a7b93d2",
            "name": "alice",
            "role": "submitter",
            "projects": ["vision"],
            "expires": "2026-12-21T14:03:05Z",
        }
    ),
)
def whoami(caller: Viewer) -> Whoami:
    """Who the service takes the asking one for."""
    projects = None if caller.projects is None else sorted(caller.projects)
    return Whoami(
        token=caller.token, name=caller.name, role=caller.role, projects=projects, expires=caller.expires
    )


@router.get(
    "/v1/info",
    responses=answers(
        example={"version": "0.1.0", "api": "v1", "kinds": list(SPECS), "limits": {"spec_bytes": SPEC_BYTES}}
    ),
)
def info(context: Ctx, caller: Viewer) -> Info:
    """Versions and limits."""
    settings = context.settings
    return Info(
        version=version("closegap"),
        kinds=list(SPECS),
        limits={
            "spec_bytes": SPEC_BYTES,
            "requests_a_second": settings.api_rate,
            "event_streams": settings.api_streams,
            "encode_rows": settings.api_encode_rows,
        },
    )


@router.get(
    "/v1/schemas/{kind}",
    responses=answers(
        404, example={"kind": "train", "json_schema": {"type": "object"}, "example": "kind: train\n"}
    ),
)
def schema(kind: Annotated[Kind, Path(examples=["train"])], caller: Viewer) -> SpecSchema:
    """What a spec of a kind may hold."""
    return SpecSchema(kind=kind, json_schema=spec.schema(kind), example=spec.example(kind))


@router.get(
    "/v1/audit",
    responses=answers(
        example={
            "entries": [
                {
                    "id": "1795269785123-0",
                    "time": "2026-11-21T14:03:05.123Z",
                    "actor": "alice (token 5c1e0a7b93d2)",
                    "token": "5c1e0a7b93d2",
                    "action": "job.cancel",
                    "project": "vision",
                    "target": "train-7f3a91c2",
                    "request": "5f0c2d7e9b1a4c33",
                }
            ],
            "next_cursor": None,
        }
    ),
)
def audit(
    context: Ctx,
    caller: GlobalAdmin,
    limit: Limit = 100,
    cursor: Cursor = None,
    project: Annotated[str | None, Query(max_length=100, description="Only of this project.")] = None,
) -> AuditPage:
    """Who changed what in the last thirty days."""
    if cursor is not None and not re.fullmatch(r"[0-9]{1,18}-[0-9]{1,18}", cursor):
        raise Answer(422, "invalid_cursor", "the cursor is none; accepted: `next_cursor` of the page before")
    page = context.audit.read(limit, cursor)
    entries = [entry for entry in page.entries if project is None or project in entry.project.split(",")]
    return AuditPage(entries=entries, next_cursor=page.cursor)
