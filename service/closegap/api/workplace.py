"""Small files that a running job leaves in its work folder, read as strangers' files are: bounded, no link followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from closegap.api.context import Context
from closegap.job import Job

LARGEST = 1 << 24


def read(context: Context, job: Job, *parts: str) -> bytes | None:
    """A file that the newest attempt works with; None where there is no plain one. `parts` come from no request."""
    folder = context.artifacts.held(job.work)
    return None if folder is None else content(folder, *parts)


def content(folder: Path, *parts: str) -> bytes | None:
    """At most LARGEST bytes of a plain file inside `folder`."""
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        for part in parts[:-1]:
            place = _inside(place, part, os.O_DIRECTORY)
        place = _inside(place, parts[-1], os.O_NONBLOCK)
    except OSError:
        return None  # not yet, or no longer: a collection may take a work folder at any time
    if not stat.S_ISREG(os.fstat(place).st_mode):
        os.close(place)
        return None
    with os.fdopen(place, "rb") as stream:
        return stream.read(LARGEST)


def _inside(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    finally:
        os.close(folder)
