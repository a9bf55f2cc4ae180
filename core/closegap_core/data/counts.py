"""Word counts of documents, stored sparse, seen dense: a batch is all that is ever made dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from closegap_core.errors import DataError

MOST = 1 << 24
"""The largest count that float32 holds exactly."""


@final
@dataclass(frozen=True, eq=False)
class Tfidf:
    """Statistics of the training documents. frequencies: (V,) int64, the documents that hold each word."""

    documents: int
    frequencies: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(V,) float64, the smoothed inverse document frequency ln((1 + D) / (1 + df)) + 1."""
        idf: np.ndarray = np.log((1.0 + self.documents) / (1.0 + self.frequencies)) + 1.0
        return idf


@final
@dataclass(frozen=True, eq=False)
class Counts:
    """Counts (N, V) in compressed rows; indexed by a slice or an array of row numbers it is a dense float32 array.

    Row i has `counts[starts[i]:starts[i + 1]]` of `words[starts[i]:starts[i + 1]]`. starts: (N + 1,) int64;
    words: (n,) int32, rising within a row; counts: (n,) float32, whole numbers above 0; width: V.
    tfidf: of the training part, once there is one. Made by `count_matrix`.
    """

    starts: np.ndarray
    words: np.ndarray
    counts: np.ndarray
    width: int
    tfidf: Tfidf | None = None

    dtype: ClassVar[np.dtype] = np.dtype(np.float32)
    ndim: ClassVar[int] = 2

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(N, V)"""
        return len(self), self.width

    @property
    def lengths(self) -> np.ndarray:
        """(N,) float64, the number of words of each document."""
        ends = np.concatenate([[0.0], np.cumsum(self.counts, dtype=np.float64)])
        total: np.ndarray = ends[self.starts[1:]] - ends[self.starts[:-1]]
        return total

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Dense rows (n, V) float32. Raises IndexError beyond the last row, TypeError for any other index."""
        rows, places = self._places(index)
        dense = np.zeros((len(rows), self.width), np.float32)
        dense[np.repeat(np.arange(len(rows)), self._sizes(rows)), self.words[places]] = self.counts[places]
        return dense

    def take(self, index: slice | np.ndarray) -> Counts:
        """The chosen rows, still sparse."""
        rows, places = self._places(index)
        starts = np.concatenate([[0], np.cumsum(self._sizes(rows))])
        return Counts(starts, self.words[places], self.counts[places], self.width, self.tfidf)

    def statistics(self) -> Tfidf:
        """Document frequencies of these rows."""
        return Tfidf(len(self), np.bincount(self.words, minlength=self.width))

    def _sizes(self, rows: np.ndarray) -> np.ndarray:
        sizes: np.ndarray = self.starts[rows + 1] - self.starts[rows]
        return sizes

    def _places(self, index: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, and where their words lie."""
        if isinstance(index, slice):
            rows = np.arange(*index.indices(len(self)))
        elif isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype.kind in "iu":
            rows = index.astype(np.int64)
        else:
            raise TypeError(f"word counts are indexed by a slice or an array of row numbers, not {index!r}")
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} documents")
        sizes = self._sizes(rows)
        before = np.cumsum(sizes) - sizes
        places = np.repeat(self.starts[rows] - before, sizes) + np.arange(sizes.sum())
        return rows, places


Rows = np.ndarray | Counts
"""(N, X) float32: what a slice or row numbers take from either is an array."""


def count_matrix(starts: np.ndarray, words: np.ndarray, counts: np.ndarray, width: int, place: str) -> Counts:
    """Counts of checked and ordered arrays in compressed rows; counts of one word in one row are added, zeros go.

    Raises DataError: rows that do not fit each other, words beyond `width`, counts that are no whole numbers of 0
    or more. `place` names the file in messages.
    """
    starts = np.asarray(starts, np.int64)
    if len(starts) < 2 or width < 1:
        raise DataError(f"{place} has no documents or no words: {max(len(starts) - 1, 0)} by {width}")
    rising = starts[0] == 0 and starts[-1] == len(words) == len(counts) and bool((np.diff(starts) >= 0).all())
    if not rising:
        raise DataError(f"{place}: the rows do not fit the {len(words)} words and {len(counts)} counts")
    row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    _refuse(row, words, (words < 0) | (words >= width), f"word number; accepted are 0 to {width - 1}", place)
    whole = np.isfinite(counts) & (counts >= 0) & (counts <= MOST) & (np.rint(counts) == counts)
    _refuse(row, counts, ~whole, f"count; accepted are whole numbers from 0 to {MOST}", place)
    key = row * np.int64(width) + words.astype(np.int64)
    if len(key) and not ((np.diff(key) > 0).all() and (counts > 0).all()):
        kept = counts > 0
        key, inverse = np.unique(key[kept], return_inverse=True)
        counts = np.bincount(inverse, weights=counts[kept], minlength=len(key))
    row, word = np.divmod(key, width)
    starts = np.searchsorted(row, np.arange(len(starts)))
    return Counts(starts, word.astype(np.int32), counts.astype(np.float32), width)


def dense_counts(rows: np.ndarray) -> Counts:
    """Counts of a dense array (N, V) of whole numbers of 0 or more."""
    row, word = np.nonzero(rows)
    starts = np.searchsorted(row, np.arange(len(rows) + 1))
    return Counts(starts, word.astype(np.int32), rows[row, word].astype(np.float32), rows.shape[1])


def _refuse(row: np.ndarray, values: np.ndarray, bad: np.ndarray, accepted: str, place: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(f"{place}: document {row[first]} has {values[first]!s} as a {accepted}")
