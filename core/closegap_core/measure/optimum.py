"""The best member q* of the family for each row: Adam on q until the bound stops rising."""

from __future__ import annotations

from collections.abc import Generator
from typing import final

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import OptimumConfig
from closegap_core.errors import NumericalError
from closegap_core.inference.refiners import GRADIENT_ONLY
from closegap_core.measure.ascent import Hill, climb
from closegap_core.measure.moments import Columns
from closegap_core.measure.stage import Found, Stage, counted
from closegap_core.measure.subject import Portion
from closegap_core.model import Model
from closegap_core.ops import TORCH
from closegap_core.posterior import LOG_VAR_BOUND, Posterior

ROWS = 50
"""Rows that climb together."""
JUDGED = 128
"""Draws by which two places of a row are compared."""


@torch.no_grad()
def optimum(
    model: Model, x: Tensor, start: Posterior, config: OptimumConfig, seed: int
) -> Generator[int, None, tuple[Posterior, Tensor]]:
    """q* of rows x (B, X) from `start`, and whether each row's bound had stopped rising, (B,).

    Yields the row steps made. Raises NumericalError when the bound of a row is not finite.
    """
    generative, theta = model.generative, model.theta.views

    def noise(count: int, *words: int) -> Tensor:
        half = seeds.normal((max(1, count // 2), 1, generative.latent), model.dtype, seed, seeds.GAPS, *words)
        return torch.cat([half, -half]).to(x.device)

    def gradient(rows: Tensor, values: Tensor, step: tuple[int, int]) -> Tensor:
        draw, q = noise(config.samples, 2, *step), Posterior(*values.chunk(2, -1))
        signals = generative.signals(TORCH, theta, x[rows], q, draw, draw.shape[0], GRADIENT_ONLY)
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        return torch.cat(signals.gradient, -1)

    judged = noise(JUDGED, 7)

    def bound(rows: Tensor, values: Tensor) -> Tensor:
        q = Posterior(*values.chunk(2, -1))
        elbo: Tensor = generative.bound(TORCH, theta, x[rows], q, judged, judged.shape[0]).elbo
        return elbo

    summit = yield from climb(torch.cat(start, -1), Hill(gradient, bound, _within), config)
    if not bool(summit.bound.isfinite().all()):
        row = int((~summit.bound.isfinite()).nonzero()[0])
        raise NumericalError(f"the bound of row {row} of {len(x)} is not finite at its best q")
    mean, log_var = summit.values.chunk(2, -1)
    return Posterior(mean, log_var), summit.converged


def _within(values: Tensor) -> Tensor:
    mean, log_var = values.chunk(2, -1)
    return torch.cat([mean, log_var.clamp(-LOG_VAR_BOUND, LOG_VAR_BOUND)], -1)


def stage_of(portion: Portion) -> str:
    """The name of the stage that finds q* of these rows."""
    return f"optimum.{portion.name}"


def best_of(found: Found, portion: Portion, rows: range) -> Posterior:
    """q* of these rows, as the stage `Optimum` found it."""
    columns = found(stage_of(portion), rows)
    return Posterior(*(torch.from_numpy(columns[name]) for name in ("mean", "log_var")))


@final
class Optimum(Stage):
    """q* of each row, from where the model's own iterations end."""

    def __init__(self, portion: Portion, config: OptimumConfig) -> None:
        self.portion, self.config = portion, config
        self.name, self.rows = stage_of(portion), portion.size
        self.chunk = ROWS
        steps = len(config.learning_rates) * config.window * (config.patience + 2)
        self.cost = 2 * config.samples * min(steps, config.max_steps)

    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        portion, passes = self.portion, 2 * self.config.samples
        batch = portion.batch(rows)
        work = optimum(portion.model, batch.x, portion.infer(batch), self.config, portion.seed)
        best, converged = yield from counted(work, lambda made: passes * made // len(rows), self.cost)
        columns = {"mean": best.mean, "log_var": best.log_var, "converged": converged}
        return {name: values.numpy() for name, values in columns.items()}
