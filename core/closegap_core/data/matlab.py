"""Matrices of real numbers in MATLAB files of version 5 ("MAT-File Format", The MathWorks).

Read here and not by scipy, whose reader follows sizes that a damaged file states and takes the process down.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from closegap_core.errors import DataError

HEADER = 128
MATRIX, COMPRESSED = 14, 15
COMPLEX = 0x0800
LARGEST = 1 << 32
"""Bytes of one matrix."""

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


class _Element(NamedTuple):
    """A data element: what type it has, and its bytes."""

    kind: int
    content: memoryview


def matrices(content: bytes, names: Sequence[str], place: str) -> list[np.ndarray]:
    """The matrices called `names`, in the type that MATLAB shows. Other variables are passed over.

    Raises DataError: another format, damaged, a matrix not there or not of real numbers.
    """
    found: dict[str, np.ndarray] = {}
    try:
        order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER])
        if order is None or content[124:126] not in (b"\0\1", b"\1\0"):
            raise ValueError("its header does not say version 5")
        for element in _elements(memoryview(content)[HEADER:], order):
            name, matrix = _matrix(element, order, names)
            if matrix is not None:
                found[name] = matrix
    except (ValueError, struct.error, zlib.error, OverflowError, MemoryError) as error:
        raise DataError(f"{place} is damaged or no MATLAB file of version 5: {error}") from error
    for name in names:
        if name not in found:
            raise DataError(f"{place} has no matrix of numbers called {name!r}")
    return [found[name] for name in names]


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """The data elements that follow each other in `content`."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        start, padding = at + 8, 0 if kind == COMPRESSED else 8
        if kind >> 16:  # a small element: its size and up to 4 bytes of content are in the tag
            kind, size, start, padding = kind & 0xFFFF, kind >> 16, at + 4, 4
        if start + size > len(content) or (padding == 4 and size > 4):
            raise ValueError(f"an element of {size} bytes reaches beyond the end")
        yield _Element(kind, content[start : start + size])
        at = start + (size if not padding else -(-size // padding) * padding)


def _matrix(element: _Element, order: str, names: Sequence[str]) -> tuple[str, np.ndarray | None]:
    """Name and values of a variable; None where it is not asked for, or no matrix of real numbers."""
    if element.kind == COMPRESSED:
        unpacked = zlib.decompressobj().decompress(element.content, LARGEST)
        element = next(_elements(memoryview(unpacked), order), element)
    if element.kind != MATRIX:
        raise ValueError(f"an element of type {element.kind} where a matrix was expected")
    parts = _elements(element.content, order)
    flags, dimensions, label = (next(parts, _Element(0, memoryview(b""))) for _ in range(3))
    (bits,) = struct.unpack_from(f"{order}I", flags.content)
    name = bytes(label.content).decode("latin-1")
    if name not in names or bits & 0xFF not in _CLASSES or bits & COMPLEX:
        return name, None
    shape = np.frombuffer(dimensions.content, f"{order}i4").tolist()
    values = next(parts, None)
    if values is None or values.kind not in _STORED or min(shape, default=0) < 1:
        raise ValueError(f"matrix {name!r} of shape {tuple(shape)} has no readable values")
    stored = np.frombuffer(values.content, f"{order}{_STORED[values.kind]}")
    return name, stored.reshape(shape, order="F").astype(_CLASSES[bits & 0xFF], copy=False)
