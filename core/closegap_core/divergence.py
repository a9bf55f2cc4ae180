"""KL divergences from q to the priors of the levels, their gradients, and what they count in training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

from closegap_core.objective import Objective
from closegap_core.ops import Ops, Value
from closegap_core.posterior import Posterior, twice_kl_to_prior

KlWeights = Sequence[Value]
"""Of each level, nearest the data first: one float, or what each dimension's KL counts, (B, Z_l)."""


class Prior(NamedTuple):
    """p(z_l | z_above) at each sample: mean and log_var (S, B, Z_l), and log_var before it was clipped."""

    mean: Value
    log_var: Value
    raw: Value


def divergence(ops: Ops, q: Posterior, prior: Prior) -> tuple[Value, Value]:
    """(mean_q - mean_p) / var_p and var_q / var_p - 1 at each sample, (S, B, Z_l): the parts of KL's gradients."""
    precision = ops.exp(-prior.log_var)
    return (q.mean - prior.mean) * precision, ops.exp(q.log_var) * precision - 1.0


def kl_to(ops: Ops, q: Posterior, prior: Prior) -> Value:
    """KL(q_l || p(z_l | z_above)) in nats at each sample, (S, B), in closed form."""
    return ops.sum_last(twice_kl_to(ops, q, prior)) * 0.5


def twice_kl_to(ops: Ops, q: Posterior, prior: Prior) -> Value:
    """2 KL(q_l || p(z_l | z_above)) of each dimension in nats at each sample, (S, B, Z_l)."""
    error, excess = divergence(ops, q, prior)
    return prior.log_var - q.log_var + excess + error * (q.mean - prior.mean)


def kl_weights(
    ops: Ops, q: Sequence[Posterior], priors: Sequence[Prior | None], objective: Objective
) -> KlWeights | None:
    """What the KL of each level counts in the gradient of `objective`; None: as in the ELBO."""
    if not objective.free_bits:
        return [objective.kl_weight] * len(q) if objective.warming else None
    return [
        ops.positive(twice - 2.0 * objective.free_bits) * objective.kl_weight
        for twice in _twice(ops, q, priors)
    ]


def counted_kl(
    ops: Ops, q: Sequence[Posterior], priors: Sequence[Prior | None], objective: Objective
) -> Value:
    """The KL of all levels as `objective` counts it, (B,) nats."""
    counted = [
        ops.sum_last(ops.maximum(twice, 2.0 * objective.free_bits)) for twice in _twice(ops, q, priors)
    ]
    return reduce(add, counted) * (0.5 * objective.kl_weight)


def kl_by_dimension(ops: Ops, q: Sequence[Posterior], priors: Sequence[Prior | None]) -> Value:
    """KL of each dimension of all levels, (B, Z) nats; below the top its mean over samples."""
    return ops.concat(_twice(ops, q, priors)) * 0.5


def _twice(ops: Ops, q: Sequence[Posterior], priors: Sequence[Prior | None]) -> list[Value]:
    """2 KL of each dimension, (B, Z_l) by level, below the top its mean over samples."""
    return [
        twice_kl_to_prior(ops, level) if prior is None else ops.mean_samples(twice_kl_to(ops, level, prior))
        for level, prior in zip(q, priors, strict=True)
    ]
