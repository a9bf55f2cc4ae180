"""An encoder's proposal, refined: what theta learns from is q after some steps of a refiner.

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

from closegap_core.config import HybridConfig, IterativeConfig, SemiAmortizedConfig
from closegap_core.generative import Bound, GenerativeModel, Signals
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Amortized
from closegap_core.inference.base import InferenceMethod, Noise, Parameters, start_of
from closegap_core.inference.refiners import GRADIENT_ONLY, refine
from closegap_core.inputs import Inputs
from closegap_core.ops import TORCH
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior

LATER = 1
"""Noise of the refiner's steps begins after the encoder's own iteration."""


def one_pass(config: HybridConfig | SemiAmortizedConfig, hierarchy: Hierarchy, inputs: Inputs) -> Amortized:
    """The encoder: the standard one."""
    as_iterative = IterativeConfig(
        encode=("data",),
        normalise="none",
        update="direct",
        iterations=1,
        encoder=config.encoder,
        encoders=config.encoders,
    )
    return Amortized(as_iterative, hierarchy, inputs)


class Refined(InferenceMethod):
    """Encoder, then `config.iterations` steps of the refiner; iteration 1 is the encoder's own output."""

    def __init__(
        self, config: HybridConfig | SemiAmortizedConfig, hierarchy: Hierarchy, inputs: Inputs
    ) -> None:
        self.encoder = one_pass(config, hierarchy, inputs)
        self.steps, self.iterations = config.iterations, config.iterations + 1
        self.refiner = config.refiner

    @final
    def shapes(self) -> Sequence[Shape]:
        return self.encoder.shapes()

    @final
    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        start, first = itertools.islice(self.encoder.posteriors(generative, theta, phi, x, noise), 2)
        yield start
        walk = refine(generative, theta, x, first, lambda t: noise(t + LATER), self.refiner)
        while True:
            with torch.no_grad():
                q = next(walk)
            yield q


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
        scale: float,
    ) -> Bound:
        unused = {name: torch.zeros_like(grad) for name, grad in grads[0].items()}
        self.encoder.learn(generative, theta, phi, (unused, grads[1]), x, noise, scale)
        *_, q = itertools.islice(self.posteriors(generative, theta, phi, x, noise), self.iterations + 1)
        last = noise(self.iterations + LATER)
        return generative.learn(theta, grads[0], x, q, last, scale, GRADIENT_ONLY)[1]


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
        scale: float,
    ) -> Bound:
        leaves = [
            {name: value.detach().requires_grad_() for name, value in group.items()} for group in (theta, phi)
        ]
        bound = self._unrolled(generative, leaves[0], leaves[1], x, noise)
        flat = [leaf for group in leaves for leaf in group.values()]
        found = iter(torch.autograd.grad(bound.elbo.sum(), flat))
        for group, into in zip(leaves, grads, strict=True):
            for name in group:
                into[name].add_(next(found), alpha=scale)
        return Bound(bound.log_likelihood.detach(), bound.kl.detach())

    def _unrolled(
        self,
        generative: GenerativeModel,
        theta: Mapping[str, Tensor],
        phi: Mapping[str, Tensor],
        x: Tensor,
        noise: Noise,
    ) -> Bound:
        with torch.enable_grad():
            start = start_of(generative, theta, x, noise)
            constant = self.encoder.constant(TORCH, phi, x)
            first = self.encoder.update(TORCH, phi, constant, Signals(None, None), start).q
            walk = refine(generative, theta, x, first, lambda t: noise(t + LATER), self.refiner)
            *_, q = itertools.islice(walk, self.steps + 1)
            draw = noise(self.iterations + LATER)
            return generative.bound(TORCH, theta, x, q, draw, draw.shape[0])
