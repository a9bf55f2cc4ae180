"""What a likelihood is: the law of x given the decoder's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from closegap_core.inputs import CENTRED, Inputs
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape


class Likelihood(ABC):
    """p(x|z) as functions of the decoder's output `out` (S, B, O) and of x (B, X), O = outputs X.

    To add one: a subclass in a file of its own, its configuration in `config/model.py`, its line in
    `likelihoods/__init__`.
    """

    kind: ClassVar[str]
    inputs: ClassVar[Inputs] = CENTRED
    """How x enters an encoder."""
    outputs: int = 1
    """Decoder outputs a data dimension needs; they come in blocks of X."""

    def shapes(self) -> Sequence[Shape]:
        """Parameters of its own; none by default."""
        return ()

    @abstractmethod
    def log_likelihood(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        """log p(x|z) in nats, (S, B)."""

    @abstractmethod
    def score(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        """d log p(x|z) / d out, (S, B, O)."""

    @abstractmethod
    def error(self, ops: Ops, params: Mapping[str, Value], out: Value, x: Value) -> Value:
        """Precision-weighted error (x - E[x|z]) / Var[x|z], (S, B, X): Marino et al. 2018, eq. 11."""

    @abstractmethod
    def mean(self, ops: Ops, out: Value) -> Value:
        """E[x|z], (…, O) -> (…, X)."""

    @abstractmethod
    def sample(self, params: Mapping[str, Tensor], out: Tensor, generator: torch.Generator) -> Tensor:
        """x ~ p(x|z), (…, O) -> (…, X), drawn on the host."""

    @abstractmethod
    def accumulate(
        self,
        grads: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        out: Tensor,
        x: Tensor,
        scale: float,
        share: Tensor | None = None,
    ) -> None:
        """Add scale * d(sum over S, B of log p(x|z)) / d(own parameters) to `grads`.

        share: what each (s, b) counts in the sum, (S, B); absent: one.
        """
