"""8-bit images whose grey levels are spread over their bins: bounds of the discrete log-probability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from closegap_core.config import DequantisedConfig, GaussianConfig
from closegap_core.likelihoods.base import Likelihood
from closegap_core.likelihoods.gaussian import Gaussian
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape

LOG_LEVELS = math.log(256.0)


@final
class Dequantised(Likelihood):
    """log p(x|z) = log N(x; sigmoid(mean), exp(log_var)) - X log 256, x as `closegap_core.data.dequantise` makes it.

    By Jensen's inequality the mean over u ~ U(0, 1) of the density of x = (pixel + u) / 256, times the width 1 / 256
    of a bin, bounds the log-probability of the pixel from below (Theis, van den Oord & Bethge 2016). In the published
    convention (Gregor et al. 2016; `legacy`) bins are 1 / 255 wide and clipped at both ends: not quite a bound.
    """

    kind: ClassVar[str] = "dequantised"

    def __init__(self, config: DequantisedConfig, width: int) -> None:
        self.gaussian = Gaussian(
            GaussianConfig(mean="sigmoid", variance=config.variance, log_var=config.log_var), width
        )
        self.outputs = self.gaussian.outputs
        self.offset = width * LOG_LEVELS

    def shapes(self) -> Sequence[Shape]:
        return self.gaussian.shapes()

    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return self.gaussian.log_likelihood(ops, params, out, x) - self.offset

    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return self.gaussian.score(ops, params, out, x)

    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return self.gaussian.error(ops, params, out, x)

    def mean(self, ops: Ops, out: Value) -> Value:
        return self.gaussian.mean(ops, out)

    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        return self.gaussian.sample(params, out, generator)

    def accumulate(
        self,
        grads: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        out: Tensor,
        x: Tensor,
        scale: float,
        share: Tensor | None = None,
    ) -> None:
        self.gaussian.accumulate(grads, params, out, x, scale, share)
