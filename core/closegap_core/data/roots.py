"""The only way to a file: under an allowed data root, with all links followed.

A file must be a regular file and have one name only: a hard link could name a file from outside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from closegap_core.errors import DataError


def locate(name: str, roots: Sequence[Path]) -> Path | None:
    """The real path of file or folder `name`, looked for under each root in turn; None where there is none.

    Raises DataError: no usable path, or outside the roots.
    """
    given = Path(name)
    real_roots = [root.resolve() for root in roots]
    for candidate in [given] if given.is_absolute() else [root / given for root in real_roots]:
        try:
            real = candidate.resolve()
        except (ValueError, RuntimeError) as error:
            raise DataError(f"data file {name!r} is no usable path: {error}") from error
        if not any(real.is_relative_to(root) for root in real_roots):
            raise DataError(f"data file {name!r} is outside the allowed data roots: {listed(roots)}")
        try:
            if real.exists():
                return real
        except OSError as error:
            raise unreadable(name, error) from error
    return None


def open_file(path: Path, name: str) -> IO[bytes]:
    """Open without following a link put there meanwhile; refuse what is no regular file with one name.

    Raises DataError, also when the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        facts = os.fstat(descriptor)
    except OSError as error:
        raise unreadable(name, error) from error
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"data file {name!r} is not a regular file")
    raise DataError(
        f"data file {name!r} has {facts.st_nlink} names (hard links) maybe outside the data roots; copy it"
    )


def listed(roots: Sequence[Path]) -> str:
    """The roots as a message names them."""
    return ", ".join(str(root) for root in roots) or "none"


def unreadable(name: str, error: OSError) -> DataError:
    """The refusal of a file that the system does not give."""
    return DataError(f"data file {name!r} cannot be read: {error.strerror or error}")
