"""Arrays in .npy and .npz files, by numpy's own header parser; pickled arrays are never read.

Accepted are booleans, integers and floats of up to 64 bits; they are taken as they are, nothing is rescaled. An .npz
file may also hold a sparse matrix as `scipy.sparse.save_npz` writes it, which is read as word counts.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np

from closegap_core.data.counts import Counts, count_matrix
from closegap_core.errors import DataError

SPARSE = ("indices", "indptr", "format", "shape", "data")


def read_npy(stream: IO[bytes], name: str) -> np.ndarray:
    """(N, …) of an .npy file. Raises DataError: truncated, pickled, wrong dtype or rank, empty."""
    size = os.fstat(stream.fileno()).st_size
    return _rows(_array(stream, size, f"{name!r}"), f"{name!r}")


def read_npz(stream: IO[bytes], array: str | None, name: str) -> np.ndarray | Counts:
    """The array called `array` (its only one if None) of an .npz archive, or its sparse matrix.

    Raises DataError: as `read_npy`; damaged; no such array, or several and none named; a matrix in other than rows.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            if array is None and set(members) >= set(SPARSE):
                return _sparse(archive, members, name)
            chosen = next(iter(members), "") if array is None and len(members) == 1 else array
            if chosen is None or chosen not in members:
                wanted = (
                    "has several arrays; name one in data.array"
                    if array is None
                    else f"has no array {array!r}"
                )
                raise DataError(f"data file {name!r} {wanted}. It holds: {', '.join(members) or 'nothing'}")
            place = f"{name!r}, array {chosen!r}"
            return _rows(_member(archive, members[chosen], place), place)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"data file {name!r} is damaged or not an .npz archive: {error}") from error


def _sparse(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> Counts:
    read = {key: _member(archive, members[key], f"{name!r}, array {key!r}", "biufSU") for key in SPARSE}
    form = read["format"].reshape(-1)
    written = form[0] if len(form) == 1 else b"?"
    text = written.decode("latin-1") if isinstance(written, bytes) else str(written)
    if text != "csr":
        raise DataError(f"data file {name!r} holds a sparse matrix in format {text!r}; accepted is 'csr'")
    shape, starts, words = read["shape"], read["indptr"], read["indices"]
    if shape.shape != (2,) or any(part.dtype.kind not in "iu" for part in (shape, starts, words)):
        raise DataError(
            f"data file {name!r} holds no sparse matrix (rows, words): its shape is {shape.tolist()}"
        )
    if starts.ndim != 1 or words.ndim != 1 or read["data"].ndim != 1 or len(starts) != shape[0] + 1:
        raise DataError(f"data file {name!r}: indptr {starts.shape} does not fit {shape[0]} rows")
    return count_matrix(starts, words, read["data"].astype(np.float64), int(shape[1]), f"data file {name!r}")


def _member(archive: zipfile.ZipFile, item: zipfile.ZipInfo, place: str, kinds: str = "biuf") -> np.ndarray:
    with archive.open(item) as content:
        return _array(content, item.file_size, place, kinds)


def _rows(values: np.ndarray, place: str) -> np.ndarray:
    if values.ndim < 2:
        raise DataError(
            f"data file {place} has shape {values.shape}; accepted is (rows, values) or (rows, height, width, …)"
        )
    if min(values.shape) < 1:
        raise DataError(f"data file {place} is empty: its shape is {values.shape}")
    return values


def _array(stream: IO[bytes], size: int, place: str, kinds: str = "biuf") -> np.ndarray:
    """Read one .npy stream of `size` bytes. Nothing is allocated before the header agrees with the size."""
    shape, fortran, dtype = _header(stream, place)
    if dtype.hasobject:
        raise DataError(
            f"data file {place} holds pickled objects ({dtype}), which are never read; save numbers"
        )
    if dtype.kind not in kinds or (dtype.itemsize > 8 and dtype.kind in "biufc"):
        raise DataError(
            f"data file {place} has dtype {dtype}; accepted: booleans, integers, floats to 64 bits"
        )
    bytes_wanted = _product(shape) * dtype.itemsize
    expected = stream.tell() + bytes_wanted
    if size < expected:
        raise DataError(
            f"data file {place} is truncated: {shape} of {dtype} make {expected} bytes, it has {size}"
        )
    data = stream.read(bytes_wanted)
    if len(data) < bytes_wanted:
        raise DataError(f"data file {place} is truncated: {expected} bytes announced, {stream.tell()} read")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _product(shape: Sequence[int]) -> int:
    return int(np.prod(np.array(shape, dtype=object)))


def _header(stream: IO[bytes], place: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of an .npy stream (NEP 1); numpy's parser of it runs no code."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
    except (ValueError, EOFError) as error:
        raise DataError(f"data file {place} has no readable .npy header: {error}") from error
    raise DataError(f"data file {place} is .npy version {version}; accepted are 1.0 and 2.0")
