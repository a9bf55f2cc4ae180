"""The documents that several routes answer with, and what the routes share in describing themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, final

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from closegap.api.problem import MEDIA_TYPE, ProblemDocument
from closegap.job import Job, State
from closegap.specs import references
from closegap.specs.resources import RetryBudgets

JobName = Annotated[
    str,
    Path(
        alias="job",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
        description="Id, name (its newest job), or the beginning of an id.",
        examples=["train-7f3a91c2"],
    ),
]
ModelName = Annotated[str, Path(alias="name", pattern=f"^{references.NAME}$", examples=["mnist"])]
ProjectName = Annotated[str, Path(alias="project", pattern=f"^{references.PROJECT}$", examples=["default"])]
InProject = Annotated[
    str | None,
    Query(
        alias="project",
        pattern=f"^{references.PROJECT}$",
        description="Absent: `default`, or the token's only one.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=500, description="Entries of a page.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=200, description="`next_cursor` of the page before; its content is not to be relied on."
    ),
]


@final
class Waiting(BaseModel):
    """Why a job waits."""

    place: int | None = Field(description="1 is next; null when it is in no line.")
    reason: str
    unblocked_by: str = Field(description="What would let it run; empty when it does not wait.")


@final
class Jobs(BaseModel):
    """Some jobs."""

    model_config = ConfigDict(json_schema_extra={})
    jobs: list[Job]
    waiting: dict[str, Waiting] = Field(
        default_factory=dict, description="By id, why each of these waits; only where it was asked for."
    )
    next_cursor: str | None = Field(None, description="Of the next page; null at the end.")


_AT = datetime(2026, 11, 21, 14, 3, 5, tzinfo=UTC)
EXAMPLE_JOB: dict[str, Any] = Job(
    id="train-7f3a91c2",
    project="default",
    kind="train",
    name="digits",
    spec={"kind": "train", "name": "digits", "priority": 50},
    digest="9f2c" * 16,
    state=State.QUEUED,
    reason="submitted",
    priority=50,
    version=1,
    pipeline="pipeline-1b9e04d7",
    submitted_by="alice (token 5c1e0a7b93d2)",
    work="train-7f3a91c2",
    created=_AT,
    updated=_AT,
).model_dump(mode="json")
EXAMPLE_JOBS: dict[str, Any] = {"jobs": [EXAMPLE_JOB], "waiting": {}, "next_cursor": None}
EXAMPLE_SPEC: dict[str, Any] = {
    "kind": "train",
    "name": "digits",
    "data": {"source": "digits"},
    "model": {"likelihood": {"kind": "bernoulli"}, "levels": [{"latent": 4}]},
    "inference": {"method": "standard"},
    "retries": RetryBudgets().model_dump(mode="json"),
}

PROBLEMS = {
    400: "The request cannot be read.",
    401: "No token, or none that is valid.",
    403: "The token's role does not allow it.",
    404: "There is no such thing, or not for this token.",
    409: "It contradicts what is recorded.",
    412: "The record has another version by now.",
    413: "Too large.",
    415: "A media type that is not accepted.",
    416: "The file has no such bytes.",
    422: "The request is not valid; `errors` has every problem.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "The store or the storage is away; try again in a moment.",
}


def answers(
    *statuses: int, example: Any = None, status: int = 200, description: str = "Done."
) -> dict[int | str, Any]:
    """`responses` of a route: those that every route has, further problems, and an example of success."""
    found: dict[int | str, Any] = {
        number: {
            "model": ProblemDocument,
            "description": PROBLEMS[number],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for number in sorted({401, 403, 422, 429, 503, *statuses})
    }
    content: Mapping[str, Any] = {} if example is None else {"application/json": {"example": example}}
    return found | {status: {"description": description, **({"content": content} if content else {})}}
