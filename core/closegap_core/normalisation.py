"""Scaling of encoded signals, each block of each row by itself, so that no row depends on its batch.

Marino et al. 2018, appendix B.1. The signals change by orders of magnitude within one inference run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from closegap_core.ops import Ops, Value

EPSILON, LEAST_VARIANCE = 1e-5, 1e-30


class Normalisation(ABC):
    """(B, D) -> (B, factor D)."""

    factor: int = 1

    @abstractmethod
    def apply(self, ops: Ops, block: Value) -> Value:
        """Scale one block."""


@final
class Unscaled(Normalisation):
    """The raw signal."""

    def apply(self, ops: Ops, block: Value) -> Value:
        return block


@final
class LayerNormalisation(Normalisation):
    """(v - mean) / (std + 1e-5) over the block's own dimensions."""

    def apply(self, ops: Ops, block: Value) -> Value:
        centred = block - ops.mean_last(block)
        # The least variance changes no value; it keeps the root's slope finite where a block is constant.
        variance = ops.maximum(ops.mean_last(centred * centred), LEAST_VARIANCE)
        return centred / (ops.sqrt(variance) + EPSILON)


@final
class LogSign(Normalisation):
    """[log(|v| + 1e-5), sign(v)]: two numbers a dimension."""

    factor = 2

    def apply(self, ops: Ops, block: Value) -> Value:
        return ops.concat([ops.log(ops.abs(block) + EPSILON), ops.sign(block)])


NORMALISATIONS: dict[str, Normalisation] = {
    "none": Unscaled(),
    "layer": LayerNormalisation(),
    "log_sign": LogSign(),
}
