"""Activations and their derivatives, the derivative taken from the output so that nothing else need be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from closegap_core.ops import Ops, Value


class Activation(NamedTuple):
    """`apply(ops, pre) -> h` and `slope(ops, h)` = d h / d pre as a function of h."""

    apply: Callable[[Ops, Value], Value]
    slope: Callable[[Ops, Value], Value]


ACTIVATIONS: dict[str, Activation] = {
    "elu": Activation(lambda ops, pre: ops.elu(pre), lambda ops, h: ops.minimum(h, 0.0) + 1.0),
    "relu": Activation(lambda ops, pre: ops.relu(pre), lambda ops, h: ops.positive(h)),
    "leaky_relu": Activation(
        lambda ops, pre: ops.leaky_relu(pre), lambda ops, h: ops.positive(h) * 0.99 + 0.01
    ),
    "tanh": Activation(lambda ops, pre: ops.tanh(pre), lambda ops, h: 1.0 - h * h),
    "sigmoid": Activation(lambda ops, pre: ops.sigmoid(pre), lambda ops, h: h * (1.0 - h)),
}
