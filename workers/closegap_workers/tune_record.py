"""Tune's own record of a sweep: in the worker's private home, for Tune pickles it, while the sweep may go on there."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from closegap.errors import NotFound
from closegap.queue.queue import Queue


def record_of(home: Path, job: str) -> Path:
    """The folder of one sweep; not made."""
    return home / "tune" / job


def collect(home: Path, queue: Queue) -> None:
    """Remove the records of sweeps that are over: a later job goes on from their trials. Raises StoreUnavailable."""
    for folder in sorted(record_of(home, "").glob("*")):
        # What this queue does not know may be another's, of the same home.
        with contextlib.suppress(NotFound):
            job = queue.get(folder.name)
            if job.id == folder.name and job.state.terminal:
                shutil.rmtree(folder, ignore_errors=True)
