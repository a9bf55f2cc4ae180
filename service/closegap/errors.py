"""What the service raises: one base, one class a cause. Messages name place, value and what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

from closegap_core.errors import FailureClass


class ServiceError(Exception):
    """Base of every error that the service raises on purpose. `failure`: how a job that met it is retried."""

    failure: ClassVar[FailureClass] = "user"


@final
@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a spec."""

    path: str
    """Where, for people: `[1].training.epochs`; empty is the whole document."""
    pointer: str
    """Where, for programs: a JSON pointer (RFC 6901), `/1/training/epochs`."""
    value: Any
    """What was found there; None where nothing was."""
    message: str
    accepted: str = ""
    """What would do, in words; empty where the message says it."""

    def to_dict(self) -> dict[str, Any]:
        """The five fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        place = self.path or "spec"
        accepted = f"; accepted: {self.accepted}" if self.accepted else ""
        return f"{place}: {self.message}{accepted}"


class SettingsError(ServiceError):
    """A setting, from the environment or an option, is not valid."""


class SpecError(ServiceError):
    """A spec is not valid. Carries every problem, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem in the spec" if count == 1 else f"{count} problems in the spec"
        super().__init__("\n".join([f"{head}:", *(f"  {problem}" for problem in self.problems)]))


class NotFound(ServiceError):
    """No job, model, version or artefact has this name."""


class Conflict(ServiceError):
    """The request contradicts what is recorded: a reused idempotency key, a retry of a job that runs."""


class KeyReused(Conflict):
    """An idempotency key was used for other specs before."""


class Changed(Conflict):
    """The record is no longer at the version that the request was made for."""


class TokenError(ServiceError):
    """A token cannot be made as asked for; says what is accepted."""


class Refused(ServiceError):
    """The request can never be met by any worker that is registered, or within the limits of its project."""


class LeaseLost(ServiceError):
    """The attempt no longer owns its job; whatever it wanted to write was not written."""

    failure: ClassVar[FailureClass] = "infrastructure"


class StoreUnavailable(ServiceError):
    """The store is down, loading, too old, or refuses the password."""

    failure: ClassVar[FailureClass] = "infrastructure"


class StorageError(ServiceError):
    """The storage root cannot be used: a scheme or name that is not accepted, a bundle that is not whole."""


class StorageFull(StorageError):
    """No space is left for an artefact; nothing of it was kept."""

    failure: ClassVar[FailureClass] = "infrastructure"
