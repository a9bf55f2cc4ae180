"""Approximate posteriors as values: q(z|x) = N(mean, diag exp(log_var)), passed and returned, never kept."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from closegap_core.ops import Ops, Value

LOG_TWO_PI = math.log(2.0 * math.pi)
LOG_VAR_BOUND = 15.0
"""Log-variances of q are kept in [-15, 15], so that exp never overflows."""
ACTIVE = 0.01
"""Variance over rows of a dimension's posterior mean above which it is active (Burda et al. 2016)."""


class Posterior(NamedTuple):
    """A diagonal Gaussian for each row: mean (B, Z) and log_var (B, Z)."""

    mean: Value
    log_var: Value


def sample(ops: Ops, q: Posterior, noise: Value) -> Value:
    """Reparameterised z = mean + sigma noise; noise (S, B, Z) or (S, 1, Z) gives z (S, B, Z)."""
    return q.mean + ops.exp(q.log_var * 0.5) * noise


def kl_to_prior(ops: Ops, q: Posterior) -> Value:
    """KL(q || N(0, I)) in nats, (B,), in closed form."""
    return ops.sum_last(twice_kl_to_prior(ops, q)) * 0.5


def twice_kl_to_prior(ops: Ops, q: Posterior) -> Value:
    """2 KL(q || N(0, I)) of each dimension in nats, (B, Z)."""
    return ops.exp(q.log_var) + q.mean * q.mean - 1.0 - q.log_var


def log_density(noise: Tensor, log_var: Tensor) -> Tensor:
    """log q(z) in nats for z = mean + exp(log_var / 2) noise: (S, B, Z), (B, Z) -> (S, B).

    Uses the noise itself, so that nothing cancels when the variance is small.
    """
    return -0.5 * (noise.square().sum(-1) + (log_var + LOG_TWO_PI).sum(-1))


def log_prior(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats: (S, B, Z) -> (S, B)."""
    return -0.5 * (z.square().sum(-1) + LOG_TWO_PI * z.shape[-1])


def log_normal(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; mean, exp(log_var)) in nats: (S, B, Z) -> (S, B)."""
    return -0.5 * ((z - mean).square() * (-log_var).exp() + log_var + LOG_TWO_PI).sum(-1)
