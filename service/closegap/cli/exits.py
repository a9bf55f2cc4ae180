"""The exit codes, so that a script can branch on why."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told. Documented in the help of `closegap`."""

    SUCCEEDED = 0
    ERROR = 1
    """An unexpected error of closegap itself, or a failed check of `doctor`."""
    USAGE = 2
    """Wrong usage or an invalid spec."""
    DENIED = 3
    """The service knows no such token, or its role does not allow it."""
    UNREACHABLE = 4
    """The store or the service cannot be reached."""
    FAILED = 100
    NOT_FINISHED = 101
    """Still waiting or running: a timeout, or Ctrl-C while following."""
    NOT_FOUND = 102
    CANCELLED = 103


def of_states(states: list[str]) -> ExitCode:
    """One code for several jobs: unfinished before failed before cancelled before succeeded."""
    for code, names in (
        (ExitCode.NOT_FINISHED, {"blocked", "queued", "claimed", "running", "paused"}),
        (ExitCode.FAILED, {"failed"}),
        (ExitCode.CANCELLED, {"cancelled"}),
    ):
        if names & set(states):
            return code
    return ExitCode.SUCCEEDED
