"""The generative model p(x, z) of one or more latent levels, and the signals of its ELBO.

Everything that inference needs is a function of (theta, x, q, noise): the ELBO, its gradient with respect to
q's parameters by one vector-Jacobian product of the decoder, and the prediction errors. B rows, S samples, Z latent
dimensions of all levels together, X.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import final

import torch
from torch import Tensor

from closegap_core.config import ModelConfig
from closegap_core.divergence import (
    KlWeights,
    counted_kl,
    divergence,
    kl_by_dimension,
    kl_to,
    kl_weights,
)
from closegap_core.hierarchy import Ascent, Descent, Hierarchy
from closegap_core.importance import ImportanceWeighted, Weighed
from closegap_core.likelihoods import LIKELIHOODS
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior, kl_to_prior, log_density, log_normal, log_prior, sample
from closegap_core.signals import Bound as Bound
from closegap_core.signals import Error as Error
from closegap_core.signals import Signals as Signals
from closegap_core.signals import Wanted as Wanted


@final
class GenerativeModel:
    """Structure only: parameters theta are passed to every function."""

    def __init__(self, config: ModelConfig, shape: Sequence[int]) -> None:
        """shape: of a row of data."""
        self.width = width = math.prod(shape)
        self.likelihood = LIKELIHOODS[config.likelihood.kind](config.likelihood, width)
        self.hierarchy = Hierarchy(config, shape, self.likelihood.outputs)
        self.latent = sum(self.hierarchy.latents)
        self.weighted = ImportanceWeighted(self.hierarchy, self.likelihood)

    def shapes(self) -> list[Shape]:
        return [*self.hierarchy.shapes(), *self.likelihood.shapes()]

    def levels(self, ops: Ops, q: Posterior) -> list[Posterior]:
        """q by levels, nearest the data first."""
        split = self.hierarchy.split
        return [Posterior(*parts) for parts in zip(split(ops, q.mean), split(ops, q.log_var), strict=True)]

    def initial(
        self, ops: Ops, theta: Mapping[str, Value], zeros: Value, noise: Value | None, count: int
    ) -> Posterior:
        """Where inference starts: q equal to the prior (B, Z); zeros (B, Z).

        Below the top the prior depends on samples: its mean and log-variance averaged over S = count ancestral
        draws (Marino et al. 2018, section 2.4 of their code's semantics). One level needs no noise.
        """
        if self.hierarchy.depth == 1 or noise is None:
            return Posterior(zeros, zeros)
        _, prior = self.hierarchy.ancestral(ops, theta, noise + zeros, count)
        return Posterior(ops.mean_samples(prior.mean), ops.mean_samples(prior.log_var))

    def kl(self, ops: Ops, q: Posterior, descent: Descent) -> list[Value]:
        """KL of each level in nats, (B,) each, in closed form given the sampled levels above."""
        return [
            kl_to_prior(ops, level) if prior is None else ops.mean_samples(kl_to(ops, level, prior))
            for level, prior in zip(self.levels(ops, q), descent.priors, strict=True)
        ]

    def bound(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        x: Value,
        q: Posterior,
        noise: Value,
        count: int,
        objective: Objective = ELBO,
    ) -> Bound:
        """`objective` of each row, its expectation over z estimated with the S = count draws of `noise`."""
        descent = self.hierarchy.descend(ops, theta, sample(ops, q, noise), count)
        if objective.importance_weighted:
            weighed = self._weigh(theta, x, q, noise, descent, objective)
            return Bound(*self.weighted.bound(weighed))
        bound = self._bound(ops, theta, x, q, descent)
        if objective.plain:
            return bound
        return bound._replace(kl=counted_kl(ops, self.levels(ops, q), descent.priors, objective))

    def _bound(self, ops: Ops, theta: Mapping[str, Value], x: Value, q: Posterior, descent: Descent) -> Bound:
        log_likelihood = ops.mean_samples(self.likelihood.log_likelihood(ops, theta, descent.out, x))
        return Bound(log_likelihood, reduce(add, self.kl(ops, q, descent)))

    def signals(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        x: Value,
        q: Posterior,
        noise: Value,
        count: int,
        wanted: Wanted,
        objective: Objective = ELBO,
    ) -> Signals:
        """Signals of `objective` at q, weighted by importance never: what is encoded stays the ELBO's.

        The gradient is each row's own, so it does not depend on the batch.

        Marino et al. 2018, eqs. 9-13, with the analytic KL term; for one level
        dL/dmean = E[r] - mean,  dL/dlog_var = E[sigma noise r] / 2 + (1 - sigma^2) / 2,  r = d log p(x|z) / dz.
        """
        z = sample(ops, q, noise)
        descent = self.hierarchy.descend(ops, theta, z, count)
        gradient = None
        if wanted.gradient:
            weights = kl_weights(ops, self.levels(ops, q), descent.priors, objective)
            gradient = self._gradient(ops, theta, x, q, noise, descent, count, weights)[0]
        error = self._error(ops, theta, x, q, z, descent) if wanted.error else None
        return Signals(gradient, error)

    def _error(
        self, ops: Ops, theta: Mapping[str, Value], x: Value, q: Posterior, z: Value, descent: Descent
    ) -> Error:
        data = ops.mean_samples(self.likelihood.error(ops, theta, descent.out, x))
        errors = [
            part if prior is None else (part - prior.mean) * ops.exp(-prior.log_var)
            for part, prior in zip(self.hierarchy.split(ops, z), descent.priors, strict=True)
        ]
        return Error(data, ops.mean_samples(ops.concat(errors)))

    def _gradient(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        x: Value,
        q: Posterior,
        noise: Value,
        descent: Descent,
        count: int,
        weights: KlWeights | None,
    ) -> tuple[Posterior, Ascent]:
        score = self.likelihood.score(ops, theta, descent.out, x)
        levels = self.levels(ops, q)
        ascent = self.hierarchy.ascend(ops, theta, descent, levels, score, count, weights)
        dz = ops.concat(ascent.dz)
        parts = [
            (level.mean, ops.exp(level.log_var) - 1.0)
            if prior is None
            else tuple(ops.mean_samples(term) for term in divergence(ops, level, prior))
            for level, prior in zip(levels, descent.priors, strict=True)
        ]
        if weights is not None:
            parts = [(error * w, excess * w) for (error, excess), w in zip(parts, weights, strict=True)]
        mean = ops.mean_samples(dz) - ops.concat([error for error, _ in parts])
        scaled = ops.mean_samples(dz * noise) * ops.exp(q.log_var * 0.5)
        return Posterior(mean, (scaled - ops.concat([excess for _, excess in parts])) * 0.5), ascent

    def learn(
        self,
        theta: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        x: Tensor,
        q: Posterior,
        noise: Tensor,
        scale: float,
        wanted: Wanted,
        objective: Objective = ELBO,
    ) -> tuple[Signals, Bound]:
        """As `signals`, and adds scale * d(sum of objectives)/dtheta to `grads` from the same pass.

        The gradient is there always, here that of a bound weighted by importance where the objective is one; the
        bound is the ELBO whatever the objective.
        """
        count = noise.shape[0]
        z = sample(TORCH, q, noise)
        descent = self.hierarchy.descend(TORCH, theta, z, count)
        error = self._error(TORCH, theta, x, q, z, descent) if wanted.error else None
        bound = self._bound(TORCH, theta, x, q, descent)
        if objective.importance_weighted:
            weighed = self._weigh(theta, x, q, noise, descent, objective)
            gradient, ascent = self.weighted.gradient(theta, x, q, noise, weighed, objective.kl_weight)
            self.weighted.accumulate(theta, grads, x, weighed, ascent, scale, objective.kl_weight)
            return Signals(gradient, error), bound
        levels = self.levels(TORCH, q)
        weights = kl_weights(TORCH, levels, descent.priors, objective)
        gradient, ascent = self._gradient(TORCH, theta, x, q, noise, descent, count, weights)
        self.hierarchy.accumulate(theta, grads, descent, ascent, levels, TORCH, scale / count, weights)
        self.likelihood.accumulate(grads, theta, descent.out, x, scale / count)
        return Signals(gradient, error), bound

    def goal(
        self,
        theta: Mapping[str, Tensor],
        x: Tensor,
        q: Posterior,
        noise: Tensor,
        signals: Signals,
        objective: Objective,
    ) -> Posterior:
        """The gradient of `objective` at q, what an encoder learns from; signals: those at q by the same noise."""
        if objective.importance_weighted:
            descent = self.hierarchy.descend(TORCH, theta, sample(TORCH, q, noise), noise.shape[0])
            weighed = self._weigh(theta, x, q, noise, descent, objective)
            return self.weighted.gradient(theta, x, q, noise, weighed, objective.kl_weight)[0]
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        return signals.gradient

    @torch.no_grad()
    def kl_by_dimension(self, theta: Mapping[str, Tensor], q: Posterior, noise: Tensor) -> Tensor:
        """KL of each dimension of q, (B, Z) nats, nearest the data first; below the top over noise (S, B, Z)."""
        descent = self.hierarchy.descend(TORCH, theta, sample(TORCH, q, noise), noise.shape[0])
        kl: Tensor = kl_by_dimension(TORCH, self.levels(TORCH, q), descent.priors)
        return kl

    def _weigh(
        self,
        theta: Mapping[str, Tensor],
        x: Tensor,
        q: Posterior,
        noise: Tensor,
        descent: Descent,
        objective: Objective,
    ) -> Weighed:
        z, log_q = sample(TORCH, q, noise), log_density(noise, q.log_var)
        return self.weighted.weigh(theta, x, z, log_q, descent, objective.kl_weight)

    def log_weights(self, theta: Mapping[str, Tensor], x: Tensor, q: Posterior, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z) in nats for z from q by noise (S, B, Z): (S, B) (Burda et al. 2016, eq. 8)."""
        return self.log_joint(theta, x, sample(TORCH, q, noise)) - log_density(noise, q.log_var)

    def log_joint(self, theta: Mapping[str, Tensor], x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z) in nats: (S, B, Z) -> (S, B); differentiable in z."""
        descent = self.hierarchy.descend(TORCH, theta, z, z.shape[0])
        total: Tensor = self.likelihood.log_likelihood(TORCH, theta, descent.out, x)
        for part, prior in zip(self.hierarchy.split(TORCH, z), descent.priors, strict=True):
            total = total + (
                log_prior(part) if prior is None else log_normal(part, prior.mean, prior.log_var)
            )
        return total

    def likelihood_gradient(
        self, theta: Mapping[str, Tensor], x: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z(noise)) in nats (S, B) and its gradient with respect to standard normal noise (S, B, Z).

        Ancestral noise has a standard normal prior whatever the levels; with one level it is z itself.
        """
        if self.hierarchy.depth == 1:
            descent = self.hierarchy.descend(TORCH, theta, noise, noise.shape[0])
            score = self.likelihood.score(TORCH, theta, descent.out, x)
            gradient: Tensor = self.hierarchy.ascend(TORCH, theta, descent, [], score, noise.shape[0]).dz[0]
            return self.likelihood.log_likelihood(TORCH, theta, descent.out, x), gradient
        with torch.enable_grad():
            leaf = noise.detach().requires_grad_()
            z, _ = self.hierarchy.ancestral(TORCH, theta, leaf, leaf.shape[0])
            out = self.hierarchy.descend(TORCH, theta, z, leaf.shape[0]).out
            log_likelihood: Tensor = self.likelihood.log_likelihood(TORCH, theta, out, x)
            [gradient] = torch.autograd.grad(log_likelihood.sum(), leaf)
        return log_likelihood.detach(), gradient

    @torch.no_grad()
    def prior_draws(self, theta: Mapping[str, Tensor], noise: Tensor) -> Tensor:
        """z ~ p(z) from standard normal noise: (R, Z) -> (R, Z)."""
        z: Tensor = self.hierarchy.ancestral(TORCH, theta, noise[None], 1)[0][0]
        return z

    @torch.no_grad()
    def simulate(self, theta: Mapping[str, Tensor], z: Tensor, generator: torch.Generator) -> Tensor:
        """x ~ p(x|z): (R, Z) -> (R, X)."""
        out = self.hierarchy.descend(TORCH, theta, z[None], 1).out[0]
        return self.likelihood.sample(theta, out, generator)

    @torch.no_grad()
    def reconstruct(self, theta: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """E[x|z]: (R, Z) -> (R, X)."""
        mean: Tensor = self.likelihood.mean(TORCH, self.hierarchy.descend(TORCH, theta, z[None], 1).out[0])
        return mean
