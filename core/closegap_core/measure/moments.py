"""Means over rows with their standard errors, gathered part by part: memory does not grow with the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from closegap_core.errors import DataError

Columns = Mapping[str, np.ndarray]
"""Figures of some rows by name, (B,) or (B, …) each."""


class Moments(NamedTuple):
    """Of N rows of one figure: their number, mean (…) and sum of squared distances from it (…), float64."""

    rows: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of (B, …) rows."""
        mean = values.mean(0, dtype=np.float64)
        return cls(len(values), mean, np.square(values - mean, dtype=np.float64).sum(0))

    def with_more(self, other: Moments) -> Moments:
        """Of the rows of both (Chan, Golub & LeVeque 1983)."""
        rows, apart = self.rows + other.rows, other.mean - self.mean
        return Moments(
            rows,
            self.mean + apart * (other.rows / rows),
            self.squares + other.squares + apart**2 * (self.rows * other.rows / rows),
        )

    @property
    def variance(self) -> np.ndarray:
        """Of the rows about their mean, (…)."""
        return self.squares / self.rows

    @property
    def standard_error(self) -> np.ndarray:
        """Of the mean, (…); zero of a single row."""
        return np.sqrt(self.squares / max(1, self.rows - 1) / self.rows)

    def to_dict(self) -> dict[str, float]:
        """{"value", "standard_error"} of a figure that is one number a row."""
        return {"value": float(self.mean), "standard_error": float(self.standard_error)}

    def points(self) -> list[tuple[float, float]]:
        """(value, standard error) of each of (B, P) figures."""
        return list(zip(self.mean.tolist(), self.standard_error.tolist(), strict=True))


def moments(parts: Iterable[Columns]) -> dict[str, Moments]:
    """Of every column of all parts. Raises DataError when there is no part."""
    found: dict[str, Moments] = {}
    for part in parts:
        for name, values in part.items():
            new = Moments.of(values)
            found[name] = found[name].with_more(new) if name in found else new
    if not found:
        raise DataError("nothing was measured: there are no rows")
    return found


def estimate(value: np.ndarray, variance: np.ndarray) -> dict[str, float]:
    """{"value", "standard_error", "estimator_error"} of (B,) figures and of their Monte-Carlo variances (B,)."""
    error = math.sqrt(float(variance.sum(dtype=np.float64))) / len(variance)
    return {**Moments.of(value).to_dict(), "estimator_error": error}
