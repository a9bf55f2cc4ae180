"""Real images from 8-bit ones: noise over the bin of each grey level, each row with its own place in the stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from closegap_core.errors import DataError

_DRAWS_A_COUNT = 8  # one count of Philox gives four 64-bit words, that is eight float32 draws


def dequantise(rows: np.ndarray, seed: int, first: int = 0, legacy: bool = False) -> np.ndarray:
    """x in [0, 1] of grey levels 0 … 255, the same for a row however the rows are chunked.

    rows: (N, X) float32; `first` is the position of rows[0] in the whole, so that `dequantise(rows, s)[a:b]` equals
    `dequantise(rows[a:b], s, a)`: row r starts at count r * ceil(X / 8) of Philox (Salmon et al. 2011).
    Raises DataError for a negative `first` or seed.
    """
    if first < 0 or seed < 0:
        raise DataError(
            f"dequantise needs a position and a seed of 0 or more, got first={first}, seed={seed}"
        )
    count, width = rows.shape
    counts_a_row = -(-width // _DRAWS_A_COUNT)
    stream = np.random.Generator(np.random.Philox(key=seed, counter=first * counts_a_row))
    draws = stream.random((count, counts_a_row * _DRAWS_A_COUNT), dtype=np.float32)
    drawn: np.ndarray = spread(rows, draws[:, :width], legacy)
    return drawn


def spread(pixels: Any, uniform: Any, legacy: bool) -> Any:
    """(pixels + u) / 256; `legacy`: clip(pixels + u - 1/2, 0, 255) / 255 (Gregor et al. 2016). u in [0, 1).

    Both numpy arrays, or both torch tensors: the formula is here once.
    """
    noisy = pixels + uniform
    return (noisy - 0.5).clip(0.0, 255.0) / 255.0 if legacy else noisy / 256.0
