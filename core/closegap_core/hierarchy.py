"""The latent levels of a generative model, top to bottom, and back up with gradients.

z = (z_1, …, z_L), level 1 nearest the data, is one vector of Z = Z_1 + … + Z_L dimensions: q over all levels is one
diagonal Gaussian (Marino et al. 2018, appendix A.6), and levels are slices of it. p(z_L) = N(0, I); below,
p(z_l | z_above) = N(mean, exp(log_var)) by the network of the level above, which may also give deterministic units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

from torch import Tensor

from closegap_core.config import ModelConfig
from closegap_core.divergence import KlWeights, Prior, divergence
from closegap_core.networks import Tape, decoder
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_VAR_BOUND, Posterior


class Descent(NamedTuple):
    """One pass from the top to the data. priors: of each level, None at the top; out: (S, B, outputs X)."""

    priors: tuple[Prior | None, ...]
    out: Value
    tapes: tuple[list[Tape], ...]


class Below(NamedTuple):
    """What one level's network gives the level below it: prior, deterministic units where it has them, tapes."""

    prior: Prior
    units: Value | None
    tapes: list[Tape]


class Ascent(NamedTuple):
    """Gradients of log-likelihood minus weighted KL: d z (S, B, Z_l) by level, network deltas."""

    dz: tuple[Value, ...]
    deltas: tuple[list[Value], ...]


@final
class Hierarchy:
    """Structure only. Network `decoder.1` gives the data, `decoder.l` the prior of level l - 1."""

    def __init__(self, config: ModelConfig, shape: Sequence[int], outputs: int = 1) -> None:
        """shape: of a row of data, X values; outputs: how many the decoder gives the likelihood for each of them."""
        self.outputs = outputs
        self.latents = tuple(level.latent for level in config.levels)
        self.units = tuple(level.units for level in config.levels)
        self.depth, self.skip = len(self.latents), config.skip
        self.shape, self.width = tuple(shape), math.prod(shape)
        self.predicts_variance = config.prior_variance == "predicted"
        self.networks = tuple(
            decoder(f"decoder.{i + 1}", level.decoder, sum(self.inputs(i)), self._outputs(i), self.shape)
            for i, level in enumerate(config.levels)
        )

    def inputs(self, level: int) -> list[int]:
        """Widths that the network of `level` sees: z and units of it, and of all above it when they skip."""
        last = self.depth if self.skip else level + 1
        return [width for i in range(level, last) for width in (self.latents[i], self.units[i]) if width]

    def _outputs(self, level: int) -> int:
        if level == 0:
            return self.width * self.outputs
        return self.latents[level - 1] * (1 + self.predicts_variance) + self.units[level - 1]

    def shapes(self) -> list[Shape]:
        """Of all networks, and the learned prior variances where they are not predicted."""
        shapes = [shape for network in self.networks for shape in network.shapes()]
        if not self.predicts_variance:
            shapes += [Shape(self._variance(i), (self.latents[i],)) for i in range(self.depth - 1)]
        return shapes

    @staticmethod
    def _variance(level: int) -> str:
        return f"prior.{level + 1}.log_var"

    def split(self, ops: Ops, values: Value) -> tuple[Value, ...]:
        """(…, Z) by levels."""
        return tuple(ops.split(values, self.latents)) if self.depth > 1 else (values,)

    def descend(self, ops: Ops, theta: Mapping[str, Value], z: Value, count: int) -> Descent:
        """z (S, B, Z), S = count, down to the data."""
        parts = self.split(ops, z)
        units: list[Value | None] = [None] * self.depth
        priors: list[Prior | None] = [None] * self.depth
        tapes: list[list[Tape]] = [[]] * self.depth
        for level in range(self.depth - 1, 0, -1):
            priors[level - 1], units[level - 1], tapes[level] = self.below(
                ops, theta, level, parts, units, count
            )
        out, tapes[0] = self.networks[0].forward(ops, theta, self._input(ops, 0, parts, units))
        return Descent(tuple(priors), ops.samples(out, count), tuple(tapes))

    def ancestral(
        self, ops: Ops, theta: Mapping[str, Value], noise: Value, count: int
    ) -> tuple[Value, Posterior]:
        """z ~ p(z) from standard normal noise (S, B, Z), and the mean and log-variance it was drawn with."""
        etas = self.split(ops, noise)
        parts: list[Value] = list(etas)
        means: list[Value] = [eta * 0.0 for eta in etas]
        log_vars: list[Value] = list(means)
        units: list[Value | None] = [None] * self.depth
        for level in range(self.depth - 1, 0, -1):
            prior, units[level - 1], _ = self.below(ops, theta, level, parts, units, count)
            below = level - 1
            parts[below] = prior.mean + ops.exp(prior.log_var * 0.5) * etas[below]
            means[below], log_vars[below] = prior.mean, prior.log_var + means[below]
        return ops.concat(parts), Posterior(ops.concat(means), ops.concat(log_vars))

    def below(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        level: int,
        parts: Sequence[Value],
        units: Sequence[Value | None],
        count: int,
    ) -> Below:
        """One step down from `level`; parts and units: by levels, (S = count, B, ·), read from `level` up."""
        heads, tapes = self.networks[level].forward(ops, theta, self._input(ops, level, parts, units))
        return Below(*self._read(ops, theta, level - 1, heads, count), tapes)

    def _input(self, ops: Ops, level: int, parts: Sequence[Value], units: Sequence[Value | None]) -> Value:
        last = self.depth if self.skip else level + 1
        blocks = [block for i in range(level, last) for block in (parts[i], units[i]) if block is not None]
        return ops.rows(ops.concat(blocks))

    def _read(
        self, ops: Ops, theta: Mapping[str, Value], level: int, heads: Value, count: int
    ) -> tuple[Prior, Value | None]:
        latent, units = self.latents[level], self.units[level]
        widths = [latent] * (1 + self.predicts_variance) + [units] * (units > 0)
        blocks = (
            list(ops.split(ops.samples(heads, count), widths))
            if len(widths) > 1
            else [ops.samples(heads, count)]
        )
        # A learned variance is given the shape (S, B, Z_l) of a predicted one.
        raw = blocks[1] if self.predicts_variance else theta[self._variance(level)] + blocks[0] * 0.0
        prior = Prior(blocks[0], ops.clip(raw, -LOG_VAR_BOUND, LOG_VAR_BOUND), raw)
        return prior, blocks[-1] if units else None

    def ascend(
        self,
        ops: Ops,
        theta: Mapping[str, Value],
        descent: Descent,
        q: Sequence[Posterior],
        score: Value,
        count: int,
        weights: KlWeights | None = None,
    ) -> Ascent:
        """score = d log p(x|z) / d out (S, B, outputs X) -> gradients at every z, those of the levels' KL included."""
        gathered: list[list[Value]] = [[] for _ in range(self.depth)]
        of_units: list[list[Value]] = [[] for _ in range(self.depth)]
        deltas: list[list[Value]] = []
        for level in range(self.depth):
            delta = (
                score
                if level == 0
                else self._prior_delta(ops, descent, q, level - 1, of_units[level - 1], weights)
            )
            d_input, layer_deltas = self.networks[level].backward(
                ops, theta, descent.tapes[level], ops.rows(delta)
            )
            deltas.append(layer_deltas)
            self._scatter(ops, level, ops.samples(d_input, count), gathered, of_units)
        return Ascent(tuple(_sum(blocks) for blocks in gathered), tuple(deltas))

    def _scatter(
        self, ops: Ops, level: int, d_input: Value, gathered: list[list[Value]], of_units: list[list[Value]]
    ) -> None:
        widths = self.inputs(level)
        blocks = list(ops.split(d_input, widths)) if len(widths) > 1 else [d_input]
        for i in range(level, self.depth if self.skip else level + 1):
            gathered[i].append(blocks.pop(0))
            if self.units[i]:
                of_units[i].append(blocks.pop(0))

    def _prior_delta(
        self,
        ops: Ops,
        descent: Descent,
        q: Sequence[Posterior],
        level: int,
        units: list[Value],
        weights: KlWeights | None,
    ) -> Value:
        """d(-KL of `level`) / d(mean, log_var of its prior), and what came back to its units."""
        prior = descent.priors[level]
        if prior is None:
            raise TypeError(f"level {level + 1} has no prior network")
        error, excess = divergence(ops, q[level], prior)
        blocks = [error]
        if self.predicts_variance:
            inside = ops.positive(LOG_VAR_BOUND - ops.abs(prior.raw))
            blocks.append((excess + error * (q[level].mean - prior.mean)) * 0.5 * inside)
        if weights is not None:
            blocks = [block * weights[level] for block in blocks]
        return ops.concat([*blocks, _sum(units)] if units else blocks)

    def accumulate(
        self,
        theta: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        descent: Descent,
        ascent: Ascent,
        q: Sequence[Posterior],
        ops: Ops,
        scale: float,
        weights: KlWeights | None = None,
    ) -> None:
        """Add scale * the gradients of all parameters to `grads`; scale includes 1 / S."""
        for network, tapes, deltas in zip(self.networks, descent.tapes, ascent.deltas, strict=True):
            network.accumulate(grads, tapes, deltas, scale)
        if self.predicts_variance:
            return
        for level, prior in enumerate(descent.priors[:-1]):
            if prior is None:
                raise TypeError(f"level {level + 1} has no prior network")
            error, excess = divergence(ops, q[level], prior)
            inside = (prior.raw.abs() < LOG_VAR_BOUND).to(prior.raw.dtype)
            terms = (excess + error * (q[level].mean - prior.mean)) * 0.5 * inside
            if weights is not None:
                terms = terms * weights[level]
            grads[self._variance(level)].add_(terms.sum((0, 1)), alpha=scale)


def _sum(blocks: Sequence[Value]) -> Value:
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total
