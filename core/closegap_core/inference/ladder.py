"""The ladder encoder: evidence from below meets the prior from above (Sønderby et al. 2016, eqs. 8-12).

A deterministic pass up gives every level a Gaussian N(mean, exp(log_var)) that stands for what the data say of it. The
pass down multiplies it with the level's prior given draws of the level above: precisions add, means are weighted by
them. In the paper each draw has its own q; here the prior is averaged over the S draws first, its mean and its
log-variance, as where inference starts at the prior. So q stays one diagonal Gaussian a row: what every refiner moves,
every gap measures and every file holds. With one level there is no prior to meet: it is the standard encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import LadderStart
from closegap_core.data import Rows
from closegap_core.generative import GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import Parameters
from closegap_core.inference.start import Proposal, Start
from closegap_core.inputs import Inputs
from closegap_core.networks import Tape, encoder
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_VAR_BOUND, Posterior, sample


class Climb(NamedTuple):
    """The pass up: what the data say of each level, (B, Z_l), log-variances unclipped, and the networks' tapes."""

    evidence: tuple[Posterior, ...]
    tapes: tuple[list[Tape], ...]


class Kept(NamedTuple):
    """What the backward needs: the pass up, and the draws of the pass down."""

    climb: Climb
    noise: Value | None
    samples: int


def product(ops: Ops, evidence: Posterior, prior: Posterior) -> Posterior:
    """The normalised product of two Gaussians, (B, Z): precisions add, means are weighted by them."""
    log_var = ops.clip(evidence.log_var, -LOG_VAR_BOUND, LOG_VAR_BOUND)
    share = ops.sigmoid(prior.log_var - log_var)  # of the evidence in the precision
    mean = prior.mean + share * (evidence.mean - prior.mean)
    return Posterior(mean, ops.clip(log_var + ops.log(share), -LOG_VAR_BOUND, LOG_VAR_BOUND))


@final
class Ladder(Start):
    """A network a level, which sees what the one below hands up (with `skip` all below, and the data)."""

    def __init__(self, config: LadderStart, hierarchy: Hierarchy, inputs: Inputs, prefix: str = "") -> None:
        self.hierarchy, self.inputs, depth = hierarchy, inputs, hierarchy.depth
        self.samples = depth > 1
        networks = config.networks(depth)
        widths = [
            network.hidden[-1:] or (2 * z,) for network, z in zip(networks, hierarchy.latents, strict=True)
        ]
        self.features = (*(width for (width,) in widths[:-1]), 0)
        self.sees_data = tuple(level == 0 or hierarchy.skip for level in range(depth))
        self.below = tuple(tuple(range(0 if hierarchy.skip else max(i - 1, 0), i)) for i in range(depth))
        self.networks = tuple(
            encoder(
                f"{prefix}encoder.{i + 1}",
                network,
                (hierarchy.width * self.sees_data[i], sum(self._widths(i))),
                2 * hierarchy.latents[i] + self.features[i],
                2,
                hierarchy.shape,
            )
            for i, network in enumerate(networks)
        )

    def _widths(self, level: int) -> list[int]:
        return [self.features[i] for i in self.below[level]]

    def shapes(self) -> Sequence[Shape]:
        shapes = [shape for network in self.networks for shape in network.shapes()]
        return [*shapes, *self.inputs.shapes(self.hierarchy.width)]

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.inputs.fit(phi, rows)

    def propose(
        self,
        ops: Ops,
        generative: GenerativeModel,
        theta: Mapping[str, Value],
        phi: Mapping[str, Value],
        x: Value,
        zeros: Value,
        noise: Value | None,
        count: int,
    ) -> Proposal:
        climb = self._up(ops, phi, x)
        return Proposal(self._down(ops, theta, climb.evidence, noise, count), Kept(climb, noise, count))

    def _up(self, ops: Ops, phi: Mapping[str, Value], x: Value) -> Climb:
        seen = self.inputs.apply(ops, phi, x)
        handed: list[Value] = []
        evidence: list[Posterior] = []
        tapes: list[list[Tape]] = []
        for level, network in enumerate(self.networks):
            known = network.partial(ops, phi, 0, seen) if self.sees_data[level] else None
            below = [handed[i] for i in self.below[level]]
            heads, tape = network.forward(ops, phi, ops.concat(below) if below else None, known)
            latent, features = self.hierarchy.latents[level], self.features[level]
            mean, log_var, *rest = ops.split(heads, [latent, latent, features][: 2 + (features > 0)])
            evidence.append(Posterior(mean, log_var))
            handed += rest
            tapes.append(tape)
        return Climb(tuple(evidence), tuple(tapes))

    def _down(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        evidence: Sequence[Posterior],
        noise: Value | None,
        count: int,
    ) -> Posterior:
        mean, log_var = evidence[-1]
        levels = [*evidence[:-1], Posterior(mean, ops.clip(log_var, -LOG_VAR_BOUND, LOG_VAR_BOUND))]
        if noise is not None:
            draws = self.hierarchy.split(ops, noise)
            z: list[Value] = [None] * len(levels)
            units: list[Value | None] = [None] * len(levels)
            for level in range(len(levels) - 1, 0, -1):
                z[level] = sample(ops, levels[level], draws[level])
                below = self.hierarchy.below(ops, theta, level, z, units, count)
                units[level - 1] = below.units
                averaged = Posterior(*(ops.mean_samples(part) for part in below.prior[:2]))
                levels[level - 1] = product(ops, levels[level - 1], averaged)
        return Posterior(
            ops.concat([level.mean for level in levels]), ops.concat([level.log_var for level in levels])
        )

    def backward(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters | None, Parameters],
        x: Tensor,
        proposal: Proposal,
        gradient: Posterior,
        scale: float,
    ) -> None:
        kept: Kept = proposal.kept
        deltas = self._down_backward(theta, grads[0], kept, gradient, scale)
        returned: list[Tensor | None] = [None] * len(self.networks)
        seen = self.inputs.apply(TORCH, phi, x)
        for level in reversed(range(len(self.networks))):
            network, tapes, back = self.networks[level], kept.climb.tapes[level], returned[level]
            delta = deltas[level] if back is None else torch.cat([deltas[level], back], -1)
            d_input, inner = network.backward(TORCH, phi, tapes, delta, to_input=bool(self.below[level]))
            network.accumulate(grads[1], tapes, inner, scale)
            if self.sees_data[level]:
                network.accumulate_partial(phi, grads[1], 0, seen, inner[0], scale)
            if d_input is not None:
                for i, part in zip(
                    self.below[level], torch.split(d_input, self._widths(level), -1), strict=True
                ):
                    before = returned[i]
                    returned[i] = part if before is None else before + part

    def _down_backward(
        self, theta: Parameters, grads: Parameters | None, kept: Kept, gradient: Posterior, scale: float
    ) -> list[Tensor]:
        """Gradient at q -> at each level's evidence, (B, 2 Z_l), and scale * theta's own into `grads`.

        By autograd: of the networks only those of upper levels are in it, and they are small.
        """
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for level in kept.climb.evidence for part in level]
            evidence = [Posterior(*leaves[i : i + 2]) for i in range(0, len(leaves), 2)]
            above = (
                theta if grads is None else {name: v.detach().requires_grad_() for name, v in theta.items()}
            )
            q = self._down(TORCH, above, evidence, kept.noise, kept.samples)
        wanted = [*leaves, *({} if grads is None else above).values()]
        found = torch.autograd.grad(q, wanted, gradient, allow_unused=True)
        if grads is not None:
            for name, part in zip(above, found[len(leaves) :], strict=True):
                if part is not None:
                    grads[name].add_(part, alpha=scale)
        return [torch.cat(found[i : i + 2], -1) for i in range(0, len(leaves), 2)]
