"""Learning by autograd, where the hand-written backward does not serve.

The decoder's passes are in closed form all the same. What phi learns from is the sum over iterations of
w_t <dL_t/dq_t, q_t>, the gradient being a constant there: its derivative is that of the sum of w_t L_t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.config import IterativeStart
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Amortized, Iterate, Iteration
from closegap_core.inference.base import Lesson, Noise, Parameters
from closegap_core.inference.start import Start
from closegap_core.inputs import Inputs
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior

MOMENTUM = 0.1
"""Weight of a batch's statistics in the running ones."""


@final
class Unrolled(Amortized):
    """Learns through the state that recurrent encoders carry, and through batch statistics.

    Signals and earlier iterates are constants, as in `Taped`, unless `backprop_through_iterations`: then phi learns
    from the whole derivative, second derivatives of the decoder included, and theta from that of the last ELBO; the
    T decoder passes are kept meanwhile.
    """

    def __init__(
        self, config: IterativeStart, hierarchy: Hierarchy, inputs: Inputs, start: Start, prefix: str = ""
    ) -> None:
        super().__init__(config, hierarchy, inputs, start, prefix)
        self.through = config.backprop_through_iterations
        shapes = [shape for level in self.levels for shape in level.network.shapes()]
        self.learned = tuple(shape.name for shape in shapes if shape.learned)

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
        objective, count = lesson.objective, lesson.iterations or self.iterations
        with torch.no_grad():
            q, signals = self._begin(generative, theta, phi, grads[1], x, noise, lesson)
        of_theta = _leaves(theta) if self.through else theta
        of_phi = _leaves({name: phi[name] for name in self.learned})
        known = {**phi, **of_phi}
        with torch.enable_grad():
            constant = self.constant(TORCH, known, x)
            if self.through:
                signals = self._signals(generative, of_theta, x, q, noise, 0, self.wanted, objective)
        at, met = self.first(q), list[Iteration]()
        total = last = x.new_zeros(())
        for t in range(1, count + 1):
            with torch.enable_grad():
                met.append(self.update(TORCH, known, constant, signals, at, t - 1, learning=True))
            reached = met[-1].q
            at = met[-1].after if self.through else Iterate(_constant(reached), met[-1].after.state)
            if t < count:
                with torch.set_grad_enabled(self.through):
                    signals, goal = self._between(generative, of_theta, x, at.q, noise, t, objective)
            else:
                goal, bound = self._end(generative, theta, grads[0], x, at.q, noise, t, lesson)
            last = _along(goal, reached)
            with torch.enable_grad():  # whoever calls, as `hybrid` does, may not be differentiating
                total = total + last * (self.loss_weights(t, count) / count)
        if self.through:
            _add(grads[0], of_theta, last, lesson.scale, retain=True)
        _add(grads[1], of_phi, total, lesson.scale)
        _remember(phi, met)
        return bound


def _leaves(parameters: Parameters) -> dict[str, Tensor]:
    """The same values, to differentiate by."""
    return {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}


def _constant(q: Posterior) -> Posterior:
    return Posterior(q.mean.detach(), q.log_var.detach())


def _along(gradient: Posterior, q: Posterior) -> Tensor:
    """<gradient, q> over all rows, the gradient being a constant."""
    with torch.enable_grad():
        total: Tensor = (gradient.mean.detach() * q.mean + gradient.log_var.detach() * q.log_var).sum()
    return total


def _remember(phi: Parameters, met: Sequence[Iteration]) -> None:
    """Move the running statistics of each iteration towards those that this batch had in it."""
    for t, iteration in enumerate(met):
        for level in iteration.levels:
            for name, found in level.passed.statistics.items():
                phi[name][t].lerp_(found, MOMENTUM)


def _add(
    grads: Parameters, leaves: Mapping[str, Tensor], goal: Tensor, scale: float, retain: bool = False
) -> None:
    """Add scale * the gradient of `goal` by each of `leaves` that it depends on."""
    found = torch.autograd.grad(goal, list(leaves.values()), retain_graph=retain, allow_unused=True)
    for name, gradient in zip(leaves, found, strict=True):
        if gradient is not None:
            grads[name].add_(gradient, alpha=scale)
