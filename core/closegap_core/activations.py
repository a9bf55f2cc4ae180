"""Activations and their derivatives, the derivative taken from the output so that nothing else need be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from closegap_core.ops import Ops, Value


class Activation(NamedTuple):
    """`apply(ops, pre) -> h` and `pull(ops, d, h)` = d times d h / d pre as a function of h."""

    apply: Callable[[Ops, Value], Value]
    pull: Callable[[Ops, Value, Value], Value]


ACTIVATIONS: dict[str, Activation] = {
    "elu": Activation(lambda ops, pre: ops.elu(pre), lambda ops, d, h: ops.elu_pull(d, h)),
    "relu": Activation(lambda ops, pre: ops.relu(pre), lambda ops, d, h: d * ops.positive(h)),
    "leaky_relu": Activation(
        lambda ops, pre: ops.leaky_relu(pre), lambda ops, d, h: d * (ops.positive(h) * 0.99 + 0.01)
    ),
    "tanh": Activation(lambda ops, pre: ops.tanh(pre), lambda ops, d, h: d * (1.0 - h * h)),
    "sigmoid": Activation(lambda ops, pre: ops.sigmoid(pre), lambda ops, d, h: ops.sigmoid_pull(d, h)),
}
