"""How data enter an encoder: what its network sees of x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.data import Counts, Rows
from closegap_core.data.counts import dense_counts
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape

CENTRE = 0.5
"""Images lie in [0, 1]."""
IDF = "encoder.idf"


class Inputs(ABC):
    """x (B, X) as an encoder sees it, (B, X). What it must know of the training rows is saved with the weights."""

    def shapes(self, width: int) -> Sequence[Shape]:
        """Statistics among the encoder's parameters, `learned` False; none by default."""
        return ()

    def fit(self, statistics: Mapping[str, Tensor], rows: Rows) -> None:
        """Set the statistics from the training rows (N, X)."""
        return None

    @abstractmethod
    def apply(self, ops: Ops, statistics: Mapping[str, Value], x: Value) -> Value:
        """Each row by itself."""


@final
class Centred(Inputs):
    """x - 0.5: images, and reals as they are given."""

    def apply(self, ops: Ops, statistics: Mapping[str, Value], x: Value) -> Value:
        return x - CENTRE


@final
class TermWeights(Inputs):
    """Counts weighted by the inverse document frequency, each row of length one (TF-IDF; Marino et al. 2018, C.7.3).

    idf_v = ln((1 + D) / (1 + df_v)) + 1, smoothed, for the df_v of D training documents that hold word v.
    """

    def shapes(self, width: int) -> Sequence[Shape]:
        return (Shape(IDF, (width,), value=1.0, learned=False),)

    def fit(self, statistics: Mapping[str, Tensor], rows: Rows) -> None:
        counts = rows if isinstance(rows, Counts) else dense_counts(rows)
        statistics[IDF].copy_(torch.from_numpy(counts.statistics().weights))

    def apply(self, ops: Ops, statistics: Mapping[str, Value], x: Value) -> Value:
        weighted = x * statistics[IDF]
        norm = ops.sqrt(ops.total_last(weighted * weighted))
        return weighted / ops.maximum(norm, 1e-6)  # a document without words is all zeros


CENTRED, TERM_WEIGHTS = Centred(), TermWeights()
