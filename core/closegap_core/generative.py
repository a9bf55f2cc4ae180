"""The generative model p(x, z) = N(z; 0, I) p(x|decoder(z)), and the signals of its ELBO.

Everything that inference needs is a function of (theta, x, q, noise): the ELBO, its gradient with respect to
q's parameters by one vector-Jacobian product of the decoder, and the prediction errors. B rows, S samples, Z, X.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import ModelConfig
from closegap_core.likelihoods import LIKELIHOODS
from closegap_core.networks import Network, Tape
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior, kl_to_prior, log_density, log_prior, sample


class Wanted(NamedTuple):
    """Which signals an inference method encodes."""

    gradient: bool
    error: bool


class Error(NamedTuple):
    """Prediction errors, averaged over samples: of the data (B, X) and of the latents (B, Z)."""

    data: Value
    latent: Value


class Signals(NamedTuple):
    """What can be encoded: dL/d(mean, log_var) of each row's own ELBO, and the errors."""

    gradient: Posterior | None
    error: Error | None


class Bound(NamedTuple):
    """ELBO = log_likelihood - kl of each row, nats, (B,)."""

    log_likelihood: Value
    kl: Value

    @property
    def elbo(self) -> Value:
        return self.log_likelihood - self.kl


@final
class GenerativeModel:
    """Structure only: parameters theta are passed to every function."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        level = config.levels[0]
        self.latent, self.width = level.latent, width
        self.likelihood = LIKELIHOODS[config.likelihood.kind](config.likelihood)
        self.decoder = Network("decoder", level.decoder, (level.latent,), width)

    def shapes(self) -> list[Shape]:
        return [*self.decoder.shapes(), *self.likelihood.shapes()]

    def decode(self, ops: Ops, theta: Mapping[str, Value], z: Value, count: int) -> tuple[Value, list[Tape]]:
        """z (S, B, Z), S = count -> the decoder's output (S, B, X) and its tapes."""
        out, tapes = self.decoder.forward(ops, theta, ops.rows(z))
        return ops.samples(out, count), tapes

    def bound(
        self, ops: Ops, theta: Mapping[str, Value], x: Value, q: Posterior, noise: Value, count: int
    ) -> Bound:
        """The ELBO of each row, its expectation over z estimated with the S = count draws of `noise`."""
        out, _ = self.decode(ops, theta, sample(ops, q, noise), count)
        return Bound(
            ops.mean_samples(self.likelihood.log_likelihood(ops, theta, out, x)), kl_to_prior(ops, q)
        )

    def signals(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        x: Value,
        q: Posterior,
        noise: Value,
        count: int,
        wanted: Wanted,
    ) -> Signals:
        """Signals of the ELBO at q. The gradient is each row's own, so it does not depend on the batch.

        Marino et al. 2018, eqs. 9-12, with the analytic KL term:
        dL/dmean = E[r] - mean,  dL/dlog_var = E[sigma noise r] / 2 + (1 - sigma^2) / 2,  r = d log p(x|z) / dz.
        """
        z = sample(ops, q, noise)
        out, tapes = self.decode(ops, theta, z, count)
        gradient = self._gradient(ops, theta, x, q, noise, out, tapes, count)[0] if wanted.gradient else None
        error = None
        if wanted.error:
            data = ops.mean_samples(self.likelihood.error(ops, theta, out, x))
            error = Error(data, ops.mean_samples(z))
        return Signals(gradient, error)

    def _gradient(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        x: Value,
        q: Posterior,
        noise: Value,
        out: Value,
        tapes: list[Tape],
        count: int,
    ) -> tuple[Posterior, list[Value]]:
        score = ops.rows(self.likelihood.score(ops, theta, out, x))
        dz, deltas = self.decoder.backward(ops, theta, tapes, score)
        dz = ops.samples(dz, count)
        mean = ops.mean_samples(dz) - q.mean
        scaled = ops.mean_samples(dz * noise) * ops.exp(q.log_var * 0.5)
        return Posterior(mean, (scaled + 1.0 - ops.exp(q.log_var)) * 0.5), deltas

    def learn(
        self,
        theta: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        x: Tensor,
        q: Posterior,
        noise: Tensor,
        scale: float,
        wanted: Wanted,
    ) -> tuple[Signals, Bound]:
        """As `signals`, and adds scale * d(sum of ELBOs)/dtheta to `grads` from the same pass; the gradient always."""
        count = noise.shape[0]
        z = sample(TORCH, q, noise)
        out, tapes = self.decode(TORCH, theta, z, count)
        gradient, deltas = self._gradient(TORCH, theta, x, q, noise, out, tapes, count)
        self.decoder.accumulate(grads, tapes, deltas, scale / count)
        self.likelihood.accumulate(grads, theta, out, x, scale / count)
        likelihood = self.likelihood.log_likelihood(TORCH, theta, out, x).mean(0)
        error = None
        if wanted.error:
            error = Error(self.likelihood.error(TORCH, theta, out, x).mean(0), z.mean(0))
        return Signals(gradient, error), Bound(likelihood, kl_to_prior(TORCH, q))

    def log_weights(self, theta: Mapping[str, Tensor], x: Tensor, q: Posterior, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z) in nats for z from q by noise (S, B, Z): (S, B) (Burda et al. 2016, eq. 8)."""
        z = sample(TORCH, q, noise)
        out, _ = self.decode(TORCH, theta, z, noise.shape[0])
        log_likelihood: Tensor = self.likelihood.log_likelihood(TORCH, theta, out, x)
        return log_likelihood + log_prior(z) - log_density(noise, q.log_var)

    def likelihood_gradient(self, theta: Mapping[str, Tensor], x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x|z) in nats (S, B) and its gradient with respect to z (S, B, Z)."""
        out, tapes = self.decode(TORCH, theta, z, z.shape[0])
        score = self.likelihood.score(TORCH, theta, out, x).reshape(-1, self.width)
        gradient: Tensor = self.decoder.backward(TORCH, theta, tapes, score)[0]  # type: ignore[assignment]
        log_likelihood: Tensor = self.likelihood.log_likelihood(TORCH, theta, out, x)
        return log_likelihood, gradient.view_as(z)

    def simulate(self, theta: Mapping[str, Tensor], z: Tensor, generator: torch.Generator) -> Tensor:
        """x ~ p(x|z): (R, Z) -> (R, X)."""
        with torch.no_grad():
            out, _ = self.decoder.forward(TORCH, theta, z)
            return self.likelihood.sample(theta, out, generator)

    def reconstruct(self, theta: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """E[x|z]: (R, Z) -> (R, X)."""
        with torch.no_grad():
            out, _ = self.decoder.forward(TORCH, theta, z)
            mean: Tensor = self.likelihood.mean(TORCH, out)
            return mean
