"""Gaussian observations with one learned variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from closegap_core.config import GaussianConfig
from closegap_core.likelihoods.base import Likelihood
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import LOG_TWO_PI

LOW, HIGH = -7.0, 15.0
"""Bounds of the log-variance, as in the code of Marino et al. 2018."""
NAME = "likelihood.log_var"


@final
class Gaussian(Likelihood):
    """p(x|z) = N(x; mean(out), exp(log_var) I), one log_var (1,) for all dimensions and rows."""

    kind: ClassVar[str] = "gaussian"

    def __init__(self, config: GaussianConfig) -> None:
        self.config = config

    def shapes(self) -> Sequence[Shape]:
        return (Shape(NAME, (1,), value=self.config.log_var),)

    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        log_var = ops.clip(params[NAME], LOW, HIGH)
        residual = x - self.mean(ops, out)
        return ops.sum_last(residual * residual * ops.exp(-log_var) + log_var + LOG_TWO_PI) * -0.5

    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        mean = self.mean(ops, out)
        error = (x - mean) * ops.exp(-ops.clip(params[NAME], LOW, HIGH))
        return error if self.config.mean == "identity" else error * mean * (1.0 - mean)

    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return (x - self.mean(ops, out)) * ops.exp(-ops.clip(params[NAME], LOW, HIGH))

    def mean(self, ops: Ops, out: Value) -> Value:
        return out if self.config.mean == "identity" else ops.sigmoid(out)

    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.randn(out.shape, generator=generator, dtype=out.dtype).to(out.device)
        mean = out if self.config.mean == "identity" else out.sigmoid()
        return mean + (0.5 * params[NAME].clamp(LOW, HIGH)).exp() * draws

    def accumulate(
        self, grads: Mapping[str, Tensor], params: Mapping[str, Tensor], out: Tensor, x: Tensor, scale: float
    ) -> None:
        log_var = params[NAME]
        if not LOW < float(log_var) < HIGH:
            return
        mean = out if self.config.mean == "identity" else out.sigmoid()
        squared = (x - mean).square().sum() * (-log_var).exp()
        grads[NAME] += 0.5 * scale * (squared - out.numel())
