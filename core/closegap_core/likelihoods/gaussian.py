"""Gaussian observations: one learned variance, one a dimension, or variances that the decoder predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from closegap_core.config import GaussianConfig
from closegap_core.likelihoods.base import Likelihood
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_TWO_PI

LOW, HIGH = -7.0, 15.0
"""Bounds of the log-variance, as in the code of Marino et al. 2018; beyond them it no longer learns."""
NAME = "likelihood.log_var"


@final
class Gaussian(Likelihood):
    """p(x|z) = N(x; mean, diag exp(log_var)).

    `variance` says where log_var comes from: `global`, a parameter (1,); `dimension`, a parameter (X,);
    `predicted`, the second half of the decoder's output, which is then [mean, log_var] (S, B, 2 X).
    """

    kind: ClassVar[str] = "gaussian"

    def __init__(self, config: GaussianConfig, width: int) -> None:
        self.config, self.width = config, width
        self.predicts = config.variance == "predicted"
        self.outputs = 2 if self.predicts else 1

    def shapes(self) -> Sequence[Shape]:
        if self.predicts:
            return ()
        size = 1 if self.config.variance == "global" else self.width
        return (Shape(NAME, (size,), value=self.config.log_var),)

    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        mean, raw = self._moments(ops, params, out)
        log_var = ops.clip(raw, LOW, HIGH)
        residual = x - mean
        return ops.sum_last(residual * residual * ops.exp(-log_var) + log_var + LOG_TWO_PI) * -0.5

    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        mean, raw = self._moments(ops, params, out)
        residual = x - mean
        error = residual * ops.exp(-ops.clip(raw, LOW, HIGH))
        along_mean = error if self.config.mean == "identity" else ops.sigmoid_pull(error, mean)
        if not self.predicts:
            return along_mean
        excess = residual * error * 0.5 - 0.5
        return ops.concat([along_mean, ops.clip_pull(excess, raw, LOW, HIGH)])

    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        mean, raw = self._moments(ops, params, out)
        return (x - mean) * ops.exp(-ops.clip(raw, LOW, HIGH))

    def mean(self, ops: Ops, out: Value) -> Value:
        if self.predicts:
            out = ops.split(out, [self.width, self.width])[0]
        return out if self.config.mean == "identity" else ops.sigmoid(out)

    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        mean, raw = self._moments(TORCH, params, out)
        draws = torch.randn(mean.shape, generator=generator, dtype=out.dtype).to(out.device)
        drawn: Tensor = mean + (0.5 * raw.clamp(LOW, HIGH)).exp() * draws
        return drawn

    def accumulate(
        self,
        grads: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        out: Tensor,
        x: Tensor,
        scale: float,
        share: Tensor | None = None,
    ) -> None:
        if self.predicts:
            return
        mean, raw = self._moments(TORCH, params, out)
        excess = (x - mean).square() * (-raw).exp() - 1.0
        excess = (excess if share is None else excess * share[..., None]).sum((0, 1))  # (X,)
        total = excess if self.config.variance == "dimension" else excess.sum(0, keepdim=True)
        grads[NAME].add_(TORCH.clip_pull(total, raw, LOW, HIGH), alpha=0.5 * scale)

    def _moments(self, ops: Ops, params: Mapping[str, Value], out: Value) -> tuple[Value, Value]:
        """The mean and the log-variance before it is clipped."""
        if not self.predicts:
            return self.mean(ops, out), params[NAME]
        mean, log_var = ops.split(out, [self.width, self.width])
        mean = mean if self.config.mean == "identity" else ops.sigmoid(mean)
        return mean, log_var + self.config.log_var
