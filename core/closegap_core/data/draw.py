"""What a model sees of a stored row: the row itself, or a draw made of it anew at each use."""

from __future__ import annotations

from typing import Literal

import numpy as np

from closegap_core.config import DequantisedConfig, LikelihoodConfig
from closegap_core.data.binarise import binarise
from closegap_core.data.dequantise import dequantise

Draw = Literal["none", "binarise", "dequantise", "dequantise_legacy"]


def draw_of(likelihood: LikelihoodConfig, binary: bool) -> Draw:
    """How rows are drawn under `likelihood`; binary: the data's own `Dataset.binarise`."""
    if isinstance(likelihood, DequantisedConfig):
        return "dequantise_legacy" if likelihood.legacy else "dequantise"
    return "binarise" if binary else "none"


def fixed(draw: Draw, rows: np.ndarray, seed: int, first: int = 0) -> np.ndarray:
    """One draw for each of rows (N, X), decided by (seed, position); `first` is the position of rows[0]."""
    if draw == "none":
        return rows
    if draw == "binarise":
        return binarise(rows, seed, first)
    return dequantise(rows, seed, first, legacy=draw == "dequantise_legacy")
