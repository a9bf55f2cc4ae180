"""Semi-amortized inference without second derivatives: products with the Hessian by differences (Kim et al. 2018).

The backward runs the refiner's steps in reverse. What a rule itself does to the gradient is pulled back by autograd,
elementwise and cheap; where the gradient was taken, the product of a direction v with the Hessian of the ELBO is
(dL(q + e v) - dL(q - e v)) / 2 e by the same draws, and for theta the same with dL/dtheta. No graph of a decoder is
kept: memory is that of q at every step, and each step back is two decoder passes. The published code takes one-sided
differences with e = 1e-5; two sides cost no more, since theta needs both anyway, and allow a wider e.
"""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor

from closegap_core.config import SemiAmortizedConfig
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.refined import Refined, pull_back
from closegap_core.inference.refiners import GRADIENT_ONLY, REFINERS, Reached, State, steps
from closegap_core.objective import Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior


@final
class FiniteDifference(Refined):
    """theta and phi learn from the ELBO after the steps, as `SemiAmortized` up to the error of the differences."""

    def __init__(self, config: SemiAmortizedConfig, start: InferenceMethod) -> None:
        super().__init__(config, start)
        self.rule = REFINERS[config.refiner.kind](config.refiner)

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
        leaves, taken, goal = (self.leaves(theta), self.leaves(phi)), self.start.draws, lesson.objective
        with torch.enable_grad():
            walk = self.start.posteriors(generative, *leaves, x, noise)
            *_, first = itertools.islice(walk, self.start.iterations + 1)
            value = torch.cat(first, -1)
        with torch.no_grad():
            start = Posterior(*value.detach().chunk(2, -1))
            run = steps(generative, theta, x, start, lambda t: noise(taken + t), self.refiner, goal)
            trace = list(itertools.islice(run, self.draws - taken + 1))
            q, draw = Posterior(*trace[-1].value.chunk(2, -1)), noise(self.draws)
            signals, bound = generative.learn(theta, grads[0], x, q, draw, lesson.scale, GRADIENT_ONLY, goal)
            if signals.gradient is None:
                raise TypeError("the gradient of the ELBO was not computed")
        back = torch.cat(signals.gradient, -1)
        curvature = Curvature(generative, theta, grads[0], x, lesson)
        pull_back(value, self._backward(trace, back, curvature), leaves, grads, lesson.scale)
        return bound

    def _backward(self, trace: list[Reached], back: Tensor, curvature: Curvature) -> Tensor:
        """Gradient at the last value (B, 2 Z) -> gradient at the first."""
        backs = [back, torch.zeros_like(back), torch.zeros_like(back)]
        for before, after in zip(trace[-2::-1], trace[:0:-1], strict=True):
            if after.gradient is None or after.draw is None:
                raise TypeError("a step of a refiner has kept no gradient")
            with torch.enable_grad():
                kept = (before.value, before.state.first, before.state.second, after.gradient)
                leaves = [part.detach().requires_grad_() for part in kept]
                state = State(leaves[1], leaves[2], before.state.steps)
                value, following = self.rule.advance(TORCH, leaves[0], leaves[3], state)
                ahead = self.rule.look_ahead(TORCH, leaves[0], state)
            ends = [value, following.first, following.second]
            *direct, along = _pulled(ends, backs, leaves)
            product = curvature.times(along, ahead.detach(), after.draw)
            indirect = _pulled([ahead], [product], leaves[:3])
            backs = [a + b for a, b in zip(direct, indirect, strict=True)]
        return backs[0] + self._begun(trace[0].value, backs[1:])

    def _begun(self, value: Tensor, backs: list[Tensor]) -> Tensor:
        """Gradient at the first state -> what it adds at the first value."""
        with torch.enable_grad():
            leaf = value.detach().requires_grad_()
            state = self.rule.begin(TORCH, leaf)
        return _pulled([state.first, state.second], backs, [leaf])[0]


@final
class Curvature:
    """Second derivatives of the refiner's objective, as products with a direction."""

    def __init__(
        self, generative: GenerativeModel, theta: Parameters, grads: Parameters, x: Tensor, lesson: Lesson
    ) -> None:
        self.generative, self.theta, self.grads, self.x, self.scale = (
            generative,
            theta,
            grads,
            x,
            lesson.scale,
        )
        # A refiner follows the ELBO's own signals, whatever is learned in the end.
        self.objective: Objective = lesson.objective._replace(importance_weighted=False)

    @torch.no_grad()
    def times(self, direction: Tensor, at: Tensor, draw: Tensor) -> Tensor:
        """The Hessian in q times direction, (B, 2 Z), at `at`; scale * the mixed one times it is added to theta's."""
        # A value on the device, which the host does not wait for; no direction at all gives no difference.
        longest = direction.abs().max().clamp(min=torch.finfo(at.dtype).tiny)
        # The error of two-sided differences is least where the step is about the cube root of the precision.
        width: Tensor = torch.finfo(at.dtype).eps ** (1 / 3) / longest
        mixed = {name: torch.zeros_like(grad) for name, grad in self.grads.items()}
        ends = [self._gradient(at + sign * width * direction, draw, sign, mixed) for sign in (1.0, -1.0)]
        for name, difference in mixed.items():
            self.grads[name].add_(difference / (2.0 * width))
        return (ends[0] - ends[1]) / (2.0 * width)

    def _gradient(self, at: Tensor, draw: Tensor, sign: float, mixed: Parameters) -> Tensor:
        """dL/dq; sign * scale * dL/dtheta is added to `mixed`."""
        q, scale = Posterior(*at.chunk(2, -1)), self.scale * sign
        signals, _ = self.generative.learn(
            self.theta, mixed, self.x, q, draw, scale, GRADIENT_ONLY, self.objective
        )
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        return torch.cat(signals.gradient, -1)


def _pulled(ends: list[Tensor], backs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Gradients at the ends -> gradients at the leaves, zero where nothing connects them."""
    pairs = [(end, back) for end, back in zip(ends, backs, strict=True) if end.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(
        [end for end, _ in pairs], leaves, [back for _, back in pairs], retain_graph=True, allow_unused=True
    )
    return [
        torch.zeros_like(leaf) if part is None else part for part, leaf in zip(found, leaves, strict=True)
    ]
