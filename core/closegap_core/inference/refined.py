"""What every method shares that moves an encoder's q on by a refiner."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.config import HybridConfig, SemiAmortizedConfig
from closegap_core.data import Rows
from closegap_core.generative import GenerativeModel
from closegap_core.inference.base import InferenceMethod, Noise, Parameters
from closegap_core.inference.refiners import refine
from closegap_core.objective import ELBO, Objective
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
    def leaves(self, params: Parameters) -> dict[str, Tensor]:
        """Parameters that gradients are asked of; statistics of the training rows stay constants."""
        fixed = {shape.name for shape in self.shapes() if not shape.learned}
        return {name: value.detach().requires_grad_(name not in fixed) for name, value in params.items()}

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


def pull_back(
    value: Tensor,
    gradient: Tensor | None,
    leaves: tuple[Parameters, Parameters],
    grads: tuple[Parameters, Parameters],
    scale: float,
) -> None:
    """Add scale * (gradient at `value`, pulled back to the leaves) to `grads`; absent: the value is one number."""
    learned = [
        (into[name], leaf)
        for group, into in zip(leaves, grads, strict=True)
        for name, leaf in group.items()
        if leaf.requires_grad
    ]
    found = torch.autograd.grad(value, [leaf for _, leaf in learned], gradient, allow_unused=True)
    for (into, _), part in zip(learned, found, strict=True):
        if part is not None:
            into.add_(part, alpha=scale)
