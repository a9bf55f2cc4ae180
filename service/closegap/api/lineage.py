"""Where a registered model comes from: its bundle, the one that was made from, and so on back to the data."""

from __future__ import annotations

import re
from typing import final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from closegap.api.context import Context, Ctx
from closegap.api.documents import InProject, ModelName, answers
from closegap.api.identity import Caller, Viewer
from closegap.api.models import Number
from closegap.errors import Conflict, NotFound

DEEPEST = 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
router = APIRouter(tags=["models"])


@final
class Step(BaseModel):
    """A bundle and the job that made it."""

    digest: str
    kind: str = Field(description="Of the bundle.")
    files: list[str]
    job: str | None = Field(description="Null where it is gone, or of a project that the token does not see.")
    job_kind: str | None
    job_name: str | None
    data_digest: str | None


@final
class Lineage(BaseModel):
    """Newest first."""

    steps: list[Step]


_EXAMPLE = {
    "digest": "sha256:" + "9f2c" * 16,
    "kind": "model",
    "files": ["config.json", "encoder.onnx"],
    "job": "export-7f3a91c2",
    "job_kind": "export",
    "job_name": "export",
    "data_digest": "5c1e" * 16,
}


@router.get(
    "/v1/models/{name}/versions/{version}/lineage", responses=answers(404, 409, example={"steps": [_EXAMPLE]})
)
def lineage(
    name: ModelName, number: Number, context: Ctx, caller: Viewer, project: InProject = None
) -> Lineage:
    """A version's bundle, then its parents as far as they are there."""
    digest: str | None = context.registry(caller.chosen(project)).version(f"{name}/{number}").digest
    steps: list[Step] = []
    while digest is not None and len(steps) < DEEPEST:
        try:
            bundle = context.artifacts.open(digest, verify=False)
        except NotFound:
            break
        data = bundle.lineage.get("data_digest")
        made = _job(context, caller, bundle.lineage.get("job"))
        steps.append(
            Step(
                digest=digest,
                kind=bundle.kind,
                files=list(bundle.files),
                data_digest=None if data is None else str(data),
                **made,
            )
        )
        parent = bundle.lineage.get("parent")
        digest = parent if isinstance(parent, str) and _DIGEST.fullmatch(parent) else None
    return Lineage(steps=steps)


def _job(context: Context, caller: Caller, identifier: object) -> dict[str, str | None]:
    """What the token may know of the job that made a bundle: equal content may be another project's, too."""
    nothing: dict[str, str | None] = {"job": None, "job_kind": None, "job_name": None}
    if not (isinstance(identifier, str) and _JOB.fullmatch(identifier)):
        return nothing
    try:
        found = context.queue.get(identifier, caller.projects)
    except (NotFound, Conflict):
        return nothing
    if found.id != identifier:  # a name, or the beginning of an id, is not who made it
        return nothing
    return {"job": found.id, "job_kind": found.kind, "job_name": found.name}
