"""Refiners: rules that move each row's own q along the gradient of its ELBO, one decoder pass a sample and step.

What the field calls stochastic variational inference with an optimizer (Hoffman et al. 2013), started anywhere: from
the prior, or from what an encoder proposes. Gradients are each row's own, so a learning rate means the same at every
batch size. A rule is written in the vocabulary of `ops`: it runs on torch, and exported files hold the same steps.
To add one: a subclass, its name in `config.RefinerConfig`, and its line in `REFINERS`.
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
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.posterior import LOG_VAR_BOUND, Posterior

GRADIENT_ONLY = Wanted(gradient=True, error=False)


class State(NamedTuple):
    """Running averages of a rule, (B, 2 Z) each, and the steps taken: a number, or a scalar of the graph."""

    first: Value
    second: Value
    steps: Value


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

    def begin(self, ops: Ops, value: Value) -> State:
        """Before the first step from `value`; nothing averaged unless a rule says otherwise."""
        return State(ops.zeros(value), ops.zeros(value), 0)

    def look_ahead(self, ops: Ops, value: Value, state: State) -> Value:
        """Where the gradient is taken; the value itself unless a rule says otherwise."""
        return value

    @abstractmethod
    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """The increment (B, 2 Z) from the ascent direction at `look_ahead`, and the next state."""

    @final
    def advance(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        """The next value, its log-variances kept in [-15, 15], and the next state."""
        increment, state = self.step(ops, value, self._shortened(ops, gradient), state)
        mean, log_var = ops.halves(value + increment)
        value = ops.concat([mean, ops.clip(log_var, -LOG_VAR_BOUND, LOG_VAR_BOUND)])
        return value, state._replace(steps=state.steps + 1)

    def _shortened(self, ops: Ops, gradient: Value) -> Value:
        """Each row's gradient, its norm at most `clip`."""
        if self.clip is None:
            return gradient
        return gradient * (self.clip / ops.maximum(ops.norm_last(gradient), self.clip))


@final
class Sgd(Refiner):
    """Plain gradient ascent."""

    kind = "sgd"

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        return self.rate * gradient, state


@final
class Momentum(Refiner):
    """Heavy-ball momentum (Polyak 1964)."""

    kind = "momentum"

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        velocity = self.momentum * state.first + gradient
        return self.rate * velocity, state._replace(first=velocity)


@final
class RmsProp(Refiner):
    """Division by a running root mean square with decay 0.99 (Hinton 2012)."""

    kind = "rmsprop"

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        second = 0.99 * state.second + 0.01 * ops.square(gradient)
        return self.rate * gradient / (ops.root(second) + 1e-8), state._replace(second=second)


@final
class Adam(Refiner):
    """Adam with decays 0.9 and 0.999 (Kingma & Ba 2015)."""

    kind = "adam"

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        t = state.steps + 1
        first = 0.9 * state.first + 0.1 * gradient
        second = 0.999 * state.second + 0.001 * ops.square(gradient)
        size = ops.root(second / ops.bias_correction(0.999, t)) + 1e-8
        return self.rate * (first / ops.bias_correction(0.9, t)) / size, State(first, second, state.steps)


@final
class Natural(Refiner):
    """The mean along its natural gradient sigma^2 dL/dmean (Amari 1998) with look-ahead momentum (Nesterov 1983).

    The variance that an encoder proposes is the preconditioner, which is why a few steps are worth many of Adam's.
    The log-variance moves a tenth as fast: with few samples its gradient is mostly noise.
    """

    kind = "natural"
    LOG_VAR_SHARE = 0.1

    def look_ahead(self, ops: Ops, value: Value, state: State) -> Value:
        return value + self._warm(ops, state) * state.first

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        mean, log_var = ops.halves(gradient)
        variance = ops.exp(ops.halves(value)[1])
        along = ops.concat([variance * mean, ops.clip(2.0 * self.LOG_VAR_SHARE * log_var, -1.0, 1.0)])
        velocity = self._warm(ops, state) * state.first + self.rate * along
        return velocity, state._replace(first=velocity)

    def _warm(self, ops: Ops, state: State) -> Value:
        """No momentum at first, all of it from the third step."""
        return self.momentum * ops.minimum(state.steps / 2, 1.0)


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

    def begin(self, ops: Ops, value: Value) -> State:
        """The precision that it starts from is counted already."""
        still = ops.zeros(value)
        mean, log_var = ops.halves(value)
        return State(still, ops.concat([ops.zeros(mean), self.trust / ops.exp(log_var)]), 0)

    def look_ahead(self, ops: Ops, value: Value, state: State) -> Value:
        return value + self._fallen(self.momentum, state) * state.first

    def step(self, ops: Ops, value: Value, gradient: Value, state: State) -> tuple[Value, State]:
        d_mean, d_log_var = ops.halves(gradient)
        log_var = ops.halves(value)[1]
        variance = ops.exp(log_var)
        counted = ops.halves(state.second)[1] + (1.0 - 2.0 * d_log_var) / variance
        precision = ops.maximum(counted / (self.trust + state.steps + 1), self.LEAST / variance)
        rate, momentum = self._fallen(self.rate, state), self._fallen(self.momentum, state)
        velocity = momentum * ops.halves(state.first)[0] + rate * variance * d_mean
        still = ops.zeros(velocity)
        kept = State(ops.concat([velocity, still]), ops.concat([still, counted]), state.steps)
        return ops.concat([velocity, -ops.log(precision) - log_var]), kept

    def _fallen(self, start: float, state: State) -> Value:
        return start / (1.0 + state.steps / self.anneal)


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
    reached = Reached(value, refiner.begin(TORCH, value))
    while True:
        yield reached
        value, state = reached.value, reached.state
        ahead, draw = refiner.look_ahead(TORCH, value, state), draws(noise(state.steps))
        at = Posterior(*ahead.chunk(2, -1))
        signals = generative.signals(TORCH, theta, x, at, draw, draw.shape[0], GRADIENT_ONLY, objective)
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        gradient = torch.cat(signals.gradient, -1)
        reached = Reached(*refiner.advance(TORCH, value, gradient, state), gradient, draw)
