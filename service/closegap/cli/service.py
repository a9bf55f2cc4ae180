"""What the commands ask for: one port, whether this machine's store stands behind it or a service over HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import timedelta

    from closegap.access.token import Created, Role, Token
    from closegap.cli.comparison import Compared
    from closegap.client.documents import Plan
    from closegap.errors import Problem
    from closegap.job import Event, Job, Position, Project, Worker
    from closegap.queue.entry import Entry
    from closegap.queue.selector import Selector
    from closegap.specs.spec import Spec


class Listing(NamedTuple):
    """Some jobs, newest first, and by id why each of them waits that does."""

    jobs: list[Job]
    positions: Mapping[str, Position]


class EncoderFile(NamedTuple):
    """An encoder's file, and the digest that is written beside each row."""

    file: Path
    digest: str


class Service(ABC):
    """A queue and its registry. Jobs are named by id, by the beginning of one, or by name (the newest).

    Methods raise StoreUnavailable, NotFound, Conflict, and what they say.
    """

    pause_seconds: float
    """Between two looks at jobs that are followed."""

    # --- jobs ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def problems(self, specs: Sequence[Spec]) -> Sequence[Problem]:
        """What is wrong with specs where they would run, beyond what is read here: their data, a newer schema."""

    @abstractmethod
    def submit(self, specs: Sequence[Spec], key: str | None, project: str | None) -> list[Job]:
        """Record all or none. Raises SpecError, KeyReused, Refused."""

    @abstractmethod
    def plan(self, specs: Sequence[Spec], project: str | None) -> Plan:
        """What would happen to them now. Records nothing. Raises SpecError."""

    @abstractmethod
    def get(self, job: str) -> Job: ...

    @abstractmethod
    def jobs(self, meant: Selector, limit: int) -> Listing: ...

    @abstractmethod
    def position(self, job: Job) -> Position:
        """Why it waits, its place, and what would let it run."""

    @abstractmethod
    def cancel(self, jobs: Sequence[str]) -> list[Job]:
        """Cancel these; all of them are known before the first is."""

    @abstractmethod
    def cancel_all(self, meant: Selector) -> list[Job]:
        """Cancel all that are meant and not over."""

    @abstractmethod
    def pause(self, jobs: Sequence[str]) -> list[Job]: ...

    @abstractmethod
    def resume(self, jobs: Sequence[str]) -> list[Job]: ...

    @abstractmethod
    def change(self, job: str, priority: int | None, labels: Mapping[str, str | None] | None) -> Job: ...

    @abstractmethod
    def retry(self, job: str) -> list[Job]:
        """The new jobs: of this one, and of those that did not run because of it."""

    @abstractmethod
    def events(self, job: str, after: str = "0") -> list[Event]:
        """A page of what has happened after an event; empty at the end."""

    @abstractmethod
    def follow(self, job: str, after: str = "0") -> Iterator[Event]:
        """What has happened and happens, until the job's end."""

    def recorded(self, job: str, after: str = "0") -> Iterator[Event]:
        """Every event that a job has now, a page at a time."""
        while page := self.events(job, after):
            yield from page
            after = page[-1].id

    @abstractmethod
    def comparison(self, job: Job) -> Compared:
        """The table of a compare job that has succeeded, and where its picture and page are."""

    # --- models -------------------------------------------------------------------------------------------------

    @abstractmethod
    def models(self) -> list[dict[str, Any]]:
        """Every version of every name, with what its bundle says; `problem` when that is not whole."""

    @abstractmethod
    def model(self, reference: str) -> dict[str, Any]:
        """The bundle of a model: digest, kind, path, lineage, files."""

    @abstractmethod
    def rebuild(self) -> tuple[int, Sequence[str]]:
        """Register what manifests name but the registry lacks: how many, and what is damaged."""

    @abstractmethod
    def encoder(self, model: str) -> AbstractContextManager[EncoderFile]:
        """The exported encoder of a registered model, on this machine for as long as the block lasts."""

    # --- the team -----------------------------------------------------------------------------------------------

    @abstractmethod
    def projects(self, project: str | None) -> list[Project]: ...

    @abstractmethod
    def limit(self, project: str, running: int | None, gpus: float | None) -> Project: ...

    @abstractmethod
    def workers(self) -> list[Worker]: ...

    @abstractmethod
    def drain(self, worker: str, now: bool) -> Worker: ...

    @abstractmethod
    def undrain(self, worker: str) -> Worker: ...

    @abstractmethod
    def audit(self) -> Iterator[Entry]:
        """Who changed what, newest first."""

    @abstractmethod
    def tokens(self) -> list[Token]: ...

    @abstractmethod
    def create_token(
        self, name: str, role: Role, projects: Sequence[str] | None, expires: timedelta | None
    ) -> Created: ...

    @abstractmethod
    def revoke_token(self, token: str) -> Token: ...


def not_exported(model: str, kind: str, digest: str) -> str:
    """What to do with a model that has no encoder's file."""
    return (
        f"MODEL {model} has no encoder.onnx: it is a {kind} that was not exported. "
        f"Export it first: closegap example export | closegap submit - --set model={digest}"
    )
