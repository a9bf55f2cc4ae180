"""Random draws as pure functions of (seed, where they are used): nothing to save, nothing to restore."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

INITIAL, ORDER, DATA, NOISE, VALIDATION, EVALUATION, PRIOR, AIS, ITERATIONS, GAPS, SIMULATION, MOMENTS = (
    range(12)
)
"""Purposes: the first word after the seed, so that two uses never share draws."""


def generator(*words: int) -> torch.Generator:
    """A generator whose stream is decided by `words` alone.

    Up to four words are filled up with zeros: (s, 9) and (s, 9, 0) are one stream. So each purpose is used with one
    number of words, or with a last one that is never zero; to tell them apart here would change all earlier results.
    """
    state = np.random.SeedSequence(words).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def permutation(count: int, *words: int) -> Tensor:
    """A permutation of range(count), (count,) int64."""
    return torch.randperm(count, generator=generator(*words))


def normal(size: tuple[int, ...], dtype: torch.dtype, *words: int) -> Tensor:
    """Standard normal draws."""
    return torch.randn(size, generator=generator(*words), dtype=dtype)
