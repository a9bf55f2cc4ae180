"""Inference in one pass: q is what a start proposes, and nothing refines it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel, Wanted
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.start import Prior, Start
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior


@final
class OnePass(InferenceMethod):
    """Iteration 0 is the prior, iteration 1 the encoder's q, and a further one changes nothing."""

    one_pass = True
    iterations = draws = 1

    def __init__(self, encoder: Start, hierarchy: Hierarchy) -> None:
        self.encoder, self.prior = encoder, Prior(hierarchy)

    def shapes(self) -> Sequence[Shape]:
        return self.encoder.shapes()

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.encoder.prepare(phi, rows)

    def passes(self, t: int, samples: int) -> int:
        return 0

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        yield self.prior.at(generative, theta, phi, x, noise).q
        q = self.encoder.at(generative, theta, phi, x, noise).q
        while True:
            yield q

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
        proposal = self.encoder.at(generative, theta, phi, x, noise)
        wanted, scale = Wanted(gradient=True, error=False), lesson.scale
        signals, bound = generative.learn(
            theta, grads[0], x, proposal.q, noise(self.draws), scale, wanted, lesson.objective
        )
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        self.encoder.backward(generative, theta, phi, grads, x, proposal, signals.gradient, scale)
        return bound
