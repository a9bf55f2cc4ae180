"""Iterative amortized inference: signals of the ELBO to the next q (Marino, Yue & Mandt 2018)."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from closegap_core.config import IterativeConfig, IterativeStart
from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel, Signals, Wanted
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.averaging import averaged
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.level import LevelEncoder, LevelStep, by_level
from closegap_core.inference.start import Start
from closegap_core.inputs import Inputs
from closegap_core.networks import Moment
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior

LOSS_WEIGHTS: dict[str, Callable[[int, int], float]] = {
    "uniform": lambda t, count: 1.0,
    "linear": lambda t, count: 2.0 * t / (count + 1),
    "last": lambda t, count: float(count) if t == count else 0.0,
}
"""What iteration t of T = count weighs in phi's gradient, a mean over iterations; the weights have mean one."""


class Iterate(NamedTuple):
    """Where inference stands: q, and what recurrent encoders left there, (B, `state_width`), None without any."""

    q: Posterior
    state: Value | None


class Iteration(NamedTuple):
    """One update of q, all levels together, and what each level's backward needs."""

    after: Iterate
    levels: tuple[LevelStep, ...]

    @property
    def q(self) -> Posterior:
        """The q it reached."""
        return self.after.q


class Amortized(InferenceMethod, ABC):
    """An encoder a level, run once an iteration; how they learn is a subclass's. Iteration 0 is what `start` proposes.

    A start that learns does so from the ELBO at its own q. It takes noise(0), and iteration t then noise(t + 1).
    """

    def __init__(
        self, config: IterativeStart, hierarchy: Hierarchy, inputs: Inputs, start: Start, prefix: str = ""
    ) -> None:
        """prefix: of the names of the encoder's parameters."""
        self.start, self.later = start, int(start.learns)
        self.draws = self.later + config.iterations
        self.iterations, self.hierarchy, self.inputs = config.iterations, hierarchy, inputs
        self.average = isinstance(config, IterativeConfig) and config.average
        self.latent = sum(hierarchy.latents)
        networks = config.networks(hierarchy.depth)
        self.levels = tuple(
            LevelEncoder(config, network, hierarchy, i, prefix) for i, network in enumerate(networks)
        )
        self.loss_weights = LOSS_WEIGHTS[config.loss_weights]
        self.sees_data = any(level.sees_data for level in self.levels)
        self.state_widths = [level.network.state_width for level in self.levels]
        self.wanted = Wanted(
            gradient="gradient" in config.encode or self.levels[0].rule.needs_gradient,
            error="error" in config.encode,
        )

    def shapes(self) -> Sequence[Shape]:
        shapes = [shape for level in self.levels for shape in level.network.shapes()]
        if self.sees_data:
            shapes += self.inputs.shapes(self.hierarchy.width)
        # What start and encoder both know of the training rows is there once.
        return list(dict.fromkeys([*shapes, *self.start.shapes()]))

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.start.prepare(phi, rows)
        if self.sees_data:
            self.inputs.fit(phi, rows)

    def constant(self, ops: Ops, phi: Mapping[str, Value], x: Value) -> tuple[Value | None, ...]:
        """What each level's first layer makes of x alone, (B, k H); None where it does not see the data."""
        if not self.sees_data:
            return (None,) * len(self.levels)
        seen = self.inputs.apply(ops, phi, x)
        return tuple(
            level.network.partial(ops, phi, 0, seen) if level.sees_data else None for level in self.levels
        )

    @property
    def state_width(self) -> int:
        """Values a row that recurrent encoders carry from one iteration to the next, all levels together."""
        return sum(self.state_widths)

    def first(self, q: Posterior) -> Iterate:
        """Iteration 0 at q (B, Z): recurrent encoders remember nothing."""
        width = self.state_width
        return Iterate(q, q.mean.new_zeros(q.mean.shape[0], width) if width else None)

    def update(
        self,
        ops: Ops,
        phi: Mapping[str, Value],
        constant: tuple[Value | None, ...],
        signals: Signals,
        before: Iterate,
        t: Value,
        learning: bool = False,
    ) -> Iteration:
        """One inference iteration, level by level from the data up: iterate t and the signals at it -> the next.

        learning: the rows are a training batch, whose own statistics count where there is batch normalisation.
        """
        split, q = self.hierarchy.split, before.q
        estimates = [
            Posterior(*parts) for parts in zip(split(ops, q.mean), split(ops, q.log_var), strict=True)
        ]
        shares, states = by_level(ops, self.hierarchy, signals), self._states(ops, before.state)
        upward: list[Value] = []
        steps: list[LevelStep] = []
        for level, known, share, estimate, state in zip(
            self.levels, constant, shares, estimates, states, strict=True
        ):
            moment = Moment(t, state, learning)
            steps.append(level.update(ops, phi, known, share, estimate, upward, moment))
            upward.append(steps[-1].upward)
        after = Posterior(
            ops.concat([step.step.q.mean for step in steps]),
            ops.concat([step.step.q.log_var for step in steps]),
        )
        left = [step.passed.state for step in steps if step.passed.state is not None]
        return Iteration(Iterate(after, ops.concat(left) if left else None), tuple(steps))

    def _states(self, ops: Ops, state: Value | None) -> list[Value | None]:
        """Each level's share."""
        if state is None:
            return [None] * len(self.levels)
        kept = [width for width in self.state_widths if width]
        parts = iter(ops.split(state, kept) if len(kept) > 1 else (state,))
        return [next(parts) if width else None for width in self.state_widths]

    def passes(self, t: int, samples: int) -> int:
        return t * samples if self.wanted.gradient or self.wanted.error else 0

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        at, t = self.first(self.start.at(generative, theta, phi, x, noise).q), 0
        constant, q = self.constant(TORCH, phi, x), at.q
        while True:
            yield q
            signals = self._signals(generative, theta, x, at.q, noise, t, self.wanted)
            at, t = self.update(TORCH, phi, constant, signals, at, t).after, t + 1
            q = averaged(TORCH, q, at.q, t - self.iterations) if self.average else at.q

    def _signals(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Noise,
        t: int,
        wanted: Wanted,
        objective: Objective = ELBO,
    ) -> Signals:
        """Signals at q of iteration t."""
        if not (wanted.gradient or wanted.error):
            return Signals(None, None)
        draw = noise(t + self.later)
        return generative.signals(TORCH, theta, x, q, draw, draw.shape[0], wanted, objective)

    def _begin(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: Parameters,
        x: Tensor,
        noise: Noise,
        lesson: Lesson,
    ) -> tuple[Posterior, Signals]:
        """q of iteration 0 and the signals there, from which the start learns; theta does not."""
        proposal = self.start.at(generative, theta, phi, x, noise)
        wanted = self.wanted._replace(gradient=True) if self.start.learns else self.wanted
        signals = self._signals(generative, theta, x, proposal.q, noise, 0, wanted, lesson.objective)
        if self.start.learns:
            goal = generative.goal(theta, x, proposal.q, noise(self.later), signals, lesson.objective)
            self.start.backward(generative, theta, phi, (None, grads), x, proposal, goal, lesson.scale)
        return proposal.q, self._encoded(signals)

    def _encoded(self, signals: Signals) -> Signals:
        """What the encoder is shown of them."""
        return signals if self.wanted.gradient else signals._replace(gradient=None)

    def _between(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Noise,
        t: int,
        objective: Objective,
    ) -> tuple[Signals, Posterior]:
        """At q of iteration t: what the next one is shown, and the gradient that the encoder learns from."""
        draw, everything = noise(t + self.later), Wanted(gradient=True, error=self.wanted.error)
        signals = generative.signals(TORCH, theta, x, q, draw, draw.shape[0], everything, objective)
        with torch.no_grad():
            goal = generative.goal(theta, x, q, draw, signals, objective)
        return self._encoded(signals), goal

    @torch.no_grad()
    def _end(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        grads: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Noise,
        t: int,
        lesson: Lesson,
    ) -> tuple[Posterior, Bound]:
        """At the last q: the gradient that the encoder learns from, and the bound; theta learns, into `grads`."""
        wanted, draw = Wanted(gradient=True, error=False), noise(t + self.later)
        signals, bound = generative.learn(theta, grads, x, q, draw, lesson.scale, wanted, lesson.objective)
        if signals.gradient is None:
            raise TypeError("the gradient of the bound was not computed")
        return signals.gradient, bound
