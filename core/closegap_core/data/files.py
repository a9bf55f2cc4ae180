"""Arrays in .npy and .npz files under the allowed data roots.

Accepted are booleans, integers and floats of up to 64 bits, (N, X) or (N, ...) with one row a leading index;
they are taken as they are, nothing is rescaled. Under a Bernoulli likelihood values must lie in [0, 1], so
8-bit images are refused with the advice to divide them by 255 first: guessing would confuse 0/1 data with
dark images. Pickled arrays are never read. A file must be a regular file that lies, with all links followed,
under a root, and has one name only: a hard link could name a file from outside.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from closegap_core.data.raw import Raw
from closegap_core.errors import DataError

SUFFIXES = (".npy", ".npz")


def read_file(name: str, array: str | None, roots: Sequence[Path]) -> Raw:
    """The array of file `name`; a relative path is looked for under each root in turn.

    Raises DataError: outside the roots, absent, linked, truncated, pickled, wrong dtype or rank, empty.
    """
    try:
        path = _allowed(name, roots)
        with _open(path, name) as stream:
            if path.suffix == ".npy":
                if array is not None:
                    raise DataError(
                        f"data.array is {array!r}, but {name!r} is an .npy file, which holds one array"
                    )
                size = os.fstat(stream.fileno()).st_size
                values = _array(stream, size, f"{name!r}")
            else:
                values = _member(stream, array, name)
    except OSError as error:
        raise DataError(f"data file {name!r} cannot be read: {error.strerror or error}") from error
    return Raw(values, 1.0)


def _allowed(name: str, roots: Sequence[Path]) -> Path:
    """The real path of `name`, once it is known to lie under a root."""
    listed = ", ".join(str(root) for root in roots) or "none"
    given = Path(name)
    if given.suffix not in SUFFIXES:
        raise DataError(f"data file {name!r} must end in .npy or .npz")
    real_roots = [root.resolve() for root in roots]
    for candidate in [given] if given.is_absolute() else [root / given for root in real_roots]:
        try:
            real = candidate.resolve()
        except (ValueError, RuntimeError) as error:
            raise DataError(f"data file {name!r} is no usable path: {error}") from error
        if not any(real.is_relative_to(root) for root in real_roots):
            raise DataError(f"data file {name!r} is outside the allowed data roots: {listed}")
        if real.exists():
            return real
    raise DataError(f"data file {name!r} does not exist; looked under the allowed data roots: {listed}")


def _open(path: Path, name: str) -> IO[bytes]:
    """Open without following a link put there meanwhile; refuse what is no regular file with one name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"data file {name!r} is not a regular file")
    raise DataError(
        f"data file {name!r} has {facts.st_nlink} names (hard links) maybe outside the data roots; copy it"
    )


def _member(stream: IO[bytes], array: str | None, name: str) -> np.ndarray:
    """The array called `array` (its only one if None) of an .npz archive."""
    try:
        with zipfile.ZipFile(stream) as archive:
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            chosen = next(iter(members), "") if array is None and len(members) == 1 else array
            if chosen is None or chosen not in members:
                wanted = (
                    "has several arrays; name one in data.array"
                    if array is None
                    else f"has no array {array!r}"
                )
                raise DataError(f"data file {name!r} {wanted}. It holds: {', '.join(members) or 'nothing'}")
            with archive.open(members[chosen]) as content:
                return _array(content, members[chosen].file_size, f"{name!r}, array {chosen!r}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"data file {name!r} is damaged or not an .npz archive: {error}") from error


def _array(stream: IO[bytes], size: int, place: str) -> np.ndarray:
    """Read one .npy stream of `size` bytes. Nothing is allocated before the header agrees with the size."""
    shape, fortran, dtype = _header(stream, place)
    if dtype.hasobject:
        raise DataError(
            f"data file {place} holds pickled objects ({dtype}), which are never read; save numbers"
        )
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"data file {place} has dtype {dtype}; accepted: booleans, integers, floats to 64 bits"
        )
    if len(shape) < 2:
        raise DataError(
            f"data file {place} has shape {shape}; accepted is (rows, values) or (rows, height, width, …)"
        )
    if min(shape) < 1:
        raise DataError(f"data file {place} is empty: its shape is {shape}")
    count = int(np.prod(shape, dtype=object))
    expected, actual = stream.tell() + count * dtype.itemsize, size
    if actual < expected:
        raise DataError(
            f"data file {place} is truncated: {shape} of {dtype} make {expected} bytes, it has {actual}"
        )
    data = stream.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise DataError(f"data file {place} is truncated: {expected} bytes announced, {stream.tell()} read")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], place: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of an .npy stream (NEP 1), by numpy's own parser, which runs no code."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
    except (ValueError, EOFError) as error:
        raise DataError(f"data file {place} has no readable .npy header: {error}") from error
    raise DataError(f"data file {place} is .npy version {version}; accepted are 1.0 and 2.0")
