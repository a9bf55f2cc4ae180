"""The shards of an encoded data set: which are safely on disk."""

from __future__ import annotations

import json
import math
from typing import Any, final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from closegap.api import workplace
from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.api.problem import Answer
from closegap.errors import NotFound
from closegap.job import Job

_IDENTITY, _LEDGER = "identity.json", "ledger.jsonl"
router = APIRouter(tags=["metrics"])


@final
class Shards(BaseModel):
    """Rows `i * shard_rows` and on are in shard i."""

    rows: int = Field(description="Of the whole data set.")
    shard_rows: int
    shards: int
    done: list[int] = Field(description="Numbers of those that are written, whose digests the ledger has.")
    rows_done: int


@final
class Found(BaseModel):
    """What there is by now."""

    shards: Shards | None = Field(description="Null until the encoding has claimed its folder.")


@router.get(
    "/v1/jobs/{job}/shards",
    responses=answers(
        404,
        409,
        example={
            "shards": {"rows": 10_000, "shard_rows": 4096, "shards": 3, "done": [0, 1], "rows_done": 8192}
        },
    ),
)
def shards(job: JobName, context: Ctx, caller: Viewer) -> Found:
    """How far an encoding is, by what its ledger says: that is what survives whatever happens."""
    found = context.queue.get(job, caller.projects)
    if found.kind != "encode":
        raise NotFound(f"job {found.id} is of kind {found.kind}, which has no shards")
    identity, ledger = (_content(context, found, name) for name in (_IDENTITY, _LEDGER))
    return Found(shards=None if identity is None else _shards(identity, ledger or b""))


def _content(context: Context, job: Job, name: str) -> bytes | None:
    if "encoding" not in job.outputs:
        return workplace.read(context, job, "encoding", name)
    bundle = context.artifacts.open(str(job.outputs["encoding"]), verify=False)
    return workplace.content(bundle.path, name) if name in bundle.files else None


def _shards(identity: bytes, ledger: bytes) -> Shards:
    """Raises Answer 409."""
    try:
        facts: dict[str, Any] = json.loads(identity)
        rows, size = int(facts["rows"]), int(facts["settings"]["shard_rows"])
        # A line that is being written has no end yet.
        entries = [json.loads(line) for line in ledger.splitlines(keepends=True) if line.endswith(b"\n")]
        known = {int(entry["shard"]): int(entry["rows"]) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise Answer(409, "ledger_damaged", "the ledger of the encoding cannot be read") from error
    return Shards(
        rows=rows,
        shard_rows=size,
        shards=math.ceil(rows / size),
        done=sorted(known),
        rows_done=sum(known.values()),
    )
