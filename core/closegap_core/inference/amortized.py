"""Iterative amortized inference: signals of the ELBO to the next q (Marino, Yue & Mandt 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import IterativeStart
from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel, Signals, Wanted
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.level import LevelEncoder, LevelStep, by_level
from closegap_core.inference.start import Start
from closegap_core.inputs import Inputs
from closegap_core.networks import stack
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior

BACKWARD_ROWS = 4096
"""The encoder's backward runs once over all T B rows, or whenever so many are kept: memory is constant in T."""


LOSS_WEIGHTS: dict[str, Callable[[int, int], float]] = {
    "uniform": lambda t, count: 1.0,
    "linear": lambda t, count: 2.0 * t / (count + 1),
    "last": lambda t, count: float(count) if t == count else 0.0,
}
"""What iteration t of T = count weighs in phi's gradient, a mean over iterations; the weights have mean one."""


class Iteration(NamedTuple):
    """One update of q, all levels together, and what each level's backward needs."""

    q: Posterior
    levels: tuple[LevelStep, ...]


class Learned(NamedTuple):
    """An iteration and its share of the gradient at the q it reached."""

    iteration: Iteration
    gradient: Posterior


@final
class Amortized(InferenceMethod):
    """Structure only: parameters phi are passed to every function. Iteration 0 is what `start` proposes.

    A start that learns does so from the ELBO at its own q. It takes noise(0), and iteration t then noise(t + 1).
    """

    def __init__(
        self, config: IterativeStart, hierarchy: Hierarchy, inputs: Inputs, start: Start, prefix: str = ""
    ) -> None:
        """prefix: of the names of the encoder's parameters."""
        self.start, self.later = start, int(start.learns)
        self.draws = self.later + config.iterations
        self.iterations, self.hierarchy, self.inputs = config.iterations, hierarchy, inputs
        self.latent = sum(hierarchy.latents)
        networks = config.networks(hierarchy.depth)
        self.levels = tuple(
            LevelEncoder(config, network, hierarchy, i, prefix) for i, network in enumerate(networks)
        )
        self.loss_weights = LOSS_WEIGHTS[config.loss_weights]
        self.sees_data = any(level.sees_data for level in self.levels)
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

    def update(
        self,
        ops: Ops,
        phi: Mapping[str, Value],
        constant: tuple[Value | None, ...],
        signals: Signals,
        q: Posterior,
    ) -> Iteration:
        """One inference iteration, level by level from the data up: q and the signals at q -> the next q."""
        estimates = [
            Posterior(*parts)
            for parts in zip(
                self.hierarchy.split(ops, q.mean), self.hierarchy.split(ops, q.log_var), strict=True
            )
        ]
        shares = by_level(ops, self.hierarchy, signals)
        upward: list[Value] = []
        steps: list[LevelStep] = []
        for level, known, share, estimate in zip(self.levels, constant, shares, estimates, strict=True):
            steps.append(level.update(ops, phi, known, share, estimate, upward))
            upward.append(steps[-1].upward)
        mean = ops.concat([step.step.q.mean for step in steps])
        return Iteration(Posterior(mean, ops.concat([step.step.q.log_var for step in steps])), tuple(steps))

    def passes(self, t: int, samples: int) -> int:
        return t * samples if self.wanted.gradient or self.wanted.error else 0

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        q, t = self.start.at(generative, theta, phi, x, noise).q, 0
        constant = self.constant(TORCH, phi, x)
        while True:
            yield q
            signals = self._signals(generative, theta, x, q, noise, t, self.wanted)
            q, t = self.update(TORCH, phi, constant, signals, q).q, t + 1

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

    @torch.no_grad()
    def learn(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters, Parameters],
        x: Tensor,
        noise: Noise,
        lesson: Lesson,
    ) -> Bound:
        scale, objective, count = lesson.scale, lesson.objective, lesson.iterations or self.iterations
        q, signals = self._begin(generative, theta, phi, grads[1], x, noise, lesson)
        constant = self.constant(TORCH, phi, x)
        everything = Wanted(gradient=True, error=self.wanted.error)
        kept: list[Learned] = []
        for t in range(1, count + 1):
            iteration = self.update(TORCH, phi, constant, signals, q)
            q, draw = iteration.q, noise(t + self.later)
            goal: Posterior | None
            if t < count:
                signals = generative.signals(TORCH, theta, x, q, draw, draw.shape[0], everything, objective)
                goal = generative.goal(theta, x, q, draw, signals, objective)
            else:
                signals, bound = generative.learn(theta, grads[0], x, q, draw, scale, everything, objective)
                goal = signals.gradient
            if goal is None:
                raise TypeError("the gradient of the ELBO was not computed")
            weight = self.loss_weights(t, count)
            if weight:
                kept.append(Learned(iteration, _weighted(goal, weight)))
            if lesson.step is not None:
                self.backward(phi, grads[1], x, kept, scale)
                lesson.step()
                kept, constant = [], self.constant(TORCH, phi, x)
            elif kept and (t == count or (len(kept) + 1) * x.shape[0] > BACKWARD_ROWS):
                self.backward(phi, grads[1], x, kept, scale / count)
                kept = []
            signals = self._encoded(signals)
        return bound

    def backward(
        self, phi: Parameters, grads: Parameters, x: Tensor, kept: list[Learned], scale: float
    ) -> None:
        """Add scale * the networks' gradients to `grads`.

        From the top level down: a level's upward signal carries gradient from the encoders above it.
        """
        split = self.hierarchy.split
        gradient = _join([learned.gradient for learned in kept])
        means, log_vars = split(TORCH, gradient.mean), split(TORCH, gradient.log_var)
        returned: list[Tensor | None] = [None] * len(self.levels)
        seen = self.inputs.apply(TORCH, phi, x) if self.sees_data else x
        for level in reversed(self.levels):
            steps = [learned.iteration.levels[level.level] for learned in kept]
            mean, units = means[level.level], None
            back = returned[level.level]
            if back is not None:
                mean = mean + back[:, : level.latent]
                units = back[:, level.latent :]
            elif level.units:
                units = mean.new_zeros(mean.shape[0], level.units)
            delta = level.rule.delta(
                _join([step.step for step in steps]), Posterior(mean, log_vars[level.level])
            )
            delta = delta if not level.units or units is None else torch.cat([delta, units], -1)
            tapes = stack([step.tapes for step in steps])
            d_input, deltas = level.network.backward(
                TORCH, phi, tapes, delta, to_input=bool(level.upward_from)
            )
            level.network.accumulate(grads, tapes, deltas, scale)
            if level.sees_data:
                level.network.accumulate_partial(phi, grads, 0, seen, deltas[0], scale)
            self._hand_down(level, d_input, returned)

    @staticmethod
    def _hand_down(level: LevelEncoder, d_input: Tensor | None, returned: list[Tensor | None]) -> None:
        if d_input is None:
            return
        upward = d_input[:, d_input.shape[-1] - sum(level.upward_widths) :]
        for lower, part in zip(level.upward_from, torch.split(upward, level.upward_widths, -1), strict=True):
            before = returned[lower]
            returned[lower] = part if before is None else before + part


def _weighted(gradient: Posterior, weight: float) -> Posterior:
    return gradient if weight == 1.0 else Posterior(gradient.mean * weight, gradient.log_var * weight)


def _join(values: Sequence[Any]) -> Any:
    """Equal nested tuples of tensors (B, …) of T iterations as one of (T B, …); None stays None."""
    if values[0] is None:
        return None
    if isinstance(values[0], Tensor):
        return torch.cat(list(values)) if len(values) > 1 else values[0]
    return type(values[0])(*(_join(parts) for parts in zip(*values, strict=True)))
