"""All that is known of a run once it is over: what clients were told, what was recorded, what lies on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """What a client heard. status 0: nothing, for the connection broke or the time was over."""

    time: float
    status: int
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """One thing that a client wanted, under one idempotency key, however often it asked."""

    key: str
    mark: str
    """Label of all its jobs."""
    size: int
    expected: str
    """accepted | refused | conflict (the key was used before for something else)"""
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Asked:
    """Something asked of a job by HTTP."""

    job: str
    what: str
    """cancel | pause | resume | change"""
    time: float
    status: int
    state: str
    """Of the job, in the answer."""


@dataclass(frozen=True)
class Looked:
    """Why a job waits, as it said itself, and its state just before and just after."""

    job: str
    before: str
    after: str
    place: int | None
    reason: str
    unblocked_by: str


@dataclass(frozen=True)
class Hit:
    """A job that a fault met. window: what its attempt was doing; see `schedule.WINDOWS`."""

    job: str
    attempt: int
    worker: str
    window: str
    checkpoint: int = 0
    """Step of its newest checkpoint."""


@dataclass(frozen=True)
class Struck:
    """A fault as it was done. Times in seconds since the epoch; hits empty: it met no job that ran."""

    number: int
    kind: str
    time: float
    until: float
    hits: tuple[Hit, ...] = ()
    met: int = 0
    """Of the API's: requests that were being answered."""
    places: tuple[int, ...] = ()
    """Workers that were dead or stood still meanwhile."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, in the words of the worker that ran it."""

    job: str
    attempt: int
    said: str


@dataclass(frozen=True)
class Artefact:
    """A published folder. fault: what is wrong with it, or nothing."""

    digest: str
    fault: str
    job: str = ""
    kind: str = ""
    weights: str = ""
    """sha256 of its weights, if it has any."""


@dataclass(frozen=True)
class History:
    """Of one run."""

    lease: float
    grace: float
    workers: int
    began: float
    ended: float
    seed: int = 0
    planned: tuple[str, ...] = ()
    """Kinds of faults, each of which had to meet a job."""
    busy: float = 4.0
    """Seconds that a machine may be late which runs all this on two cores."""
    submissions: tuple[Submission, ...] = ()
    asked: tuple[Asked, ...] = ()
    looked: tuple[Looked, ...] = ()
    struck: tuple[Struck, ...] = ()
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Records at the end, by id."""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each job, oldest first: {type, time (seconds), data}."""
    ended_attempts: tuple[Ended, ...] = ()
    lost_leases: int = 0
    """Times that a worker was told that an attempt of its own owned its job no longer."""
    artefacts: tuple[Artefact, ...] = ()
    seen: tuple[Artefact, ...] = ()
    """Folders as a reader found them while the run went on, each when it first saw it."""
    fallen: tuple[str, ...] = ()
    """Members of the service that ended though nobody had killed them."""
    registered: tuple[tuple[str, int, str, str], ...] = ()
    """name, version, digest, job."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` has written."""
        value = json.loads(path.read_text())
        for name, read in _ROWS.items():
            value[name] = tuple(read(row) for row in value.get(name, ()))
        return cls(**value)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


def _submission(row: dict[str, Any]) -> Submission:
    answers = tuple(Answer(heard["time"], heard["status"], tuple(heard["ids"])) for heard in row["answers"])
    return Submission(**{**row, "answers": answers})


def _struck(row: dict[str, Any]) -> Struck:
    return Struck(**{**row, "hits": tuple(Hit(**hit) for hit in row["hits"]), "places": tuple(row["places"])})


_ROWS: dict[str, Callable[[Any], Any]] = {
    "submissions": _submission,
    "asked": lambda row: Asked(**row),
    "looked": lambda row: Looked(**row),
    "struck": _struck,
    "ended_attempts": lambda row: Ended(**row),
    "artefacts": lambda row: Artefact(**row),
    "seen": lambda row: Artefact(**row),
    "planned": str,
    "fallen": str,
    "registered": tuple,
}
