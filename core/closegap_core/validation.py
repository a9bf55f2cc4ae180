"""The ELBO by inference iteration on held-out rows, the same draws every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.generative import Bound
from closegap_core.inference.base import Noise
from closegap_core.model import Model
from closegap_core.posterior import Posterior


class Batch(NamedTuple):
    """Rows first … first + B of a part, x (B, X)."""

    first: int
    x: Tensor


def batches(rows: Tensor, size: int) -> Iterator[Batch]:
    """Consecutive batches, the last one ragged."""
    for first in range(0, rows.shape[0], size):
        yield Batch(first, rows[first : first + size])


class Draws(NamedTuple):
    """Noise of a batch as a function of (words, position of the batch, iteration): restarts give the same.

    width: values a draw takes, Z or a model's noise_width.
    """

    samples: int
    width: int
    dtype: torch.dtype
    words: tuple[int, ...]

    def inference(self, batch: Batch) -> Noise:
        """Noise of the iterations."""
        return lambda t: self._draw(batch, 0, t)

    def measure(self, batch: Batch, t: int) -> Tensor:
        """Noise with which the ELBO at iteration t is estimated, independent of the iterations' own."""
        return self._draw(batch, 1, t)

    def _draw(self, batch: Batch, use: int, t: int) -> Tensor:
        size = (self.samples, batch.x.shape[0], self.width)
        return seeds.normal(size, self.dtype, *self.words, batch.first, use, t).to(batch.x.device)


def curve(
    model: Model, batch: Batch, inference: Draws, measure: Draws, iterations: int
) -> Iterator[tuple[Posterior, Bound]]:
    """q and its ELBO at iterations 0 … iterations; the bound of each row, nats."""
    walk = model.posteriors(batch.x, inference.inference(batch), iterations)
    for t, q in enumerate(walk):
        yield q, model.bound(batch.x, q, measure.measure(batch, t))
