"""Climbing each row's own bound until it stops rising; rows that are done leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import torch
from torch import Tensor

from closegap_core.config import OptimumConfig, RefinerConfig
from closegap_core.inference.refiners import Adam, State
from closegap_core.ops import TORCH


class Hill(NamedTuple):
    """Bounds of rows as functions of each row's own values. rows: their numbers (R,); values: (R, D).

    gradient: at the t-th step of the i-th learning rate, given (i, t), from draws that all rows share, so that no
    row depends on its batch. bound: (R,) nats, by draws that are the same whenever it is asked, so that what it says
    of two places of a row differs by little more than they do. within: values kept in their bounds.
    """

    gradient: Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
    bound: Callable[[Tensor, Tensor], Tensor]
    within: Callable[[Tensor], Tensor] = lambda values: values


class Summit(NamedTuple):
    """Where each row's ascent ended: values (B, D), their bound (B,), whether it had stopped rising (B,)."""

    values: Tensor
    bound: Tensor
    converged: Tensor


class _Climber(NamedTuple):
    """The rows that still rise: their numbers (R,), values (R, D), Adam's state, windows without a rise (R,).

    tail: the mean of the last windows (R, D), so many of them (R,).
    """

    rows: Tensor
    at: Tensor
    state: State
    failures: Tensor
    tail: Tensor
    windows: Tensor

    @classmethod
    def of(cls, values: Tensor) -> _Climber:
        """All rows, at the foot."""
        zeros, none = torch.zeros_like(values), torch.zeros(len(values), dtype=torch.int64)
        return cls(torch.arange(len(values)), values, State(zeros, zeros, 0), none, zeros, none)

    def keep(self, chosen: Tensor) -> _Climber:
        state = State(self.state.first[chosen], self.state.second[chosen], self.state.steps)
        others = (self.failures, self.tail, self.windows)
        return _Climber(self.rows[chosen], self.at[chosen], state, *(value[chosen] for value in others))


def climb(start: Tensor, hill: Hill, config: OptimumConfig) -> Generator[int, None, Summit]:
    """From `start` (B, D) by Adam, one learning rate after the other; yields the row steps made.

    The stopping rule is that of Cremer et al. 2018, for each row by itself: the bound must rise from window to window,
    or a failure is counted; after `patience` failures in a row the next learning rate goes on. Judged are the means of
    the places that a window, and the windows before it, passed through (Polyak & Juditsky 1992), and a row ends at the
    best of them.
    """
    nobody = torch.zeros(len(start), dtype=torch.bool)
    summit = Summit(start, hill.bound(torch.arange(len(start)), start), nobody)
    left, made = torch.full((len(start),), config.max_steps), 0
    for index, rate in enumerate(config.learning_rates):
        summit = summit._replace(converged=nobody)
        climber = _Climber.of(summit.values).keep(left >= config.window)
        while len(climber.rows):
            rows = climber.rows
            climber, mean = _window(climber, hill, config, index, Adam(RefinerConfig(learning_rate=rate)))
            summit, climber = _judge(summit, climber, mean, hill, config)
            left[rows] -= config.window
            made += config.window * len(rows)
            climber = climber.keep((climber.failures < config.patience) & (left[rows] >= config.window))
            yield made
    return summit


def _window(
    climber: _Climber, hill: Hill, config: OptimumConfig, index: int, adam: Adam
) -> tuple[_Climber, Tensor]:
    """So many steps, and the mean of the places they led to."""
    at, state, total = climber.at, climber.state, torch.zeros_like(climber.at)
    for _ in range(config.window):
        gradient = hill.gradient(climber.rows, at, (index, state.steps))
        increment, state = adam.step(TORCH, at, gradient, state)
        at, state = hill.within(at + increment), state._replace(steps=state.steps + 1)
        total += at
    return climber._replace(at=at, state=state), total / config.window


def _judge(
    summit: Summit, climber: _Climber, mean: Tensor, hill: Hill, config: OptimumConfig
) -> tuple[Summit, _Climber]:
    """The best places so far, and the failures counted. While a row rises its tail is the last window alone."""
    rows, windows = climber.rows, climber.windows + 1
    tail = climber.tail + (mean - climber.tail) / windows[:, None]
    of_mean, of_tail = hill.bound(rows, mean), hill.bound(rows, tail)
    alone = of_mean > of_tail
    tail, bound = torch.where(alone[:, None], mean, tail), torch.where(alone, of_mean, of_tail)
    before = summit.bound[rows]
    better = bound > before
    failures = torch.where(bound > before + config.tolerance, 0, climber.failures + 1)
    return Summit(
        summit.values.index_copy(0, rows[better], tail[better]),
        summit.bound.index_copy(0, rows[better], bound[better]),
        summit.converged.index_copy(0, rows, failures >= config.patience),
    ), climber._replace(failures=failures, tail=tail, windows=torch.where(alone, 1, windows))
