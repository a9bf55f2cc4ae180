"""The best member q* of the family for each row: Adam on q until the bound stops rising."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import OptimumConfig, RefinerConfig
from closegap_core.inference.refiners import refine
from closegap_core.model import Model
from closegap_core.posterior import Posterior


@torch.no_grad()
def optimum(
    model: Model, x: Tensor, start: Posterior, config: OptimumConfig, seed: int
) -> tuple[Posterior, bool]:
    """q* of rows x (B, X) from `start`, all rows at once, and whether the last rate's bound stopped rising.

    The stopping rule is that of Cremer et al. 2018: the bound averaged over a window must rise, or a failure is
    counted; after `patience` failures in a row the next learning rate goes on from there. Draws are antithetic.
    """
    q, steps = start, 0
    for index, rate in enumerate(config.learning_rates):
        q, taken, converged = _until_flat(
            model, x, q, rate, config, (seed, seeds.GAPS, 2, index), config.max_steps - steps
        )
        steps += taken
    return q, converged


def _until_flat(
    model: Model,
    x: Tensor,
    start: Posterior,
    rate: float,
    config: OptimumConfig,
    words: tuple[int, ...],
    left: int,
) -> tuple[Posterior, int, bool]:
    def noise(t: int) -> Tensor:
        half = seeds.normal((max(1, config.samples // 2), *start.mean.shape), model.dtype, *words, t).to(
            x.device
        )
        return torch.cat([half, -half])

    walk = refine(
        model.generative, model.theta.views, x, start, noise, RefinerConfig(kind="adam", learning_rate=rate)
    )
    best, failures, q, steps = float("-inf"), 0, start, 0
    while failures < config.patience and steps + config.window <= left:
        total = 0.0
        for t, q in enumerate(itertools.islice(walk, config.window)):
            if t % 10 == 0:  # every tenth step is enough for an average and costs a tenth
                total += float(model.bound(x, q, noise(steps + t)).elbo.mean())
        steps += config.window
        failures = 0 if total > best else failures + 1
        best = max(best, total)
    return q, steps, failures >= config.patience
