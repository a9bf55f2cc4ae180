"""What the command line itself raises; all of it is told by `closegap.cli.failures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from closegap.errors import Problem, ServiceError


class UsageError(ServiceError):
    """An argument cannot be used; says which and what is accepted."""


@final
class InvalidSpec(ServiceError):
    """A spec file is not valid: its name, and each problem with its line where there is one."""

    def __init__(self, name: str, problems: Sequence[tuple[Problem, int | None]]) -> None:
        self.name = name
        self.problems = tuple(problems)
        super().__init__(f"{name} is not valid")


@final
class NotFinished(ServiceError):
    """Jobs still wait or run: the time is over, or the user stopped looking. Says how to go on."""


@final
class ProcessFailed(ServiceError):
    """A process that this command started ended by itself or did not start."""


@final
class JobsFailed(ServiceError):
    """Jobs that had to succeed did not."""
