"""Stochastic variational inference: every row's own q from the prior, no encoder (Hoffman et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.config import SviConfig
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.refiners import GRADIENT_ONLY, refine
from closegap_core.inference.start import Prior
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior


@final
class Svi(InferenceMethod):
    """T steps of a refiner from the prior for every batch, then theta learns at the last q."""

    def __init__(self, config: SviConfig, hierarchy: Hierarchy) -> None:
        self.draws = config.iterations
        self.iterations, self.refiner, self.start = config.iterations, config.refiner, Prior(hierarchy)

    def shapes(self) -> Sequence[Shape]:
        return ()

    def passes(self, t: int, samples: int) -> int:
        return t * samples

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        start = self.start.at(generative, theta, phi, x, noise).q
        return refine(generative, theta, x, start, noise, self.refiner)

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
        start = self.start.at(generative, theta, phi, x, noise).q
        walk = refine(generative, theta, x, start, noise, self.refiner, lesson.objective)
        for _ in range(self.iterations):
            next(walk)
        q = next(walk)
        last, scale = noise(self.iterations), lesson.scale
        return generative.learn(theta, grads[0], x, q, last, scale, GRADIENT_ONLY, lesson.objective)[1]
