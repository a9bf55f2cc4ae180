"""Waiting for the end of a job."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from closegap.client import events, logs
from closegap.client.errors import JobCancelled, JobFailed, WaitTimeout
from closegap.job import Job as Record
from closegap.job import State

if TYPE_CHECKING:
    from closegap.client.job import Job

Tell = Callable[[Record], object]
"""Called with the record of the job whenever it has changed."""
LAST_LINES = 10
_PAUSE_SECONDS = 0.2
"""Between two looks at a job that reports all the time."""


def until_over(job: Job, timeout: float | None, progress: Tell | bool | None) -> None:
    """Look until the job is over. Raises WaitTimeout, and ClientError."""
    deadline = None if timeout is None else time.monotonic() + timeout
    after = events.FIRST
    with ExitStack() as stack:
        tell = _teller(progress, stack)
        while True:
            tell(job.refresh().record)
            if job.state.terminal:
                return
            left = events.LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"job {job.id} is {job.state} after {timeout:g} s; it goes on: {job.url}")
            page = events.page(job.connection, job.id, after, left, types=("state", "progress", "metric"))
            after = page.next
            time.sleep(max(0.0, min(_PAUSE_SECONDS, left)))


def succeed(job: Job) -> None:
    """Raises JobFailed, with the last lines of its log, or JobCancelled, where the job that is over has not."""
    if job.state is State.FAILED:
        error = job.record.error
        raise JobFailed(
            error.message if error else job.record.reason,
            job.id,
            job.url,
            error.failure if error else "infrastructure",
            error.hint if error else "",
            logs.last(job.connection, job.id, LAST_LINES),
        )
    if job.state is State.CANCELLED:
        raise JobCancelled(f"job {job.id} was cancelled: {job.record.reason}\n{job.url}", job.id, job.url)


def _teller(progress: Tell | bool | None, stack: ExitStack) -> Tell:
    """What is called: that of the caller, a bar, or, where nobody looks, nothing."""
    if callable(progress):
        return progress
    if progress or (progress is None and sys.stderr.isatty()):
        from closegap.client.bar import Bar

        return stack.enter_context(Bar())
    return lambda record: None
