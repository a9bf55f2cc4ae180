"""The local auxiliary flow of Cremer, Li & Duvenaud 2018: real-NVP couplings of z with an auxiliary v, row by row.

Every row has networks of its own, so that nothing is amortized: what separates its bound from log p(x) is the family.
The flow lives in coordinates u of the row's best diagonal Gaussian, z = mean + sigma u. There v_0 ~ N(m, exp l),
u_0 | v_0 is a Gaussian by a network, coupling steps move v given u and u given v (Dinh et al. 2017), and r(v|u) is a
Gaussian by a network (auxiliary variables: Agakov & Barber 2004; Maaløe et al. 2016).

It starts as that diagonal Gaussian, with a bound equal to its ELBO: couplings are identities, v_0 carries half of the
variance of u_0, and r is exact. That half is what makes the start more than a saddle point of the bound.

B rows, S draws, Z and V dimensions of z and v, P parameters of a row.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import CHUNK_ROWS
from closegap_core.config import FlowConfig
from closegap_core.coupling import couple
from closegap_core.errors import NumericalError
from closegap_core.measure.ascent import Hill, climb
from closegap_core.model import Model
from closegap_core.posterior import LOG_VAR_BOUND, Posterior, log_density, log_normal

SHARED_VARIANCE = 0.5
"""Of u_0 that v_0 carries at the start."""
JUDGED = 128
"""Draws by which two places of a row's ascent are compared."""
CHOICE_PAIRS = 128
"""Antithetic pairs by which a row's flow is compared with the diagonal Gaussian that it began as."""


class Joint(NamedTuple):
    """A draw of the flow: z (S, B, Z), u (S, B, Z), v (S, B, V), and log q(z, v) in nats (S, B)."""

    z: Tensor
    u: Tensor
    v: Tensor
    log_q: Tensor


@final
class RowNetwork:
    """A network for each row: a tanh layer, and two linear heads (B, S, O) of it and of the input itself."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        self.inputs, self.hidden, self.outputs = inputs, hidden, outputs
        self.shapes = [(inputs, hidden), (1, hidden), (hidden + inputs, 2 * outputs), (1, 2 * outputs)]
        self.size = sum(rows * columns for rows, columns in self.shapes)

    def start(self, words: tuple[int, ...], mean: float, log_var: float, dtype: torch.dtype) -> Tensor:
        """(P,): random hidden layer; the heads are mean times the input's leading dimensions, and log_var there."""
        into, bias, out, constant = (torch.zeros(shape, dtype=dtype) for shape in self.shapes)
        into = seeds.normal((self.inputs, self.hidden), dtype, *words) / math.sqrt(self.inputs)
        for i in range(min(self.inputs, self.outputs)):
            out[self.hidden + i, i] = mean
            constant[0, self.outputs + i] = log_var
        return torch.cat([part.flatten() for part in (into, bias, out, constant)])

    def __call__(self, values: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """values (B, P), h (B, S, I) -> two heads (B, S, O), each row by its own products."""
        parts = torch.split(values, [rows * columns for rows, columns in self.shapes], -1)
        into, bias, out, constant = (
            part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)
        )
        features = torch.cat([torch.tanh(torch.baddbmm(bias, h, into)), h], -1)
        first, second = torch.baddbmm(constant, features, out).chunk(2, -1)
        return first, second


@final
class AuxiliaryFlow:
    """Structure only: parameters (B, P) and the diagonal Gaussians they live on are passed to every function."""

    def __init__(self, latent: int, config: FlowConfig) -> None:
        self.latent, self.auxiliary = latent, config.auxiliary or latent
        down = RowNetwork(self.auxiliary, config.hidden, latent)
        up = RowNetwork(latent, config.hidden, self.auxiliary)
        # q(u_0|v_0), r(v|u), then in turn the couplings of v given u and of u given v.
        self.networks = (down, up, *(up, down) * config.couplings)
        self.sizes = [2 * self.auxiliary, *(network.size for network in self.networks)]

    def start(self, rows: int, dtype: torch.dtype, seed: int) -> Tensor:
        """(B, P), the same for all rows: the joint of their diagonal Gaussian and v."""
        link, rest = math.sqrt(SHARED_VARIANCE), math.log(1 - SHARED_VARIANCE)
        parts = [torch.zeros(2 * self.auxiliary, dtype=dtype)]
        for i, network in enumerate(self.networks):
            outer = i < 2
            words = (seed, seeds.GAPS, 3, 0, i)
            parts.append(network.start(words, link * outer, rest * outer, dtype))
        return torch.cat(parts).expand(rows, -1).contiguous()

    def draw(self, values: Tensor, base: Posterior, noise: Tensor) -> Joint:
        """(z, v) from standard normal noise (S, B or 1, V + Z); log q(z, v) by the change of variables."""
        shape = (noise.shape[0], values.shape[0], noise.shape[2])
        noise = noise.expand(shape).transpose(0, 1)
        auxiliary, latent = torch.split(noise, [self.auxiliary, self.latent], -1)
        own, down, *_ = torch.split(values, self.sizes, -1)
        mean, log_var = (part[:, None] for part in own.chunk(2, -1))
        log_var = _bounded(log_var)
        v = mean + (log_var * 0.5).exp() * auxiliary
        u_mean, u_log_var = self.networks[0](down, v)
        u_log_var = _bounded(u_log_var)
        u = u_mean + (u_log_var * 0.5).exp() * latent
        log_q = log_density(auxiliary, log_var) + log_density(latent, u_log_var)
        u, v, log_det = self.transform(values, u, v)
        u, v, log_q = u.transpose(0, 1), v.transpose(0, 1), (log_q - log_det).transpose(0, 1)
        sigma = (base.log_var * 0.5).exp()
        return Joint(base.mean + sigma * u, u, v, log_q - 0.5 * base.log_var.sum(-1))

    def transform(self, values: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The couplings: u (B, S, Z), v (B, S, V) to where they move, and log |det Jacobian| in nats (B, S)."""
        parts = torch.split(values, self.sizes, -1)[3:]
        log_det = u.new_zeros(u.shape[:2])
        for i in range(0, len(parts), 2):
            a, b = self.networks[2 + i](parts[i], u)
            v, scale = couple(v, a, b)
            log_det = log_det + scale
            a, b = self.networks[3 + i](parts[i + 1], v)
            u, scale = couple(u, a, b)
            log_det = log_det + scale
        return u, v, log_det

    def bound(self, model: Model, values: Tensor, base: Posterior, x: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) + log r(v|z) - log q(z, v) of each draw, nats, (S, B); its expectation is below log p(x)."""
        joint = self.draw(values, base, noise)
        up = torch.split(values, self.sizes, -1)[2]
        mean, log_var = self.networks[1](up, joint.u.transpose(0, 1))
        log_r = log_normal(joint.v, mean.transpose(0, 1), _bounded(log_var).transpose(0, 1))
        return model.generative.log_joint(model.theta.views, x, joint.z) + log_r - joint.log_q


class BestFlow(NamedTuple):
    """Parameters (B, P) of each row's flow, whether its bound stopped rising, and whether it gained, (B,)."""

    values: Tensor
    converged: Tensor
    gained: Tensor


@torch.no_grad()
def best_flow(
    model: Model, x: Tensor, base: Posterior, config: FlowConfig, seed: int
) -> Generator[int, None, BestFlow]:
    """The flow of each row of x (B, X), by Adam from `base`, its best diagonal Gaussian; yields the row steps made.

    All rows see the same draws, so that no row depends on its batch. A row that gained nothing, judged on draws of
    its own, keeps its start. Raises NumericalError when a row is not finite.
    """
    flow = AuxiliaryFlow(model.generative.latent, config)
    settings = config.optimum

    def noise(count: int, *words: int) -> Tensor:
        size = (max(1, count // 2), 1, flow.auxiliary + flow.latent)
        half = seeds.normal(size, model.dtype, seed, seeds.GAPS, *words).to(x.device)
        return torch.cat([half, -half])

    def gradient(rows: Tensor, values: Tensor, step: tuple[int, int]) -> Tensor:
        return _gradient(flow, model, values, _some(base, rows), x[rows], noise(settings.samples, 4, *step))

    judged = noise(JUDGED, 8)

    def bound(rows: Tensor, values: Tensor) -> Tensor:
        return flow.bound(model, values, _some(base, rows), x[rows], judged).mean(0)

    start = flow.start(x.shape[0], model.dtype, seed).to(x.device)
    summit = yield from climb(start, Hill(gradient, bound), settings)
    if not bool(summit.bound.isfinite().all()):
        row = int((~summit.bound.isfinite()).nonzero()[0])
        raise NumericalError(
            f"the flow of row {row} of {len(x)} is not finite; check the row, or lower flow.optimum.learning_rates"
        )
    after, before = (
        pairs(model, flow, at, base, x, CHOICE_PAIRS, (seed, seeds.GAPS, 5), shared=True)
        for at in (summit.values, start)
    )
    gained = (after - before).mean(0) > 0
    return BestFlow(torch.where(gained[:, None], summit.values, start), summit.converged, gained)


def _some(q: Posterior, rows: Tensor) -> Posterior:
    return Posterior(q.mean[rows], q.log_var[rows])


@torch.no_grad()
def pairs(
    model: Model,
    flow: AuxiliaryFlow,
    values: Tensor,
    base: Posterior,
    x: Tensor,
    count: int,
    words: tuple[int, ...],
    shared: bool,
) -> Tensor:
    """The bound by each of `count` antithetic pairs of draws, nats, (count, B), in chunks.

    `shared`: whether all rows see the same draws.
    """
    rows, dimensions = x.shape[0], flow.auxiliary + flow.latent
    chunk = max(1, CHUNK_ROWS // (2 * rows))
    found = []
    for first in range(0, count, chunk):
        size = (min(chunk, count - first), 1 if shared else rows, dimensions)
        half = seeds.normal(size, model.dtype, *words, 0, first).to(x.device)
        there, back = (flow.bound(model, values, base, x, noise) for noise in (half, -half))
        found.append((there + back) / 2)
    return torch.cat(found)


def _gradient(
    flow: AuxiliaryFlow, model: Model, values: Tensor, base: Posterior, x: Tensor, noise: Tensor
) -> Tensor:
    """Of each row's own bound with respect to its own parameters, (B, P)."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        [gradient] = torch.autograd.grad(flow.bound(model, leaf, base, x, noise).mean(0).sum(), leaf)
    return gradient


def _bounded(log_var: Tensor) -> Tensor:
    return log_var.clamp(-LOG_VAR_BOUND, LOG_VAR_BOUND)
