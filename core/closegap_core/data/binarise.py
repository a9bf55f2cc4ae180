"""Binary images from grey levels: x ~ Bernoulli(row), each row with its own place in the random stream."""

from __future__ import annotations

import numpy as np

from closegap_core.errors import DataError

_DRAWS_A_COUNT = 8  # one count of Philox gives four 64-bit words, that is eight float32 draws


def binarise(rows: np.ndarray, seed: int, first: int = 0) -> np.ndarray:
    """Draw x ~ Bernoulli(rows) as float32 zeros and ones, the same for a row however the rows are chunked.

    rows: (N, X) float32 in [0, 1]; `first` is the position of rows[0] in the whole, so that
    `binarise(rows, s)[a:b]` equals `binarise(rows[a:b], s, a)`. Philox is counter based (Salmon et al. 2011):
    row r starts at count r * ceil(X / 8).
    Raises DataError for a negative `first` or seed.
    """
    if first < 0 or seed < 0:
        raise DataError(f"binarise needs a position and a seed of 0 or more, got first={first}, seed={seed}")
    count, width = rows.shape
    counts_a_row = -(-width // _DRAWS_A_COUNT)
    stream = np.random.Generator(np.random.Philox(key=seed, counter=first * counts_a_row))
    draws = stream.random((count, counts_a_row * _DRAWS_A_COUNT), dtype=np.float32)
    binary: np.ndarray = (draws[:, :width] < rows).astype(np.float32)
    return binary
