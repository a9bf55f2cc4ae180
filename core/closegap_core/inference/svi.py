"""Stochastic variational inference: Adam on each row's own q (Hoffman et al. 2013; Kingma & Ba 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.config import SviConfig
from closegap_core.generative import Bound, GenerativeModel, Wanted
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import InferenceMethod, Noise, Parameters, start_of
from closegap_core.ops import TORCH
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_VAR_BOUND, Posterior

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
GRADIENT_ONLY = Wanted(gradient=True, error=False)


def refine(
    generative: GenerativeModel,
    theta: Parameters,
    x: Tensor,
    start: Posterior,
    noise: Noise,
    learning_rate: float,
) -> Iterator[Posterior]:
    """q after 0, 1, 2, … Adam steps on each row's own ELBO, from `start`; moments begin at zero. Endless."""
    value = torch.cat(start, -1)
    first, second, t = torch.zeros_like(value), torch.zeros_like(value), 0
    while True:
        q = Posterior(*value.chunk(2, -1))
        yield q
        with torch.no_grad():
            draw = noise(t)
            gradient = generative.signals(TORCH, theta, x, q, draw, draw.shape[0], GRADIENT_ONLY).gradient
            if gradient is None:
                raise TypeError("the gradient of the ELBO was not computed")
            t += 1
            ascent = torch.cat(gradient, -1)
            first = BETA_1 * first + (1 - BETA_1) * ascent
            second = BETA_2 * second + (1 - BETA_2) * ascent.square()
            size = (second / (1 - BETA_2**t)).sqrt() + EPSILON
            value = value + learning_rate * (first / (1 - BETA_1**t)) / size
            latent = start.mean.shape[-1]
            value[..., latent:].clamp_(-LOG_VAR_BOUND, LOG_VAR_BOUND)


@final
class Svi(InferenceMethod):
    """No encoder: T Adam steps from the prior for every batch, then theta learns at the last q."""

    def __init__(self, config: SviConfig, hierarchy: Hierarchy) -> None:
        self.iterations, self.latent = config.iterations, sum(hierarchy.latents)
        self.learning_rate = config.learning_rate

    def shapes(self) -> Sequence[Shape]:
        return ()

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        start = start_of(generative, theta, x, noise)
        return refine(generative, theta, x, start, noise, self.learning_rate)

    @torch.no_grad()
    def learn(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters, Parameters],
        x: Tensor,
        noise: Noise,
        scale: float,
    ) -> Bound:
        walk = self.posteriors(generative, theta, phi, x, noise)
        q = next(walk)
        for _ in range(self.iterations):
            q = next(walk)
        return generative.learn(theta, grads[0], x, q, noise(self.iterations), scale, GRADIENT_ONLY)[1]
