"""Files of bundles on this machine: whole and as their digest says, or not there; taken up where they broke off."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from closegap.client.connection import Connection, Query
from closegap.client.documents import Bundle, File
from closegap.client.errors import ClientError, DamagedFile, NotFound, Unavailable, Unreachable

_BLOCK = 1 << 18
_SILENCE_SECONDS = 60.0


def bundle(connection: Connection, found: Bundle, folder: Path, query: Query | None = None) -> Path:
    """All files of a bundle into a folder that there is not yet; the folder.

    What a broken download left beside it is taken up. Raises ClientError.
    """
    if folder.exists():
        raise ClientError(f"{folder} is there already; give the name of a folder that is to be made")
    partial = folder.with_name(f".{folder.name}.{found.digest.removeprefix('sha256:')[:16]}.partial")
    for file in found.files:
        target = partial / _safe(file.name)
        if not (target.is_file() and _digest(target) == file.sha256):
            one(connection, file, target, query)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        partial.rename(folder)
    except OSError as error:
        raise ClientError(f"{folder} cannot be made: {error.strerror}") from error
    return folder


def one(connection: Connection, file: File, path: Path, query: Query | None = None) -> Path:
    """One file, under a name beside `path` until it is whole, then renamed to it, replacing what was there.

    Raises DamagedFile (other bytes than its digest says), ClientError.
    """
    partial = path.with_name(f".{path.name}.{file.sha256[:16]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetched(connection, file, partial, query)
        if _digest(partial) != file.sha256:
            partial.unlink()
            raise DamagedFile(f"{file.name} was not kept: its bytes are not those of sha256 {file.sha256}")
        partial.replace(path)
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _fetched(connection: Connection, file: File, partial: Path, query: Query | None) -> None:
    """All bytes in `partial`, as many attempts as the retries allow while nothing arrives."""
    failures, since = 0, time.monotonic()
    for _ in itertools.count():
        with partial.open("ab") as out:
            start = out.seek(0, os.SEEK_END)
            if start > file.bytes:
                start = out.truncate(0)
            try:
                if start != file.bytes:
                    _received(connection, file, out, query)
                return
            except (Unreachable, Unavailable):
                if out.seek(0, os.SEEK_END) > start:
                    failures, since = 0, time.monotonic()
                failures += 1
                left = connection.retry.deadline_seconds - (time.monotonic() - since)
                wait = connection.retry.wait(failures, None, left)
                if wait is None:
                    raise
                time.sleep(wait)


def _received(connection: Connection, file: File, out: BinaryIO, query: Query | None) -> None:
    """The rest of a file, or, where the service sends it from its beginning, all of it. Raises ClientError."""
    start = out.tell()
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": f'"{file.sha256}"'}
    with connection.stream(
        quote(file.href), query=query, headers=headers, silence=_SILENCE_SECONDS
    ) as response:
        if start and response.status_code != 206:
            out.truncate(0)
            out.seek(0)
        for block in response.iter_bytes():
            out.write(block)
    if out.tell() != file.bytes:
        raise Unreachable(f"{file.name} broke off after {out.tell()} of {file.bytes} bytes")


def chosen(found: tuple[Bundle, ...], name: str, job: str) -> tuple[Bundle, File | None]:
    """The bundle that `output` names, and the file of it that `output/file` names. Raises NotFound."""
    output, _, inside = name.partition("/")
    for candidate in found:
        if candidate.output == output and not inside:
            return candidate, None
        for file in candidate.files:
            if candidate.output == output and file.name == inside:
                return candidate, file
    known = [f"{item.output}/{file.name}" for item in found for file in item.files]
    raise NotFound(f"job {job} has left no `{name}`; it has {', '.join(known) or 'nothing yet'}")


def _safe(name: str) -> PurePosixPath:
    """A name that lies inside the folder it is put into. Raises DamagedFile: the service names another place."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise DamagedFile(f"`{name}` is no name of a file of a bundle")
    return path


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
