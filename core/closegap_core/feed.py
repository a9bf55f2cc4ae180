"""What a model is fed at each step, as functions of (seed, step): nothing to save, nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.data import Dataset
from closegap_core.data.dequantise import spread
from closegap_core.data.draw import draw_of
from closegap_core.model import Model


class Piece(NamedTuple):
    """One tensor that a step reads. `extra` steps of the encoder follow in this step; t: the iteration of noise.

    The weight of the KL is one where a recorded step reads it; `Feed` does not know it.
    """

    kind: Literal["rows", "noise", "simulated rows", "simulated noise", "kl weight"]
    extra: int = 0
    t: int = 0


Fed = Callable[[Piece], Tensor]
"""What one rank's step reads: rows (B, X), noise (S, B, noise_width), B its rows."""


@final
class Feed:
    """Rows, their draws and noise of whole batches, equal for all ranks; on the host."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.rows = dataset.train.rows  # one batch at a time becomes a tensor
        self.seed, self.batch_size = config.training.seed, config.training.batch_size
        self.draw = draw_of(config.model.likelihood, dataset.binarise)
        self.samples = config.inference.samples
        self.steps_per_epoch = math.ceil(len(self.rows) / self.batch_size)
        self._order = (-1, torch.empty(0, dtype=torch.int64))

    def batch(self, step: int) -> Tensor:
        """The rows of a step as the model sees them this time, (B, X); the last batch of an epoch is ragged."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, seeds.permutation(len(self.rows), self.seed, seeds.ORDER, epoch)
        index = self._order[1][position * self.batch_size :][: self.batch_size]
        return self._drawn(torch.from_numpy(self.rows[index.numpy()]), step)

    def _drawn(self, rows: Tensor, step: int) -> Tensor:
        if self.draw == "none":
            return rows
        uniform = torch.rand(rows.shape, generator=seeds.generator(self.seed, seeds.DATA, step))
        if self.draw == "binarise":
            return (uniform < rows).to(rows.dtype)
        drawn: Tensor = spread(rows, uniform, legacy=self.draw == "dequantise_legacy")
        return drawn

    def serve(self, model: Model, step: int, batch: Tensor, mine: slice) -> Fed:
        """The rows `mine` of all that a step on `batch` reads; simulated rows are those of theta when they are read."""
        count = len(batch)

        def fed(piece: Piece) -> Tensor:
            kind, extra, t = piece
            if kind == "rows":
                return batch[mine]
            if kind == "noise":
                return self.noise(model, step, t, count, extra)[:, mine]
            if kind == "simulated rows":
                return self.simulated(model, step, count, extra)[mine]
            if kind == "simulated noise":
                return self.simulated_noise(model, step, t, count, extra)[:, mine]
            raise ValueError(f"a batch has no {kind}")

        return fed

    def noise(self, model: Model, step: int, t: int, count: int, extra: int) -> Tensor:
        """Of iteration t for `count` rows, (S, B, noise_width); `extra` encoder steps follow in this step."""
        words = (seeds.NOISE, step, t, *([extra] if extra else []))
        return self._normal(model, count, *words)

    def simulated(self, model: Model, step: int, count: int, extra: int) -> Tensor:
        """Rows (B, X) simulated from the model as it stands."""
        return model.simulate(count, self.seed, seeds.SIMULATION, step, extra)[1]

    def simulated_noise(self, model: Model, step: int, t: int, count: int, extra: int) -> Tensor:
        """As `noise`, for the simulated rows."""
        return self._normal(model, count, seeds.SIMULATION, step, extra, 0, t)

    def _normal(self, model: Model, count: int, *words: int) -> Tensor:
        return seeds.normal((self.samples, count, model.noise_width), model.dtype, self.seed, *words)
