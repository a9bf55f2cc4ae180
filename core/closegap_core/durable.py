"""Files that are there whole or not at all, also after a crash or a full disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_BLOCK = 1 << 20


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, flush it to the disk, rename it once.

    Raises OSError, having removed the temporary file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renames within `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path, flush: bool = False) -> str:
    """sha256 (hex) of a file's bytes; `flush` first makes them durable."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        if flush:
            os.fsync(stream.fileno())
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
