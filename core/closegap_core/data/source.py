"""Where rows come from: a name that closegap knows, or the path of a file under an allowed root."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from closegap_core.data import (
    binarised_mnist,
    cifar10,
    digits,
    images,
    mnist,
    mnist5k,
    omniglot,
    patches,
    rcv1,
    reuters,
    svhn,
)
from closegap_core.data.counts import Counts, Rows, dense_counts
from closegap_core.data.files import SUFFIXES, read_file
from closegap_core.data.publication import Folder, Publication
from closegap_core.data.raw import Raw, Values
from closegap_core.errors import DataError

PACKAGED: dict[str, Callable[[], Raw]] = {
    "mnist-5k": mnist5k.read,
    "digits": digits.read,
    "reuters": reuters.read,
    "patches": partial(patches.read, 8),
    "patches-16": partial(patches.read, 16),
}
"""Data that come inside an installed package."""

PUBLISHED: tuple[tuple[Publication, Callable[[Folder], Raw]], ...] = (
    (mnist.MNIST, mnist.read),
    (mnist.FASHION, mnist.read),
    (binarised_mnist.PUBLICATION, binarised_mnist.read),
    (omniglot.PUBLICATION, omniglot.read),
    (svhn.PUBLICATION, svhn.read),
    (cifar10.PUBLICATION, cifar10.read),
    (rcv1.PUBLICATION, rcv1.read),
)
"""Data that a user downloads into a folder."""

IMAGES = "images"
NAMES = (*PACKAGED, *(publication.source for publication, _ in PUBLISHED), IMAGES)

_CHUNK_VALUES = 1 << 22

_FITS: dict[Values, tuple[Values, ...]] = {
    "unit": ("unit", "binary", "byte"),
    "byte": ("byte",),
    "count": ("count",),
    "real": ("unit", "binary", "byte", "count"),
}
"""What is needed, and what is known to have it without a look at the values."""

_ACCEPTED: dict[Values, str] = {
    "unit": "in [0, 1], which this likelihood needs",
    "byte": "an integer from 0 to 255, which this likelihood needs",
    "count": "a whole number of 0 or more, which this likelihood needs",
    "real": "a finite number in the range of float32",
}


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

    def rows(self, index: np.ndarray | slice, needed: Values = "real") -> Rows:
        """The chosen rows, (n, X) float32, C-contiguous; Counts where the source is sparse or counts are needed.

        Bytes stay 0 to 255 where `needed` is `byte`; else rows are in the unit that models see.
        """
        values = self.raw.values
        if isinstance(values, Counts):
            return values.take(index)
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which `check` refuses by place
            chosen = values[index].astype(np.float32)
        chosen = chosen.reshape(chosen.shape[0], self.width)
        if needed == "count":
            return dense_counts(chosen)
        kept = self.raw.unit == 1 or needed == "byte"
        return np.ascontiguousarray(chosen if kept else chosen / np.float32(self.raw.unit))

    def check(self, needed: Values) -> None:
        """Refuse values that are not finite or not what is needed, by row and column."""
        kind, values = self.raw.kind, self.raw.values
        if kind not in (*_FITS[needed], "real") and (needed, kind) != ("unit", "count"):
            raise DataError(
                f"data source {self.name!r} has {kind} values, but this likelihood needs {needed} values"
            )
        if isinstance(values, Counts):
            self._check_counts(values, needed)
        elif kind not in _FITS[needed] or values.dtype.kind == "f":
            step = max(1, _CHUNK_VALUES // self.width)
            for first in range(0, self.count, step):
                rows = np.asarray(self.rows(slice(first, first + step)))
                self._refuse(first, rows, ~np.isfinite(rows), _ACCEPTED["real"])
                self._refuse(first, rows, _unfit(rows, needed), _ACCEPTED[needed] + self._hint(needed))
        if needed == "count":
            self._refuse_empty()

    def thresholded(self) -> Source:
        """The same images in zeros and ones, 1 from half of the unit on. Raises DataError for counts, beyond [0, 1]."""
        values = self.raw.values
        if isinstance(values, Counts) or self.raw.kind == "count":
            raise DataError(f"data source {self.name!r} has counts; only grey levels have a threshold")
        self.check("unit")
        binary = (values >= self.raw.unit / 2).astype(np.uint8)
        return Source(f"{self.name} at a threshold", Raw(binary, "binary", published=self.raw.published))

    def digest(self) -> str:
        """sha256 (hex) over dtype, shape and values of the source, in little-endian C order."""
        values = self.raw.values
        if isinstance(values, Counts):
            return _digest_of_counts(values)
        little = values.dtype.newbyteorder("<")
        hasher = hashlib.sha256(f"{little.str} {values.shape}\n".encode())
        step = max(1, _CHUNK_VALUES // self.width)
        for first in range(0, self.count, step):
            hasher.update(np.ascontiguousarray(values[first : first + step], dtype=little).data)
        return hasher.hexdigest()

    def _check_counts(self, values: Counts, needed: Values) -> None:
        if needed == "unit" and (values.counts > 1).any():
            raise DataError(
                f"data source {self.name!r} has counts to {values.counts.max():.0f}, "
                f"but every value must be {_ACCEPTED['unit']}"
            )

    def _refuse_empty(self) -> None:
        values = self.raw.values
        lengths = values.lengths if isinstance(values, Counts) else values.reshape(self.count, -1).sum(1)
        if not (lengths > 0).all():
            row = int(np.argmin(lengths > 0))
            raise DataError(f"data source {self.name!r}: document {row} has no words; leave empty ones out")

    def _refuse(self, first: int, rows: np.ndarray, bad: np.ndarray, accepted: str) -> None:
        if not bad.any():
            return
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"data source {self.name!r}: row {first + row}, column {column} is {rows[row, column]!s}, "
            f"but every value must be {accepted}"
        )

    def _hint(self, needed: Values) -> str:
        if needed == "byte":
            return "; save the images as they were, not divided by 255"
        if needed != "unit" or self.raw.values.dtype.kind not in "iu":
            return ""
        return "; for 8-bit images save `(images / 255).astype('float32')`, for 0/1 data use 0 and 1 only"


def open_source(name: str, array: str | None, roots: Sequence[Path], path: str | None = None) -> Source:
    """Read the source called `name`; `array` chooses inside an .npz file, `path` is the folder of a published source.

    Raises DataError: an unknown name (with what is accepted), a file outside the roots or not readable.
    """
    if name in NAMES and array is not None:
        raise DataError(f"data.array is {array!r}, but {name!r} is no .npz file; leave data.array out")
    for publication, read in PUBLISHED:
        if name == publication.source:
            return Source(name, read(publication.folder(path, roots)))
    if name == IMAGES:
        return Source(name, images.read_folder(path, roots))
    if path is not None:
        raise DataError(f"data.path is {path!r}, but {name!r} is not read from a folder; leave data.path out")
    if name in PACKAGED:
        return Source(name, PACKAGED[name]())
    if "/" in name or name.endswith(SUFFIXES):
        return Source(name, read_file(name, array, roots))
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    accepted = f"{', '.join(NAMES)}, or the path of a file ending in {', '.join(SUFFIXES)}"
    raise DataError(f"unknown data source {name!r}{meant} Accepted: {accepted}")


def _unfit(rows: np.ndarray, needed: Values) -> np.ndarray:
    """Where rows are not what is needed."""
    if needed == "unit":
        unfit: np.ndarray = (rows < 0) | (rows > 1)
    elif needed == "byte":
        unfit = (rows < 0) | (rows > 255) | (rows != np.rint(rows))
    elif needed == "count":
        unfit = (rows < 0) | (rows != np.rint(rows))
    else:
        unfit = np.zeros(rows.shape, bool)
    return unfit


def _digest_of_counts(values: Counts) -> str:
    hasher = hashlib.sha256(f"counts {values.shape}\n".encode())
    for part, dtype in ((values.starts, "<i8"), (values.words, "<i4"), (values.counts, "<f4")):
        hasher.update(np.ascontiguousarray(part, dtype=dtype).data)
    return hasher.hexdigest()
