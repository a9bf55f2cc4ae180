"""Where rows come from: a name that closegap knows, or the path of a file under an allowed root."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from closegap_core.data import digits, mnist5k
from closegap_core.data.files import SUFFIXES, read_file
from closegap_core.data.raw import Raw
from closegap_core.errors import DataError

NAMED: dict[str, Callable[[], Raw]] = {
    "mnist-5k": mnist5k.read,
    "digits": digits.read,
}

_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Source:
    """All rows of one source as they were read. `name` is what the user wrote."""

    name: str
    raw: Raw

    @property
    def count(self) -> int:
        return int(self.raw.values.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(int(size) for size in self.raw.values.shape[1:])

    @property
    def width(self) -> int:
        """X, the number of values of a row."""
        return int(np.prod(self.shape))

    def rows(self, index: np.ndarray | slice) -> np.ndarray:
        """The chosen rows, (n, X) float32, C-contiguous, in the unit that models see."""
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which `check` refuses by place
            chosen = self.raw.values[index].astype(np.float32)
        chosen = chosen.reshape(chosen.shape[0], self.width)
        return np.ascontiguousarray(chosen if self.raw.unit == 1 else chosen / np.float32(self.raw.unit))

    def check(self, unit_interval: bool) -> None:
        """Refuse values that are not finite or, where asked, not in [0, 1], by row and column."""
        step = max(1, _CHUNK_VALUES // self.width)
        for first in range(0, self.count, step):
            rows = self.rows(slice(first, first + step))
            self._refuse(first, rows, ~np.isfinite(rows), "a finite number in the range of float32")
            if unit_interval:
                outside = (rows < 0) | (rows > 1)
                self._refuse(first, rows, outside, f"in [0, 1], which this likelihood needs{self._hint()}")

    def digest(self) -> str:
        """sha256 (hex) over dtype, shape and values of the source, in little-endian C order."""
        values = self.raw.values
        little = values.dtype.newbyteorder("<")
        hasher = hashlib.sha256(f"{little.str} {values.shape}\n".encode())
        step = max(1, _CHUNK_VALUES // self.width)
        for first in range(0, self.count, step):
            hasher.update(np.ascontiguousarray(values[first : first + step], dtype=little).data)
        return hasher.hexdigest()

    def _refuse(self, first: int, rows: np.ndarray, bad: np.ndarray, accepted: str) -> None:
        if not bad.any():
            return
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"data source {self.name!r}: row {first + row}, column {column} is {rows[row, column]!s}, "
            f"but every value must be {accepted}"
        )

    def _hint(self) -> str:
        if self.raw.values.dtype.kind not in "iu":
            return ""
        return "; for 8-bit images save `(images / 255).astype('float32')`, for 0/1 data use 0 and 1 only"


def open_source(name: str, array: str | None, roots: Sequence[Path]) -> Source:
    """Read the source called `name`; `array` chooses inside an .npz file.

    Raises DataError: an unknown name (with what is accepted), a file outside the roots or not readable.
    """
    if name in NAMED:
        if array is not None:
            raise DataError(f"data.array is {array!r}, but {name!r} is no .npz file; leave data.array out")
        return Source(name, NAMED[name]())
    if "/" in name or name.endswith(SUFFIXES):
        return Source(name, read_file(name, array, roots))
    near = difflib.get_close_matches(name, NAMED, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    accepted = f"{', '.join(NAMED)}, or the path of a .npy or .npz file"
    raise DataError(f"unknown data source {name!r}{meant} Accepted: {accepted}")
