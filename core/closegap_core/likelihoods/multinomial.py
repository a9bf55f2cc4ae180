"""Word counts of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from closegap_core.config import MultinomialConfig
from closegap_core.inputs import TERM_WEIGHTS, Inputs
from closegap_core.likelihoods.base import Likelihood
from closegap_core.ops import TORCH, Ops, Value

LOG_PROBABILITY_BOUND = -14.0
"""Log-probabilities are clipped from below in the error encoding only, which divides by them."""


@final
class Multinomial(Likelihood):
    """log p(x|z) = sum_v x_v log pi_v with pi = softmax(out), x raw counts (B, V).

    The multinomial coefficient is left out: words are an ordered sequence (Marino et al. 2018, appendix C.7.3).
    A document with n words has mean n pi and covariance n (diag(pi) - pi pi^T), whose generalised inverse is
    diag(1 / (n pi)). The precision-weighted error is therefore (x - n pi) / (n pi) = x / (n pi) - 1.
    """

    kind: ClassVar[str] = "multinomial"
    inputs: ClassVar[Inputs] = TERM_WEIGHTS

    def __init__(self, config: MultinomialConfig, width: int) -> None:
        self.words, self.width = config.simulated_words, width

    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return ops.sum_last(x * ops.log_softmax(out))

    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        return x - ops.exp(ops.log_softmax(out)) * ops.total_last(x)

    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        log_pi = ops.maximum(ops.log_softmax(out), LOG_PROBABILITY_BOUND)
        return x / ops.maximum(ops.total_last(x), 1.0) * ops.exp(-log_pi) - 1.0

    def mean(self, ops: Ops, out: Value) -> Value:
        """Of one word: pi."""
        return ops.exp(ops.log_softmax(out))

    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        """Documents of `simulated_words` words each."""
        pi = self.mean(TORCH, out).cpu().reshape(-1, self.width)
        drawn = torch.multinomial(pi, self.words, replacement=True, generator=generator)
        counts = torch.zeros_like(pi).scatter_add_(-1, drawn, torch.ones_like(drawn, dtype=pi.dtype))
        return counts.reshape(out.shape).to(out.device)

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
