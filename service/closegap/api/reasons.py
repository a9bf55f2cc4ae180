"""Why jobs wait, as a caller may know it: jobs of projects that it may not see have no name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from closegap.api.context import Context
from closegap.api.documents import Jobs, Waiting
from closegap.api.forecast import Planned
from closegap.api.identity import Caller
from closegap.job import Job, State

_JOB_ID = re.compile(r"\b[a-z]+-[0-9a-f]{8}\b")
_END_OF = "the end of "
_Waits = TypeVar("_Waits", Waiting, Planned)


def with_reasons(context: Context, caller: Caller, jobs: Sequence[Job]) -> Jobs:
    """Jobs as they are answered, with why each of them waits that does."""
    waiting = [job for job in jobs if job.state in (State.BLOCKED, State.QUEUED, State.PAUSED)]
    reasons = positions(context, caller, waiting)
    found = {job.id: reason for job, reason in zip(waiting, reasons, strict=True)}
    return Jobs(jobs=list(jobs), waiting=found)


def positions(context: Context, caller: Caller, jobs: Sequence[Job]) -> list[Waiting]:
    """Why each waits."""
    found = [Waiting(**reason._asdict()) for reason in context.queue.positions(jobs)] if jobs else []
    return shown(context, caller, found)


def shown(context: Context, caller: Caller, found: Sequence[_Waits]) -> list[_Waits]:
    """What would let something run, without the names of jobs of projects that the caller may not see."""
    if caller.projects is None:
        return list(found)
    named = sorted({name for item in found for name in _JOB_ID.findall(item.unblocked_by)})
    hidden = set(named) - context.census.visible(named, caller.projects) if named else set()
    return [
        item.model_copy(update={"unblocked_by": _without(item.unblocked_by, hidden)}) if hidden else item
        for item in found
    ]


def _without(text: str, hidden: set[str]) -> str:
    shown = [
        part if part not in hidden else "a job of another project"
        for part in text.removeprefix(_END_OF).split(" or ")
    ]
    return _END_OF + " or ".join(dict.fromkeys(shown)) if text.startswith(_END_OF) else text
