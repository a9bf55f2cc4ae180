"""Bounds of each row with the variance of their Monte-Carlo estimate: L[q], importance weights, a flow's."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import CHUNK_ROWS
from closegap_core.config import FlowConfig
from closegap_core.flow import AuxiliaryFlow, best_flow, pairs
from closegap_core.inference.refiners import GRADIENT_ONLY
from closegap_core.measure.moments import Columns, estimate
from closegap_core.model import Model
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior

GROUPS = 20
"""At least so many groups of draws, so that their spread tells the error of their mean."""


class Estimates(NamedTuple):
    """A figure of each row, (B,), nats, and the variance of its Monte-Carlo estimate, (B,)."""

    value: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, value: Tensor, variance: Tensor) -> Estimates:
        return cls(value.double().numpy(), variance.double().numpy())

    @classmethod
    def read(cls, columns: Columns, name: str) -> Estimates:
        """What `columns` wrote."""
        return cls(columns[name], columns[f"{name}_variance"])

    def columns(self, name: str) -> dict[str, np.ndarray]:
        return {name: self.value, f"{name}_variance": self.variance}

    def minus(self, other: Estimates) -> Estimates:
        """The difference; the two estimates are independent."""
        return Estimates(self.value - other.value, self.variance + other.variance)

    def to_dict(self) -> dict[str, float]:
        """{"value", "standard_error", "estimator_error"}."""
        return estimate(self.value, self.variance)


class Flowed(NamedTuple):
    """The bound of each row's own flow, whether its ascent converged, and whether it gained on q*, (B,)."""

    bound: Estimates
    converged: np.ndarray
    gained: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """{"value", "standard_error", "estimator_error", "converged", "gained_rows"}."""
        return {
            **self.bound.to_dict(),
            "converged": bool(self.converged.all()),
            "gained_rows": int(self.gained.sum()),
        }


@torch.no_grad()
def elbo(model: Model, x: Tensor, q: Posterior, samples: int, *words: int) -> Estimates:
    """L[q] of each row with its error, in chunks of antithetic draws."""
    chunk = max(2, min(CHUNK_ROWS // x.shape[0], samples // GROUPS) // 2 * 2)
    means = []
    for first in range(0, samples, chunk):
        size = (chunk // 2, x.shape[0], model.noise_width)
        half = seeds.normal(size, model.dtype, *words, seeds.GAPS, first).to(x.device)
        means.append(model.bound(x, q, torch.cat([half, -half])).elbo.double())
    values = torch.stack(means)
    variance = values.var(0) / len(means) if len(means) > 1 else torch.zeros_like(values[0])
    return Estimates.of(values.mean(0), variance)


@torch.no_grad()
def shortfall(model: Model, x: Tensor, q: Posterior, samples: int, *words: int) -> np.ndarray:
    """How far L[q] of each row is below the best L by a last natural-gradient step: (B,), nats.

    Half of g' F^-1 g, g the gradient with respect to (mean, log_var) and F = diag(1 / sigma^2, 1 / 2) the Fisher
    information of q, which at the optimum is the curvature's diagonal (Amari 1998). Two independent estimates of g
    make it unbiased, so of a row that is at its best it may be negative.
    """
    one, other = (_gradient(model, x, q, samples // 2, (*words, seeds.GAPS, 9, half)) for half in (0, 1))
    terms = q.log_var.exp() * one.mean * other.mean + 2 * one.log_var * other.log_var
    found: np.ndarray = 0.5 * terms.sum(-1).double().numpy()
    return found


def _gradient(model: Model, x: Tensor, q: Posterior, samples: int, words: tuple[int, ...]) -> Posterior:
    """Of L with respect to q's parameters, (B, Z) each, by antithetic draws in chunks."""
    pairs = max(1, min(CHUNK_ROWS // x.shape[0], samples) // 2)
    sums, count = torch.zeros_like(torch.cat(q, -1)), math.ceil(max(1, samples) / (2 * pairs))
    for first in range(count):
        half = seeds.normal((pairs, *q.mean.shape), model.dtype, *words, first).to(x.device)
        draws = torch.cat([half, -half])
        signals = model.generative.signals(TORCH, model.theta.views, x, q, draws, 2 * pairs, GRADIENT_ONLY)
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        sums += torch.cat(signals.gradient, -1)
    return Posterior(*(sums / count).chunk(2, -1))


@torch.no_grad()
def importance(model: Model, x: Tensor, q: Posterior, samples: int, *words: int) -> Estimates:
    """The IWAE bound of each row (Burda et al. 2016) with the delta-method variance of its logarithm."""
    model = model.packed()
    chunk = max(1, CHUNK_ROWS // x.shape[0])
    first_moment = torch.full((x.shape[0],), -math.inf, dtype=x.dtype, device=x.device)
    second_moment = first_moment.clone()
    for first in range(0, samples, chunk):
        size = (min(chunk, samples - first), x.shape[0], model.noise_width)
        noise = seeds.normal(size, model.dtype, *words, seeds.GAPS, 1, first).to(x.device)
        log_weights = model.log_weights(x, q, noise)
        first_moment = torch.logaddexp(first_moment, torch.logsumexp(log_weights, 0))
        second_moment = torch.logaddexp(second_moment, torch.logsumexp(2 * log_weights, 0))
    spread = (second_moment - 2 * first_moment).exp() - 1.0 / samples
    return Estimates.of(first_moment - math.log(samples), spread.clamp(min=0.0))


@torch.no_grad()
def flow_bound(
    model: Model, x: Tensor, best: Posterior, config: FlowConfig, samples: int, *words: int
) -> Generator[int, None, Flowed]:
    """L of each row's own flow, begun at its best diagonal Gaussian; yields the row steps made."""
    flow = AuxiliaryFlow(model.generative.latent, config)
    fitted = yield from best_flow(model, x, best, config, words[0])
    count = max(2, samples // 2)
    draws = pairs(model, flow, fitted.values, best, x, count, (*words, seeds.GAPS, 6), shared=False)
    bound = Estimates.of(draws.mean(0), draws.var(0) / len(draws))
    return Flowed(bound, fitted.converged.numpy(), fitted.gained.numpy())
