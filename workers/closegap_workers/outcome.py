"""How an attempt ended, and the class of failure of whatever ended it."""

from __future__ import annotations

import errno
import traceback
from typing import Any

from pydantic import ValidationError

from closegap.errors import ServiceError
from closegap.job import Failure
from closegap_core.errors import CoreError, FailureClass

_DEFECT = "this is no error that closegap expects: please report it with the traceback"
_FULL = "free space where the storage and the temporary folder are, then `closegap retry` the job"


class WorkError(Exception):
    """Work elsewhere in the cluster failed and said why: carries that Failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class RequestError(ServiceError):
    """What the spec asks for cannot be met: names what was asked and what there is."""


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception stands for.

    Errors that closegap raises on purpose bring their class. Of the rest, trouble with files, connections and Ray is
    of the infrastructure and worth another attempt; anything else would only happen again, so it is the user's
    to look at.
    """
    if isinstance(error, WorkError):
        return error.failure
    cause = _cause(error)
    if cause is not None:
        return failure_of(cause)
    if isinstance(error, CoreError | ServiceError):
        return Failure(failure=error.failure, message=str(error), traceback=_trace(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" for {error.filename}" if error.filename else ""
        return Failure(
            failure="infrastructure",
            message=f"no space is left{place}: {error}",
            traceback=_trace(error),
            hint=_FULL,
        )
    if isinstance(error, ValidationError):
        return Failure(failure="user", message=str(error), traceback=_trace(error))
    if isinstance(error, MemoryError):
        hint = "a smaller batch_size, or fewer samples, needs less memory"
        return Failure(failure="user", message=f"out of memory: {error}", traceback=_trace(error), hint=hint)
    kind: FailureClass = "infrastructure" if isinstance(error, OSError) or _is_of_ray(error) else "user"
    hint = "" if kind == "infrastructure" else _DEFECT
    return Failure(
        failure=kind, message=f"{type(error).__name__}: {error}", traceback=_trace(error), hint=hint
    )


def _cause(error: BaseException) -> BaseException | None:
    """What a rank or a task raised, where Ray wrapped it; known by attribute, so that this module needs no Ray."""
    if not _is_of_ray(error):
        return None
    failures: dict[Any, BaseException] = getattr(error, "worker_failures", {})
    if failures:
        return failures[min(failures)]
    cause = getattr(error, "cause", None) or getattr(error, "controller_failure", None)
    return cause if isinstance(cause, BaseException) and cause is not error else None


def _is_of_ray(error: BaseException) -> bool:
    return any(base.__module__.partition(".")[0] == "ray" for base in type(error).__mro__)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
