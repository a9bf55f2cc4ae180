"""Which jobs a request means, within what its caller may see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, final

from pydantic import BaseModel, ConfigDict, Field

from closegap.api.identity import Caller
from closegap.api.problem import Answer
from closegap.job import State
from closegap.queue.selector import Selector
from closegap.specs import references
from closegap.specs.labels import MOST
from closegap.specs.references import Kind

_LABEL_FILTER = re.compile(r"([^=]{1,100})=(.{0,200})", re.DOTALL)


@final
class Selection(BaseModel):
    """Which jobs are meant: every field that is given must hold. To mean all of them, say so."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"states": ["queued"], "labels": {"team": "vision"}}]}
    )
    project: Annotated[str, Field(pattern=f"^{references.PROJECT}$")] | None = None
    states: list[State] | None = None
    kinds: list[Kind] | None = None
    labels: dict[str, str] = Field(default_factory=dict, max_length=MOST)
    name: Annotated[str, Field(max_length=200)] | None = None
    pipeline: Annotated[str, Field(max_length=100)] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    all: bool = Field(False, description="Every job that the token may see.")


def selector(caller: Caller, selection: Selection, projects: Sequence[str] | None = None) -> Selector:
    """Within what the caller may see; a project that does not exist for it has no jobs."""
    asked = projects if selection.project is None else [selection.project]
    allowed = caller.projects
    if asked is not None:
        allowed = frozenset(asked) if allowed is None else allowed & frozenset(asked)
    return Selector(
        projects=allowed,
        states=None if selection.states is None else frozenset(selection.states),
        kinds=None if selection.kinds is None else frozenset(selection.kinds),
        labels=selection.labels,
        name=selection.name,
        pipeline=selection.pipeline,
        created_after=selection.created_after,
        created_before=selection.created_before,
    )


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """Of `name=value` each. Raises Answer 422."""
    found = {}
    for text in given:
        match = _LABEL_FILTER.fullmatch(text)
        if not match:
            raise Answer(422, "invalid_request", f"the label `{text[:100]}` is not accepted: `name=value`")
        found[match[1]] = match[2]
    return found
