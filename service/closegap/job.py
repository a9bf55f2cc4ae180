"""The record of a job, its states, and the small values that go in and out of the queue."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, final

from pydantic import BaseModel, ConfigDict, Field

from closegap_core.errors import FailureClass


@final
class State(StrEnum):
    """Where a job is. The last three are terminal: they never change."""

    BLOCKED = "blocked"
    QUEUED = "queued"
    CLAIMED = "claimed"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job is over."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.BLOCKED: (State.QUEUED, State.PAUSED, State.CANCELLED),
    State.QUEUED: (State.CLAIMED, State.PAUSED, State.CANCELLED),
    # A claimed job goes back when its worker drains or dies, and fails when its attempt cannot be started.
    State.CLAIMED: (State.RUNNING, State.QUEUED, State.PAUSED, State.FAILED, State.CANCELLED),
    State.RUNNING: (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.QUEUED, State.PAUSED),
    State.PAUSED: (State.QUEUED, State.BLOCKED, State.CANCELLED),
    State.SUCCEEDED: (),
    State.FAILED: (),
    State.CANCELLED: (),
}
"""The only moves there are; the Lua scripts are given this very table."""

AGEING_SECONDS = 60.0
"""Waiting that is worth a point of priority."""


class Record(BaseModel):
    """Base of values: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@final
class Failure(Record):
    """Why an attempt failed. `failure` decides whether, and how often, the job is run again."""

    failure: FailureClass
    message: str
    traceback: str = ""
    hint: str = ""


@final
class Progress(Record):
    """How far the current attempt is; the same for every kind of job."""

    done: float
    total: float | None = None
    unit: str
    rate: float | None = Field(None, description="Units a second.")
    eta: float | None = Field(None, description="Seconds that are left at this rate.")
    updated: datetime


@final
class Wish(Record):
    """What the owner of a job is asked to do: stop with a checkpoint, and let it become cancelled, paused or queued."""

    to: State
    actor: str
    reason: str
    beneficiary: str | None = Field(None, description="The job that it makes way for.")


@final
class Job(Record):
    """All that is recorded of a job. Times are the store's, in UTC."""

    id: str
    project: str
    kind: str
    name: str
    spec: dict[str, Any] = Field(
        description="The normalised spec; `closegap.specs.spec.load` makes it a Spec again."
    )
    digest: str = Field(description="sha256 of the normalised spec.")
    state: State
    reason: str = Field("", description="Why it is in this state.")
    priority: int
    preemptible: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    version: int = Field(description="Grows with each change of this record but progress and lease.")
    attempt: int = Field(0, description="Number of the current or last attempt; 0 before the first.")
    owner: str | None = Field(None, description="Worker that holds the lease.")
    lease_until: datetime | None = None
    wish: Wish | None = Field(None, description="What is asked of its owner.")
    needs: dict[str, str] = Field(
        default_factory=dict, description="Name in the spec to id of the job needed."
    )
    outputs: dict[str, Any] = Field(default_factory=dict)
    error: Failure | None = Field(None, description="The last attempt's failure.")
    retries_spent: dict[str, int] = Field(default_factory=dict, description="By class of failure.")
    progress: Progress | None = None
    not_before: datetime | None = Field(None, description="When a retry that backs off may be claimed.")
    pipeline: str = Field(description="Shared by jobs that were submitted together.")
    submitted_by: str = ""
    request_id: str = Field("", description="Of the request that submitted it.")
    traceparent: str = Field("", description="Of the submission's span (W3C Trace Context); empty without.")
    retry_of: str | None = None
    retried_as: str | None = None
    cancelled_by: str | None = Field(
        None, description="The needed job because of which this one did not run."
    )
    work: str = Field(
        description="Whose work folder holds its checkpoints: its own id, or the first job's it retries."
    )
    created: datetime
    updated: datetime
    queued: datetime | None = Field(
        None, description="Since when it waits, as its place in the line counts it."
    )
    claimed: datetime | None = None
    waited: float | None = Field(None, description="Seconds that it stood in a line before that claim.")
    started: datetime | None = None
    finished: datetime | None = None


@final
class Capacity(Record):
    """What a worker can hold. `kinds` None is every kind."""

    cpus: float = Field(ge=0)
    gpus: float = Field(0.0, ge=0)
    kinds: frozenset[str] | None = None


@final
class Lease(Record):
    """Proof of ownership: every write of an attempt carries it, and any but the current one is refused."""

    job: str
    attempt: int
    token: str = Field(repr=False)


@final
class Claim(Record):
    """A job and the lease on it."""

    job: Job
    attempt: int
    lease: Lease
    fence: int = Field(description="Higher than that of every claim before, of whatever job.")
    seconds: float = Field(0.0, description="That the claim took.")


@final
class Event(Record):
    """One entry of a job's event stream.

    Types: `state` {from, to, reason, actor}, `wish` {to, reason, actor}, `change` {priority, labels, actor},
    `end` {state}, and what attempts report: `progress`, `epoch`, `metric`, `log`, ….
    """

    id: str
    type: str
    time: datetime
    data: dict[str, Any]


@final
class Worker(Record):
    """A worker that has been heard of."""

    id: str
    capacity: Capacity
    seen: datetime
    alive: bool
    drained_by: str | None = Field(None, description="Who asked it to claim nothing more.")
    jobs: tuple[str, ...] = Field((), description="Ids of the jobs it holds.")


@final
class Project(Record):
    """What a project holds, and what it may hold at most."""

    name: str
    running: int = Field(description="Jobs that are claimed or running.")
    gpus: float = Field(description="GPUs that those hold.")
    waiting: int = Field(description="Jobs that may be claimed.")
    jobs: int = Field(description="All that are recorded.")
    most_running: int | None = None
    most_gpus: float | None = None


class Position(NamedTuple):
    """Why a job waits."""

    place: int | None
    """1 is next; None when it is in no line (blocked, paused, backing off, or not waiting at all)."""
    reason: str
    unblocked_by: str
    """What would let it run; empty when it does not wait."""


class Page(NamedTuple):
    """Jobs, newest first, and the cursor of the next page (None at the end)."""

    jobs: list[Job]
    cursor: str | None
