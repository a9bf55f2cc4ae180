"""Learning by the hand-written backward of the networks: one product an iteration, one backward over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import IterativeStart
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Amortized, Iteration
from closegap_core.inference.base import Lesson, Noise, Parameters
from closegap_core.inference.level import LevelEncoder
from closegap_core.inference.start import Start
from closegap_core.inputs import Inputs
from closegap_core.kernels import pack
from closegap_core.networks import IteratedNetwork, Network, stack
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior

BACKWARD_ROWS = 4096
"""The encoder's backward runs once over all T B rows, or whenever so many are kept: memory is constant in T."""
PACKED_ITERATIONS = 4
"""So many decoder passes by the same weights pay for packing them."""


class Learned(NamedTuple):
    """An iteration and its share of the gradient at the q it reached."""

    iteration: Iteration
    gradient: Posterior


@final
class Taped(Amortized):
    """Signals and earlier iterates are constants; memory does not grow with T."""

    def __init__(
        self, config: IterativeStart, hierarchy: Hierarchy, inputs: Inputs, start: Start, prefix: str = ""
    ) -> None:
        super().__init__(config, hierarchy, inputs, start, prefix)
        self.networks = tuple(_taped(level.network) for level in self.levels)

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
        theta = pack(theta) if count >= PACKED_ITERATIONS else theta
        at, constant = self.first(q), self.constant(TORCH, phi, x)
        kept: list[Learned] = []
        for t in range(1, count + 1):
            iteration = self.update(TORCH, phi, constant, signals, at, t - 1)
            at = iteration.after
            if t < count:
                signals, goal = self._between(generative, theta, x, at.q, noise, t, objective)
            else:
                goal, bound = self._end(generative, theta, grads[0], x, at.q, noise, t, lesson)
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
        for level, network in zip(reversed(self.levels), reversed(self.networks), strict=True):
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
            tapes = stack([step.passed.tapes for step in steps])
            d_input, deltas = network.backward(TORCH, phi, tapes, delta, to_input=bool(level.upward_from))
            network.accumulate(grads, tapes, deltas, scale)
            if level.sees_data:
                network.accumulate_partial(phi, grads, 0, seen, deltas[0], scale)
            self._hand_down(level, d_input, returned)

    @staticmethod
    def _hand_down(level: LevelEncoder, d_input: Tensor | None, returned: list[Tensor | None]) -> None:
        if d_input is None:
            return
        upward = d_input[:, d_input.shape[-1] - sum(level.upward_widths) :]
        for lower, part in zip(level.upward_from, torch.split(upward, level.upward_widths, -1), strict=True):
            before = returned[lower]
            returned[lower] = part if before is None else before + part


def _taped(network: IteratedNetwork) -> Network:
    if not isinstance(network, Network):
        raise TypeError(f"{type(network).__name__} has no hand-written backward")
    return network


def _weighted(gradient: Posterior, weight: float) -> Posterior:
    return gradient if weight == 1.0 else Posterior(gradient.mean * weight, gradient.log_var * weight)


def _join(values: Sequence[Any]) -> Any:
    """Equal nested tuples of tensors (B, …) of T iterations as one of (T B, …); None stays None."""
    if values[0] is None:
        return None
    if isinstance(values[0], Tensor):
        return torch.cat(list(values)) if len(values) > 1 else values[0]
    return type(values[0])(*(_join(parts) for parts in zip(*values, strict=True)))
