"""log p(x) by annealed importance sampling with Hamiltonian transitions, and its certificate from both sides.

AIS (Neal 2001) walks from the prior through p(z) p(x|z)^beta, beta from 0 to 1; the mean of its weights is an
unbiased estimate of p(x), so its logarithm is a lower bound in expectation. Started at an exact posterior sample of
simulated data and walked backwards it is an upper bound: bidirectional Monte Carlo (Grosse, Ghahramani & Adams 2015;
Wu et al. 2017). C chains a row, all rows and chains in one decoder pass. Chains move in ancestral noise, whose prior is
standard normal however many levels there are; with one level it is z. Settings as in Cremer, Li & Duvenaud 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import AisConfig
from closegap_core.model import Model

GRADIENT_BOUND = 1e4
TARGET_ACCEPTANCE = 0.65
FIRST_STEP_SIZE = 0.1
"""Of every chain; it adapts by 2 % a move. Cremer et al. start at 0.01, which short walks spend growing."""


class Walk(NamedTuple):
    """Where the chains stand: z (C, B, Z), log-weights (C, B), step sizes (C, B), acceptances counted (C, B)."""

    z: Tensor
    log_weight: Tensor
    step_size: Tensor
    accepted: Tensor
    moves: int


def schedule(settings: AisConfig) -> Tensor:
    """beta_0 = 0 … beta_K = 1, (K + 1,): evenly spaced, or a sigmoid of radius 4 rescaled to [0, 1]."""
    grid = torch.linspace(0, 1, settings.temperatures + 1, dtype=torch.float64)
    if settings.schedule == "linear":
        return grid
    curve = torch.sigmoid(4 * (2 * grid - 1))
    return (curve - curve[0]) / (curve[-1] - curve[0])


@torch.no_grad()
def forward(model: Model, x: Tensor, settings: AisConfig, *words: int) -> Iterator[Walk]:
    """Walk from the prior to the posterior of rows x (B, X): one `Walk` a temperature; `estimate` reads the last.

    words: the seed, and what else decides the draws.
    """
    size = (settings.chains, x.shape[0], model.generative.latent)
    z = seeds.normal(size, model.dtype, *words, seeds.AIS, 0).to(x.device)
    yield from _anneal(model, x, z, schedule(settings), settings, words)


@torch.no_grad()
def backward(model: Model, x: Tensor, z: Tensor, settings: AisConfig, *words: int) -> Iterator[Walk]:
    """Walk from exact posterior samples z (B, Z) of simulated rows x (B, X) to the prior: minus an upper bound."""
    start = z.expand(settings.chains, *z.shape).contiguous()
    yield from _anneal(model, x, start, schedule(settings).flip(0), settings, words)


def estimate(walk: Walk) -> Tensor:
    """log of the mean weight over chains, (B,), nats; of a backward walk, take the negative."""
    return torch.logsumexp(walk.log_weight, 0) - math.log(walk.log_weight.shape[0])


def standard_error(walk: Walk) -> Tensor:
    """Of `estimate`, (B,), nats, by the delta method: std(w) / (mean(w) sqrt(C)) over the C chains."""
    weights = (walk.log_weight - walk.log_weight.amax(0)).exp()
    return weights.std(0) / (weights.mean(0) * math.sqrt(weights.shape[0]))


def simulate(model: Model, rows: int, *words: int) -> tuple[Tensor, Tensor]:
    """Ancestral noise (B, Z) and x (B, X) simulated from it: an exact sample of the posterior of x."""
    return model.simulate(rows, *words, seeds.AIS)


def _anneal(
    model: Model, x: Tensor, z: Tensor, betas: Tensor, settings: AisConfig, words: tuple[int, ...]
) -> Iterator[Walk]:
    rows = z.shape[:2]
    zeros = torch.zeros(rows, dtype=z.dtype, device=z.device)
    walk = Walk(z, zeros, zeros + FIRST_STEP_SIZE, zeros, 0)
    value, gradient = model.generative.likelihood_gradient(model.theta.views, x, z)
    generator = seeds.generator(*words, seeds.AIS, 3)
    for before, after in zip(betas[:-1].tolist(), betas[1:].tolist(), strict=True):
        walk = walk._replace(log_weight=walk.log_weight + (after - before) * value)
        walk, value, gradient = _move(model, x, walk, value, gradient, after, settings.leapfrogs, generator)
        yield walk


def _move(
    model: Model,
    x: Tensor,
    walk: Walk,
    value: Tensor,
    gradient: Tensor,
    beta: float,
    leapfrogs: int,
    generator: torch.Generator,
) -> tuple[Walk, Tensor, Tensor]:
    """One Hamiltonian transition that leaves p(z) p(x|z)^beta invariant (Neal 2011), unit mass."""
    momentum = torch.randn(walk.z.shape, generator=generator, dtype=walk.z.dtype).to(walk.z.device)
    # Jitter keeps a trajectory's length off the periods of a nearly Gaussian target (Neal 2011, section 3.2).
    jitter = torch.rand(walk.step_size.shape, generator=generator, dtype=walk.z.dtype).to(walk.z.device)
    size = (walk.step_size * (0.5 + jitter))[..., None]
    z, new_value, new_gradient = walk.z, value, gradient
    p = momentum + 0.5 * size * _force(z, new_gradient, beta)
    for i in range(leapfrogs):
        z = z + size * p
        new_value, new_gradient = model.generative.likelihood_gradient(model.theta.views, x, z)
        p = p + (size if i < leapfrogs - 1 else 0.5 * size) * _force(z, new_gradient, beta)
    log_ratio = _energy(walk.z, value, momentum, beta) - _energy(z, new_value, p, beta)
    uniform = torch.rand(log_ratio.shape, generator=generator, dtype=z.dtype).to(z.device)
    accept = uniform.log() < log_ratio  # a walk that diverged compares with NaN and is refused
    accepted, moves = walk.accepted + accept.to(z.dtype), walk.moves + 1
    grow = accepted / moves > TARGET_ACCEPTANCE
    step_size = (walk.step_size * torch.where(grow, 1.02, 0.98)).clamp(1e-4, 0.5)
    chosen = accept[..., None]
    return (
        Walk(torch.where(chosen, z, walk.z), walk.log_weight, step_size, accepted, moves),
        torch.where(accept, new_value, value),
        torch.where(chosen, new_gradient, gradient),
    )


def _force(z: Tensor, gradient: Tensor, beta: float) -> Tensor:
    """Gradient of log p(z) + beta log p(x|z), clipped."""
    return (beta * gradient - z).clamp(-GRADIENT_BOUND, GRADIENT_BOUND)


def _energy(z: Tensor, value: Tensor, momentum: Tensor, beta: float) -> Tensor:
    return 0.5 * (z.square().sum(-1) + momentum.square().sum(-1)) - beta * value
