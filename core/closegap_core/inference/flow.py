"""The amortized auxiliary flow of Cremer, Li & Duvenaud 2018: a richer q than a diagonal Gaussian, in one pass.

The encoder gives the mean and log-variance of z_0 and features of x. v_0 | z_0 is a Gaussian by a network, coupling
steps move v given z and then z given v (Dinh et al. 2017), and r(v|z) is a Gaussian by a network (auxiliary variables:
Agakov & Barber 2004; Maaløe et al. 2016); every network sees the features too. The bound is
E[log p(x, z) + log r(v|z) - log q(z_0) - log q(v_0|z_0) + log |det J|]. All levels of z are one vector here.

The decoder's part of the gradient is in closed form, at the draws; only the flow's own networks go through autograd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import AuxiliaryFlowConfig
from closegap_core.coupling import couple
from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.importance import Weighed
from closegap_core.inference.base import InferenceMethod, Lesson, Noise, Parameters
from closegap_core.inference.start import Prior
from closegap_core.inputs import Inputs
from closegap_core.networks import Mlp, encoder
from closegap_core.ops import TORCH
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_VAR_BOUND, Posterior, log_density, log_normal

MOMENT_PAIRS = 16
"""Antithetic pairs of draws, the same for all rows, from which the moments of q are estimated."""

HEAD_START = 0.1
"""What the initial weights of a flow network's heads are of a usual layer's; none at all would be a saddle point."""


@final
class FlowPosterior(Posterior):
    """q of a flow. As a diagonal Gaussian, to start a refiner from or to look at, it is that of q's moments.

    base: of z_0, (B, Z); features: what the flow's networks are told of x, (B, F).
    """

    base: Posterior
    features: Tensor

    def __new__(cls, moments: Posterior, base: Posterior, features: Tensor) -> FlowPosterior:
        made = super().__new__(cls, *moments)
        made.base, made.features = base, features
        return made


class Draws(NamedTuple):
    """z (S, B, Z), and log q(z, v) - log r(v|z) in nats (S, B)."""

    z: Tensor
    log_ratio: Tensor


@final
class Flow(InferenceMethod):
    """Structure only: parameters phi are passed to every function."""

    one_pass = True
    iterations = draws = 1

    def __init__(self, config: AuxiliaryFlowConfig, hierarchy: Hierarchy, inputs: Inputs) -> None:
        self.hierarchy, self.inputs, self.prior = hierarchy, inputs, Prior(hierarchy)
        self.latent = sum(hierarchy.latents)
        self.auxiliary = config.auxiliary or self.latent
        self.features = self.latent if config.features is None else config.features
        outputs = 2 * self.latent + self.features
        heads = 3 if self.features else 2
        self.encoder = encoder(
            "encoder", config.encoder, (hierarchy.width, 0), outputs, heads, hierarchy.shape
        )

        def network(name: str, seen: int, given: int) -> Mlp:
            return Mlp(f"flow.{name}", config.network, (seen + self.features,), 2 * given, 2)

        self.first = network("first", self.latent, self.auxiliary)
        self.reverse = network("reverse", self.latent, self.auxiliary)
        self.couplings = tuple(
            (network(f"{i}.v", self.latent, self.auxiliary), network(f"{i}.z", self.auxiliary, self.latent))
            for i in range(1, config.couplings + 1)
        )

    def shapes(self) -> Sequence[Shape]:
        networks = [self.first, self.reverse, *(network for pair in self.couplings for network in pair)]
        flow = [_calm(network, shape) for network in networks for shape in network.shapes()]
        return [*self.encoder.shapes(), *flow, *self.inputs.shapes(self.hierarchy.width)]

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.inputs.fit(phi, rows)

    def encode(self, phi: Mapping[str, Tensor], x: Tensor) -> tuple[Posterior, Tensor]:
        """x (B, X) -> the Gaussian of z_0 (B, Z), and the features (B, F)."""
        seen = self.inputs.apply(TORCH, phi, x)
        heads, _ = self.encoder.forward(TORCH, phi, None, self.encoder.partial(TORCH, phi, 0, seen))
        mean, log_var, features = torch.split(heads, [self.latent, self.latent, self.features], -1)
        return Posterior(mean, _bounded(log_var)), TORCH.elu(features)

    def draw(self, phi: Mapping[str, Tensor], base: Posterior, features: Tensor, noise: Tensor) -> Draws:
        """By noise (S, B or 1, Z + V): of z_0 first, then of v_0."""
        shape = (noise.shape[0], base.mean.shape[0], noise.shape[2])
        of_z, of_v = torch.split(noise.expand(shape), [self.latent, self.auxiliary], -1)
        told = features.expand(shape[0], *features.shape)
        z = base.mean + (base.log_var * 0.5).exp() * of_z
        v_mean, v_log_var = self._heads(self.first, phi, z, told)
        v_log_var = _bounded(v_log_var)
        v = v_mean + (v_log_var * 0.5).exp() * of_v
        log_q = log_density(of_z, base.log_var) + log_density(of_v, v_log_var)
        for of_v_network, of_z_network in self.couplings:
            v, log_det = couple(v, *self._heads(of_v_network, phi, z, told))
            log_q = log_q - log_det
            z, log_det = couple(z, *self._heads(of_z_network, phi, v, told))
            log_q = log_q - log_det
        mean, log_var = self._heads(self.reverse, phi, z, told)
        return Draws(z, log_q - log_normal(v, mean, _bounded(log_var)))

    @staticmethod
    def _heads(network: Mlp, phi: Mapping[str, Tensor], seen: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        out, _ = network.forward(TORCH, phi, TORCH.rows(torch.cat([seen, told], -1)))
        first, second = TORCH.samples(out, seen.shape[0]).chunk(2, -1)
        return first, second

    @torch.no_grad()
    def posterior(self, phi: Parameters, x: Tensor) -> FlowPosterior:
        """q of rows x (B, X)."""
        base, features = self.encode(phi, x)
        size = (MOMENT_PAIRS, 1, self.latent + self.auxiliary)
        half = seeds.normal(size, x.dtype, 0, seeds.MOMENTS).to(x.device)
        z = self.draw(phi, base, features, torch.cat([half, -half])).z
        log_var = _bounded(z.var(0).log())
        return FlowPosterior(Posterior(z.mean(0), log_var), base, features)

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        yield self.prior.at(generative, theta, phi, x, lambda t: noise(t)[..., : self.latent]).q
        q = self.posterior(phi, x)
        while True:
            yield q

    def passes(self, t: int, samples: int) -> int:
        return 0

    def bound(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Tensor,
    ) -> Bound:
        if not isinstance(q, FlowPosterior):
            return super().bound(generative, theta, phi, x, q, noise)
        draws = self.draw(phi, q.base, q.features, noise)
        return _bound(self._weigh(generative, theta, x, draws, 1.0))

    def log_weights(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Tensor,
    ) -> Tensor:
        if not isinstance(q, FlowPosterior):
            return super().log_weights(generative, theta, phi, x, q, noise)
        draws = self.draw(phi, q.base, q.features, noise)
        return self._weigh(generative, theta, x, draws, 1.0).log_weight

    @staticmethod
    def _weigh(
        generative: GenerativeModel, theta: Parameters, x: Tensor, draws: Draws, kl_weight: float | Tensor
    ) -> Weighed:
        z, log_ratio = (part.detach() for part in draws)
        descent = generative.hierarchy.descend(TORCH, theta, z, z.shape[0])
        return generative.weighted.weigh(theta, x, z, log_ratio, descent, kl_weight)

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
        learned = [shape.name for shape in self.shapes() if shape.learned]
        weight = lesson.objective.kl_weight
        with torch.enable_grad():
            leaves = dict(phi) | {name: phi[name].detach().requires_grad_() for name in learned}
            draws = self.draw(leaves, *self.encode(leaves, x), noise(self.draws))
        weighed = self._weigh(generative, theta, x, draws, weight)
        whole = self._weigh(generative, theta, x, draws, 1.0) if lesson.objective.warming else weighed
        bound = _bound(whole)
        if not lesson.objective.importance_weighted:
            weighed = weighed.evenly()
        dz, ascent = generative.weighted.along(theta, x, weighed, weight)
        generative.weighted.accumulate(theta, grads[0], x, weighed, ascent, lesson.scale, weight)
        with torch.enable_grad():  # what has the gradient of the bound, `dz` and the shares being constants
            goal = (dz * draws.z).sum() / len(dz) - weight * (weighed.share * draws.log_ratio).sum()
            found = torch.autograd.grad(goal, [leaves[name] for name in learned])
        for name, gradient in zip(learned, found, strict=True):
            grads[1][name].add_(gradient, alpha=lesson.scale)
        return bound


def _calm(network: Mlp, shape: Shape) -> Shape:
    """The flow begins near the identity: large random scales and variances, one after the other, would explode."""
    head = shape.name.startswith(network.output_name)
    return shape._replace(bound=shape.bound * HEAD_START) if head else shape


def _bound(weighed: Weighed) -> Bound:
    """The ELBO of draws that were weighed with a KL weight of one; its KL by the draws themselves."""
    log_likelihood = weighed.log_likelihood.mean(0)
    return Bound(log_likelihood, log_likelihood - weighed.log_weight.mean(0))


def _bounded(log_var: Tensor) -> Tensor:
    return log_var.clamp(-LOG_VAR_BOUND, LOG_VAR_BOUND)
