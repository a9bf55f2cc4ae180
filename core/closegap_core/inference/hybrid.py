"""An encoder's q, refined: what theta learns from is q after some steps of a refiner.

`hybrid` (Krishnan, Liang & Hoffman 2018): the encoder learns from the ELBO at its own output.
`semi_amortized` (Kim et al. 2018): the encoder learns from the ELBO after the steps, differentiated through them, and
theta through them too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.config import HybridConfig, SemiAmortizedConfig
from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.refiners import GRADIENT_ONLY, refine
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior


class Refined(InferenceMethod):
    """The start's iterations, T_0 of them, then steps of the refiner as iterations T_0 + 1, T_0 + 2, …"""

    def __init__(self, config: HybridConfig | SemiAmortizedConfig, start: InferenceMethod) -> None:
        self.start, self.refiner = start, config.refiner
        self.iterations = start.iterations + config.iterations
        self.draws = start.draws + config.iterations

    @final
    def shapes(self) -> Sequence[Shape]:
        return self.start.shapes()

    @final
    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.start.prepare(phi, rows)

    @final
    def passes(self, t: int, samples: int) -> int:
        steps = max(t - self.start.iterations, 0)
        return self.start.passes(t - steps, samples) + steps * samples

    @final
    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        return self.walk(generative, theta, phi, x, noise, ELBO)

    @final
    def walk(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        x: Tensor,
        noise: Noise,
        objective: Objective,
    ) -> Iterator[Posterior]:
        """As `posteriors`, the refiner following `objective`."""
        start, taken = self.start.posteriors(generative, theta, phi, x, noise), self.start.draws
        yield from itertools.islice(start, self.start.iterations)
        yield from refine(
            generative, theta, x, next(start), lambda t: noise(taken + t), self.refiner, objective
        )


@final
class Hybrid(Refined):
    """The encoder is trained where it stands; theta where the refiner arrives."""

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
        unused = {name: torch.zeros_like(grad) for name, grad in grads[0].items()}
        alone = lesson._replace(alone=True)
        proposed = self.start.learn(generative, theta, phi, (unused, grads[1]), x, noise, alone)
        if lesson.alone:
            return proposed
        walk = self.walk(generative, theta, phi, x, noise, lesson.objective)
        *_, q = itertools.islice(walk, self.iterations + 1)
        last, scale = noise(self.draws), lesson.scale
        return generative.learn(theta, grads[0], x, q, last, scale, GRADIENT_ONLY, lesson.objective)[1]


@final
class SemiAmortized(Refined):
    """Both learn through the steps, by exact second derivatives (autograd through the closed-form gradient)."""

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
        fixed = {shape.name for shape in self.shapes() if not shape.learned}
        leaves = [
            {name: value.detach().requires_grad_(name not in fixed) for name, value in group.items()}
            for group in (theta, phi)
        ]
        goal, bound = self._unrolled(generative, leaves[0], leaves[1], x, noise, lesson.objective)
        learned = [
            (into[name], leaf)
            for group, into in zip(leaves, grads, strict=True)
            for name, leaf in group.items()
            if name not in fixed
        ]
        found = torch.autograd.grad(goal.elbo.sum(), [leaf for _, leaf in learned])
        for (into, _), gradient in zip(learned, found, strict=True):
            into.add_(gradient, alpha=lesson.scale)
        return Bound(bound.log_likelihood.detach(), bound.kl.detach())

    def _unrolled(
        self,
        generative: GenerativeModel,
        theta: Mapping[str, Tensor],
        phi: Mapping[str, Tensor],
        x: Tensor,
        noise: Noise,
        objective: Objective,
    ) -> tuple[Bound, Bound]:
        """What is maximised, with a graph, and the ELBO, at the last q."""
        with torch.enable_grad():
            walk = self.walk(generative, theta, phi, x, noise, objective)
            *_, q = itertools.islice(walk, self.iterations + 1)
            draw = noise(self.draws)
            goal = generative.bound(TORCH, theta, x, q, draw, draw.shape[0], objective)
        if objective == ELBO:
            return goal, goal
        with torch.no_grad():
            return goal, generative.bound(TORCH, theta, x, q, draw, draw.shape[0])
