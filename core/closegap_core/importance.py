"""The importance-weighted bound as something to learn from, and its gradients in closed form.

L_K = E[log (1/K) sum_k w_k], w_k = p(x, z_k) / q(z_k), z_k ~ q (Burda, Grosse & Salakhutdinov 2016, eqs. 8 and 14):
its gradient weighs that of each draw's log w_k by w_k / sum w. Given its draw, log w_k is log p(x|z_k) + sum over
levels of log p(z_l | z_above) - log q(z_k): the prior's part is a divergence from the point z_k, not from q. K = S.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.divergence import divergence
from closegap_core.hierarchy import Ascent, Descent, Hierarchy
from closegap_core.likelihoods.base import Likelihood
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior, log_normal, log_prior


class Weighed(NamedTuple):
    """Each draw: what it is (z by levels), the pass down, log w and log p(x|z) in nats (S, B), and its share of all."""

    points: list[Posterior]
    descent: Descent
    log_weight: Tensor
    log_likelihood: Tensor

    @property
    def share(self) -> Tensor:
        """w_k / sum w, (S, B)."""
        return torch.softmax(self.log_weight, 0)

    def evenly(self) -> Weighed:
        """The same draws, each with a share of 1 / S, as the ELBO takes them."""
        return self._replace(log_weight=torch.zeros_like(self.log_weight))


@final
class ImportanceWeighted:
    """Structure only: parameters theta are passed to every function. kl_weight: of log p(z) / q(z) in log w."""

    def __init__(self, hierarchy: Hierarchy, likelihood: Likelihood) -> None:
        self.hierarchy, self.likelihood = hierarchy, likelihood

    def weigh(
        self,
        theta: Mapping[str, Tensor],
        x: Tensor,
        z: Tensor,
        log_q: Tensor,
        descent: Descent,
        kl_weight: float | Tensor,
    ) -> Weighed:
        """The draws z (S, B, Z) of any q, with log q(z) in nats (S, B); their pass down is `descent`."""
        parts = self.hierarchy.split(TORCH, z)
        log_likelihood: Tensor = self.likelihood.log_likelihood(TORCH, theta, descent.out, x)
        ratio = -log_q
        for part, prior in zip(parts, descent.priors, strict=True):
            ratio = ratio + (
                log_prior(part) if prior is None else log_normal(part, prior.mean, prior.log_var)
            )
        points = [Posterior(part, torch.full_like(part, -math.inf)) for part in parts]
        return Weighed(points, descent, log_likelihood + kl_weight * ratio, log_likelihood)

    @staticmethod
    def bound(weighed: Weighed) -> tuple[Tensor, Tensor]:
        """log-likelihood by the draws' shares and what is left to L_K, (B,) nats: L_K is their difference."""
        log_likelihood = (weighed.share * weighed.log_likelihood).sum(0)
        bound = torch.logsumexp(weighed.log_weight, 0) - math.log(len(weighed.log_weight))
        return log_likelihood, log_likelihood - bound

    def gradient(
        self,
        theta: Mapping[str, Tensor],
        x: Tensor,
        q: Posterior,
        noise: Tensor,
        weighed: Weighed,
        kl_weight: float | Tensor,
    ) -> tuple[Posterior, Ascent]:
        """dL_K / d(mean, log_var) of a diagonal Gaussian that was drawn by `noise`, (B, Z), and the pass up."""
        dz, ascent = self.along(theta, x, weighed, kl_weight)
        scaled = TORCH.mean_samples(dz * noise) * (q.log_var * 0.5).exp()
        return Posterior(TORCH.mean_samples(dz), (scaled + kl_weight) * 0.5), ascent

    def along(
        self, theta: Mapping[str, Tensor], x: Tensor, weighed: Weighed, kl_weight: float | Tensor
    ) -> tuple[Tensor, Ascent]:
        """K share_k d(log p(x|z_k) + kl_weight log p(z_k)) / dz_k, (S, B, Z), and the pass up for theta's."""
        count, descent = len(weighed.log_weight), weighed.descent
        share = (count * weighed.share)[..., None]  # means over draws become sums by shares
        score = self.likelihood.score(TORCH, theta, descent.out, x) * share
        ascent = self.hierarchy.ascend(
            TORCH, theta, descent, weighed.points, score, count, self._weights(weighed, kl_weight)
        )
        errors = [
            point.mean if prior is None else divergence(TORCH, point, prior)[0]
            for point, prior in zip(weighed.points, descent.priors, strict=True)
        ]
        return TORCH.concat(ascent.dz) - kl_weight * share * TORCH.concat(errors), ascent

    def accumulate(
        self,
        theta: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        x: Tensor,
        weighed: Weighed,
        ascent: Ascent,
        scale: float,
        kl_weight: float | Tensor,
    ) -> None:
        """Add scale * d(sum over rows of L_K) / dtheta to `grads`."""
        weights, mean = self._weights(weighed, kl_weight), scale / len(weighed.log_weight)
        self.hierarchy.accumulate(theta, grads, weighed.descent, ascent, weighed.points, TORCH, mean, weights)
        self.likelihood.accumulate(grads, theta, weighed.descent.out, x, scale, weighed.share)

    def _weights(self, weighed: Weighed, kl_weight: float | Tensor) -> list[Tensor]:
        share = (kl_weight * len(weighed.log_weight) * weighed.share)[..., None]
        return [share] * self.hierarchy.depth
