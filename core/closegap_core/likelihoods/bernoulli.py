"""Independent Bernoulli pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from closegap_core.likelihoods.base import Likelihood
from closegap_core.ops import Ops, Value

LOGIT_BOUND = 7.0
"""Logits are clipped to +-7 in the error encoding only, which divides by mu (1 - mu)."""


@final
class Bernoulli(Likelihood):
    """p(x|z) = prod_j Bernoulli(x_j; sigmoid(out_j)), in terms of logits throughout."""

    kind: ClassVar[str] = "bernoulli"

    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return ops.dot_last(x, out) - ops.sum_softplus(out)

    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return ops.minus_sigmoid(x, out)

    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        logits = ops.clip(out, -LOGIT_BOUND, LOGIT_BOUND)
        return x * (ops.exp(-logits) + 1.0) - (1.0 - x) * (ops.exp(logits) + 1.0)

    def mean(self, ops: Ops, out: Value) -> Value:
        return ops.sigmoid(out)

    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.rand(out.shape, generator=generator, dtype=out.dtype).to(out.device)
        return (draws < out.sigmoid()).to(out.dtype)

    def accumulate(
        self,
        grads: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        out: Tensor,
        x: Tensor,
        scale: float,
        share: Tensor | None = None,
    ) -> None:
        return None
