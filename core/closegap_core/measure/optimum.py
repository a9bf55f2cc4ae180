"""The best member q* of the family for each row: Adam on q until the bound stops rising."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import OptimumConfig, RefinerConfig
from closegap_core.inference.refiners import refine
from closegap_core.model import Model
from closegap_core.posterior import Posterior

T = TypeVar("T")


@torch.no_grad()
def optimum(
    model: Model, x: Tensor, start: Posterior, config: OptimumConfig, seed: int
) -> tuple[Posterior, bool]:
    """q* of rows x (B, X) from `start`, all rows at once, and whether the last rate's bound stopped rising."""

    def noise(index: int, t: int) -> Tensor:
        size = (max(1, config.samples // 2), *start.mean.shape)
        half = seeds.normal(size, model.dtype, seed, seeds.GAPS, 2, index, t).to(x.device)
        return torch.cat([half, -half])

    def walk(index: int, rate: float, q: Posterior) -> Iterator[Posterior]:
        refiner = RefinerConfig(kind="adam", learning_rate=rate)
        return refine(model.generative, model.theta.views, x, q, lambda t: noise(index, t), refiner)

    def bound(index: int, t: int, q: Posterior) -> float:
        return float(model.bound(x, q, noise(index, t)).elbo.mean())

    return climb(start, walk, bound, config)


def climb(
    start: T,
    walk: Callable[[int, float, T], Iterator[T]],
    bound: Callable[[int, int, T], float],
    config: OptimumConfig,
) -> tuple[T, bool]:
    """Where the ascent from `start` ends, and whether the bound stopped rising at the last rate.

    The stopping rule is that of Cremer et al. 2018: the bound averaged over a window must rise, or a failure is
    counted; after `patience` failures in a row the next learning rate goes on from there. `walk(index, rate, from)`
    gives what an ascent at the index-th rate passes through, and `bound(index, t, at)` is measured after t steps.
    """
    at, left, converged = start, config.max_steps, False
    for index, rate in enumerate(config.learning_rates):
        at, taken, converged = _until_flat(at, walk(index, rate, at), partial(bound, index), config, left)
        left -= taken
    return at, converged


def _until_flat(
    start: T, walk: Iterator[T], bound: Callable[[int, T], float], config: OptimumConfig, left: int
) -> tuple[T, int, bool]:
    best, failures, at, steps = float("-inf"), 0, start, 0
    while failures < config.patience and steps + config.window <= left:
        total = 0.0
        for t, at in enumerate(itertools.islice(walk, config.window)):
            if t % 10 == 0:  # every tenth step is enough for an average and costs a tenth
                total += bound(steps + t, at)
        steps += config.window
        failures = 0 if total > best else failures + 1
        best = max(best, total)
    return at, steps, failures >= config.patience
