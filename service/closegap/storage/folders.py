"""Folders as a collection of what is not needed sees them: their size, their age, and their end."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path


def inside(folder: Path) -> list[Path]:
    """The folders in a folder, by name; links are none."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def size(folder: Path) -> int:
    """Bytes of the files in it."""
    return sum(entry.st_size for entry in _entries(folder))


def written(folder: Path) -> datetime:
    """When it, or anything in it, was last written. One that is gone was written just now: leave it alone."""
    times = [entry.st_mtime for entry in _entries(folder)]
    return datetime.fromtimestamp(max(times), UTC) if times else datetime.now(UTC)


def remove(folder: Path, before: datetime) -> bool:
    """Remove it unless it was written meanwhile; whether it is gone. It disappears by one rename."""
    doomed = folder.with_name(f"{folder.name}.gone-{secrets.token_hex(4)}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return False
    if written(doomed) >= before and not folder.exists():
        doomed.rename(folder)
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _entries(folder: Path) -> Iterator[os.stat_result]:
    """Of the folder and of all in it, links themselves in place of what they lead to."""
    if not folder.is_dir():
        return
    yield folder.lstat()
    for place, names, files in os.walk(folder):
        for name in (*names, *files):
            try:
                yield (Path(place) / name).lstat()
            except FileNotFoundError:
                continue  # it went meanwhile
