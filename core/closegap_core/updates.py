"""How the encoder's output becomes the next q: q' = f(heads, q) (Marino et al. 2018, eq. 6 and appendix eq. 51)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.ops import Ops, Value
from closegap_core.posterior import LOG_VAR_BOUND, Posterior


class Step(NamedTuple):
    """An updated q, and what the update's backward needs: both proposals unclipped, the gates, what they scale."""

    q: Posterior
    proposal: Posterior
    gate: Posterior | None
    gated: Posterior


class Update(ABC):
    """`heads` blocks of Z outputs an encoder must have, the update, and its vector-Jacobian product."""

    heads: int = 2
    needs_gradient: bool = False

    @abstractmethod
    def apply(self, ops: Ops, heads: Value, q: Posterior, gradient: Posterior | None, latent: int) -> Step:
        """heads (B, heads Z), q and, where it is needed, dL/dq -> the next q, log-variances within [-15, 15]."""

    @abstractmethod
    def delta(self, step: Step, gradient: Posterior) -> Tensor:
        """Gradient at the next q -> gradient at the heads (B, heads Z); q before counts as a constant."""


def _clip(ops: Ops, log_var: Value) -> Value:
    return ops.clip(log_var, -LOG_VAR_BOUND, LOG_VAR_BOUND)


def _through_clip(log_var: Tensor, gradient: Tensor) -> Tensor:
    return gradient * (log_var.abs() <= LOG_VAR_BOUND).to(gradient.dtype)


@final
class Direct(Update):
    """The heads are the next q, as in a standard encoder."""

    def apply(self, ops: Ops, heads: Value, q: Posterior, gradient: Posterior | None, latent: int) -> Step:
        mean, log_var = ops.split(heads, [latent, latent])
        return Step(Posterior(mean, _clip(ops, log_var)), Posterior(mean, log_var), None, q)

    def delta(self, step: Step, gradient: Posterior) -> Tensor:
        return torch.cat([gradient.mean, _through_clip(step.proposal.log_var, gradient.log_var)], -1)


@final
class Additive(Update):
    """q' = q + heads."""

    def apply(self, ops: Ops, heads: Value, q: Posterior, gradient: Posterior | None, latent: int) -> Step:
        mean, log_var = ops.split(heads, [latent, latent])
        proposal = Posterior(q.mean + mean, q.log_var + log_var)
        return Step(Posterior(proposal.mean, _clip(ops, proposal.log_var)), proposal, None, q)

    def delta(self, step: Step, gradient: Posterior) -> Tensor:
        return torch.cat([gradient.mean, _through_clip(step.proposal.log_var, gradient.log_var)], -1)


@final
class Gated(Update):
    """q' = g q + (1 - g) f with g = sigmoid(heads), a gate each for mean and log-variance."""

    heads = 4

    def apply(self, ops: Ops, heads: Value, q: Posterior, gradient: Posterior | None, latent: int) -> Step:
        mean, log_var, mean_gate, log_var_gate = ops.split(heads, [latent] * 4)
        gate = Posterior(ops.sigmoid(mean_gate), ops.sigmoid(log_var_gate))
        clipped = _clip(ops, log_var)
        after = Posterior(mean + gate.mean * (q.mean - mean), clipped + gate.log_var * (q.log_var - clipped))
        return Step(after, Posterior(mean, log_var), gate, q)

    def delta(self, step: Step, gradient: Posterior) -> Tensor:
        if step.gate is None:
            raise TypeError("a gated update was asked for the gradient of an ungated step")
        mean, log_var = step.proposal
        gate, before = step.gate, step.gated
        clipped = log_var.clamp(-LOG_VAR_BOUND, LOG_VAR_BOUND)
        return torch.cat(
            [
                gradient.mean * (1.0 - gate.mean),
                _through_clip(log_var, gradient.log_var * (1.0 - gate.log_var)),
                gradient.mean * (before.mean - mean) * gate.mean * (1.0 - gate.mean),
                gradient.log_var * (before.log_var - clipped) * gate.log_var * (1.0 - gate.log_var),
            ],
            -1,
        )


class Ascent(Update, ABC):
    """q' = q + f + 2 g direction(dL/dq) with learned step sizes 2 g in (0, 2), g = sigmoid(heads).

    The learned-SGD form of Marino, Cvitkovic & Yue 2018 (amortized variational filtering).
    """

    heads = 4
    needs_gradient = True

    @abstractmethod
    def direction(self, ops: Ops, q: Posterior, gradient: Posterior) -> Posterior:
        """What the learned step sizes scale."""

    @final
    def apply(self, ops: Ops, heads: Value, q: Posterior, gradient: Posterior | None, latent: int) -> Step:
        if gradient is None:
            raise TypeError("an ascent was asked for without the gradient of the ELBO")
        mean, log_var, mean_gate, log_var_gate = ops.split(heads, [latent] * 4)
        gate = Posterior(ops.sigmoid(mean_gate), ops.sigmoid(log_var_gate))
        along = self.direction(ops, q, gradient)
        proposal = Posterior(
            q.mean + mean + gate.mean * along.mean * 2.0,
            q.log_var + log_var + gate.log_var * along.log_var * 2.0,
        )
        return Step(Posterior(proposal.mean, _clip(ops, proposal.log_var)), proposal, gate, along)

    @final
    def delta(self, step: Step, gradient: Posterior) -> Tensor:
        if step.gate is None:
            raise TypeError("an ascent was asked for the gradient of an ungated step")
        gate, along = step.gate, step.gated
        log_var = _through_clip(step.proposal.log_var, gradient.log_var)
        return torch.cat(
            [
                gradient.mean,
                log_var,
                gradient.mean * along.mean * gate.mean * (1.0 - gate.mean) * 2.0,
                log_var * along.log_var * gate.log_var * (1.0 - gate.log_var) * 2.0,
            ],
            -1,
        )


@final
class LearnedSgd(Ascent):
    """Along the gradient itself."""

    def direction(self, ops: Ops, q: Posterior, gradient: Posterior) -> Posterior:
        return gradient


@final
class Natural(Ascent):
    """Along the natural gradient of a diagonal Gaussian, (sigma^2 dL/dmean, 2 dL/dlog_var) (Amari 1998).

    The step in the mean is bounded by 3 sigma a dimension and the one in the log-variance by 1, so that a
    first guess far from the optimum cannot overshoot.
    """

    def direction(self, ops: Ops, q: Posterior, gradient: Posterior) -> Posterior:
        sigma = ops.exp(q.log_var * 0.5)
        mean = sigma * ops.clip(sigma * gradient.mean, -3.0, 3.0)
        return Posterior(mean, ops.clip(gradient.log_var * 2.0, -1.0, 1.0))


UPDATES: dict[str, Update] = {
    "direct": Direct(),
    "additive": Additive(),
    "gated": Gated(),
    "learned_sgd": LearnedSgd(),
    "natural": Natural(),
}
