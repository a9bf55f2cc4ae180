"""Files that are there whole or not at all, also after a crash or a full disk."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from closegap_core.errors import StorageError

_BLOCK = 1 << 20


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, flush it to the disk, rename it once.

    Raises StorageError, having removed the temporary file; what `path` was before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """A folder, if it is not there yet; never the one around it. Raises StorageError.

    What a work folder's name says is whose it is. Work that was taken over under another name must find nothing here,
    and not begin the old name anew.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def append_line(path: Path, line: str) -> None:
    """Add one line and flush it to the disk. A crash, or a StorageError, may leave its beginning without an end."""
    try:
        with path.open("ab", buffering=0) as stream:
            stream.write(line.encode() + b"\n")
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


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
