"""Refiners: rules that move each row's own q along the gradient of its ELBO, one decoder pass a sample and step.

What the field calls stochastic variational inference with an optimizer (Hoffman et al. 2013), started anywhere: from
the prior, or from what an encoder proposes. Gradients are each row's own, so a learning rate means the same at every
batch size. To add one: a subclass, its name in `config.RefinerConfig`, and its line in `REFINERS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import RefinerConfig
from closegap_core.generative import GenerativeModel, Wanted
from closegap_core.inference.base import Noise, Parameters
from closegap_core.inference.draws import DRAWS
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import LOG_VAR_BOUND, Posterior

GRADIENT_ONLY = Wanted(gradient=True, error=False)


class State(NamedTuple):
    """Running averages of a rule, (B, 2 Z) each, and the steps taken."""

    first: Tensor
    second: Tensor
    steps: int


class Reached(NamedTuple):
    """A value (B, 2 Z) and the state there; of the step to it, the gradient (B, 2 Z) and its draws (S, B, Z)."""

    value: Tensor
    state: State
    gradient: Tensor | None = None
    draw: Tensor | None = None


class Refiner(ABC):
    """One rule. Values are [mean, log_var] (B, 2 Z)."""

    kind: ClassVar[str]

    def __init__(self, config: RefinerConfig) -> None:
        self.rate, self.momentum, self.clip = config.learning_rate, config.momentum, config.clip

    def look_ahead(self, value: Tensor, state: State) -> Tensor:
        """Where the gradient is taken; the value itself unless a rule says otherwise."""
        return value

    @abstractmethod
    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        """The increment (B, 2 Z) from the ascent direction at `look_ahead`, and the next state."""

    @final
    def advance(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        """The next value, its log-variances kept in [-15, 15], and the next state."""
        increment, state = self.step(value, self._shortened(gradient), state)
        mean, log_var = (value + increment).chunk(2, -1)
        value = torch.cat([mean, log_var.clamp(-LOG_VAR_BOUND, LOG_VAR_BOUND)], -1)
        return value, state._replace(steps=state.steps + 1)

    def _shortened(self, gradient: Tensor) -> Tensor:
        """Each row's gradient, its norm at most `clip`."""
        if self.clip is None:
            return gradient
        norm: Tensor = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
        shortened: Tensor = gradient * (self.clip / norm.clamp(min=self.clip))
        return shortened


@final
class Sgd(Refiner):
    """Plain gradient ascent."""

    kind = "sgd"

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        return self.rate * gradient, state


@final
class Momentum(Refiner):
    """Heavy-ball momentum (Polyak 1964)."""

    kind = "momentum"

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        velocity = self.momentum * state.first + gradient
        return self.rate * velocity, state._replace(first=velocity)


@final
class RmsProp(Refiner):
    """Division by a running root mean square with decay 0.99 (Hinton 2012)."""

    kind = "rmsprop"

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        second = 0.99 * state.second + 0.01 * gradient.square()
        return self.rate * gradient / (_root(second) + 1e-8), state._replace(second=second)


@final
class Adam(Refiner):
    """Adam with decays 0.9 and 0.999 (Kingma & Ba 2015)."""

    kind = "adam"

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        t = state.steps + 1
        first = 0.9 * state.first + 0.1 * gradient
        second = 0.999 * state.second + 0.001 * gradient.square()
        size = _root(second / (1 - 0.999**t)) + 1e-8
        return self.rate * (first / (1 - 0.9**t)) / size, State(first, second, state.steps)


@final
class Natural(Refiner):
    """The mean along its natural gradient sigma^2 dL/dmean (Amari 1998) with look-ahead momentum (Nesterov 1983).

    The variance that an encoder proposes is the preconditioner, which is why a few steps are worth many of Adam's.
    The log-variance moves a tenth as fast: with few samples its gradient is mostly noise.
    """

    kind = "natural"
    LOG_VAR_SHARE = 0.1

    def look_ahead(self, value: Tensor, state: State) -> Tensor:
        return value + self._warm(state) * state.first

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        mean, log_var = gradient.chunk(2, -1)
        variance = value.chunk(2, -1)[1].exp()
        along = torch.cat([variance * mean, (2.0 * self.LOG_VAR_SHARE * log_var).clamp(-1.0, 1.0)], -1)
        velocity = self._warm(state) * state.first + self.rate * along
        return velocity, state._replace(first=velocity)

    def _warm(self, state: State) -> float:
        """No momentum at first, all of it from the third step."""
        return self.momentum * min(1.0, state.steps / 2)


@final
class Newton(Refiner):
    """Variational online Newton (Khan et al. 2018) for a few steps from an encoder's proposal.

    The mean moves along its natural gradient sigma^2 dL/dmean with look-ahead momentum. Rate and momentum fall as
    1 / (1 + t / anneal): late steps average the noise of the gradient in place of following it. The precision is a
    running mean of what the draws say of the curvature, (1 - 2 dL/dlog_var) / sigma^2 (Price's theorem, as in
    Opper & Archambeau 2009), where the precision that it starts from counts for `trust` steps.
    """

    kind = "newton"
    LEAST = 0.25
    """Of itself, that is left of the precision after any step."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__(config)
        self.anneal, self.trust = config.anneal, config.trust

    def look_ahead(self, value: Tensor, state: State) -> Tensor:
        return value + self._fallen(self.momentum, state) * state.first

    def step(self, value: Tensor, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        d_mean, d_log_var = gradient.chunk(2, -1)
        log_var = value.chunk(2, -1)[1]
        variance = log_var.exp()
        counted = (self.trust / variance) if state.steps == 0 else state.second.chunk(2, -1)[1]
        counted = counted + (1.0 - 2.0 * d_log_var) / variance
        precision = torch.maximum(counted / (self.trust + state.steps + 1), self.LEAST / variance)
        rate, momentum = self._fallen(self.rate, state), self._fallen(self.momentum, state)
        velocity = momentum * state.first.chunk(2, -1)[0] + rate * variance * d_mean
        still = torch.zeros_like(velocity)
        kept = State(torch.cat([velocity, still], -1), torch.cat([still, counted], -1), state.steps)
        return torch.cat([velocity, -precision.log() - log_var], -1), kept

    def _fallen(self, start: float, state: State) -> float:
        return start / (1.0 + state.steps / self.anneal)


def _root(square: Tensor) -> Tensor:
    """The square root, whose derivative at 0 counts as 0: a direction without gradient must not give NaN to who
    differentiates through it (a KL that is free, or not yet counted, leaves the top level without one)."""
    positive = square > 0
    return torch.where(positive, square, 1.0).sqrt() * positive


REFINERS: dict[str, Callable[[RefinerConfig], Refiner]] = {
    refiner.kind: refiner for refiner in (Sgd, Momentum, RmsProp, Adam, Natural, Newton)
}


def refine(
    generative: GenerativeModel,
    theta: Parameters,
    x: Tensor,
    start: Posterior,
    noise: Noise,
    config: RefinerConfig,
    objective: Objective = ELBO,
) -> Iterator[Posterior]:
    """q after 0, 1, 2, … steps from `start`, endless; log-variances are kept in [-15, 15].

    Differentiable where gradients are enabled: a semi-amortized encoder learns through it.
    """
    for step in steps(generative, theta, x, start, noise, config, objective):
        yield Posterior(*step.value.chunk(2, -1))


def steps(
    generative: GenerativeModel,
    theta: Parameters,
    x: Tensor,
    start: Posterior,
    noise: Noise,
    config: RefinerConfig,
    objective: Objective = ELBO,
) -> Iterator[Reached]:
    """As `refine`, with what led from each value to the next."""
    refiner, draws = REFINERS[config.kind](config), DRAWS[config.draws]
    value = torch.cat(start, -1)
    reached = Reached(value, State(torch.zeros_like(value), torch.zeros_like(value), 0))
    while True:
        yield reached
        value, state = reached.value, reached.state
        ahead, draw = refiner.look_ahead(value, state), draws(noise(state.steps))
        at = Posterior(*ahead.chunk(2, -1))
        signals = generative.signals(TORCH, theta, x, at, draw, draw.shape[0], GRADIENT_ONLY, objective)
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        gradient = torch.cat(signals.gradient, -1)
        reached = Reached(*refiner.advance(value, gradient, state), gradient, draw)
