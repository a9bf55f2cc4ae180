"""Which jobs are meant: by project, state, kind, labels, name, pipeline and time, all of which must hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, final

from pydantic import AfterValidator, Field

from closegap.job import Record, State


def _with_zone(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_with_zone)]
"""Without a time zone it is in UTC, as all that is recorded; the zone of this machine is nothing that users know."""


@final
class Selector(Record):
    """Jobs for which every field holds; None, and no labels, is any. An empty set of values is none at all."""

    projects: frozenset[str] | None = None
    states: frozenset[State] | None = None
    kinds: frozenset[str] | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    name: str | None = Field(None, description="Whole, or with `*` for any text.")
    pipeline: str | None = None
    created_after: Moment | None = Field(None, description="At this time or later.")
    created_before: Moment | None = None

    def within(self, states: frozenset[State]) -> Selector:
        """The same, of these states only."""
        return self.model_copy(update={"states": states if self.states is None else self.states & states})

    def indices(self) -> list[list[str]]:
        """The store's indices: a job must be in one of each list."""
        sets = (("project", self.projects), ("state", self.states), ("kind", self.kinds))
        chosen = [
            [f"{what}:{value}" for value in sorted(values)] for what, values in sets if values is not None
        ]
        chosen += [[f"label:{name}={value}"] for name, value in self.labels.items()]
        if self.pipeline is not None:
            chosen.append([f"pipeline:{self.pipeline}"])
        if self.name is not None and not self._pattern:
            chosen.append([f"name:{project}:{self.name}" for project in sorted(self.projects or "*")])
        return chosen

    @property
    def _pattern(self) -> str:
        """The name, where it is not a whole one."""
        return self.name if self.name and "*" in self.name else ""

    def arguments(self) -> tuple[str, str, str, str]:
        """As select.lua takes them."""
        times = [
            "" if time is None else f"{time.timestamp() * 1000:.0f}"
            for time in (self.created_after, self.created_before)
        ]
        return json.dumps(self.indices()), self._pattern, times[0], times[1]


ALL = Selector()
"""Every job."""
