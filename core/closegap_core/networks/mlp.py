"""Fully connected networks with a hand-written vector-Jacobian product.

Every hidden layer multiplies once by a packed weight whose blocks are [candidate; gate; projection], as its
connection needs (`sequential`, `residual`, `highway`: Srivastava, Greff & Schmidhuber 2015; a first layer whose input
has another width carries a linear projection of it). The output layer packs all heads into one product too.

Shapes: R rows, I inputs, H hidden width, k blocks. What a layer keeps for its backward is its *tape*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from closegap_core.activations import ACTIVATIONS, Activation
from closegap_core.config import NetworkConfig
from closegap_core.kernels import add_outer
from closegap_core.networks.base import Network, Tape
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape, glorot

LINEAR = NetworkConfig(hidden=())
"""One packed product."""


@final
class Layer:
    """One hidden layer."""

    def __init__(self, name: str, inputs: int, width: int, config: NetworkConfig, first: bool) -> None:
        self.name, self.inputs, self.width = name, inputs, width
        self.activation: Activation = ACTIVATIONS[config.activation]
        self.gated = config.connection == "highway"
        self.carries = config.connection != "sequential"
        self.projects = self.carries and (first or inputs != width)
        self.blocks = 1 + int(self.gated) + int(self.projects)

    def combine(self, ops: Ops, pre: Value, h: Value) -> tuple[Value, Tape]:
        """Packed pre-activations (R, k H) and the input h (R, I) -> output (R, H) and the tape."""
        parts = list(ops.split(pre, [self.width] * self.blocks)) if self.blocks > 1 else [pre]
        candidate = self.activation.apply(ops, parts[0])
        if not self.carries:
            return candidate, Tape(h, candidate, None, None)
        carry = parts[-1] if self.projects else h
        if not self.gated:
            return carry + candidate, Tape(h, candidate, None, None)
        gate = ops.sigmoid(parts[1])
        return candidate + gate * (carry - candidate), Tape(h, candidate, gate, carry)

    def delta(self, ops: Ops, tape: Tape, d: Value) -> tuple[Value, Value | None]:
        """Gradient at the output (R, H) -> gradient at the packed pre-activations (R, k H), and past the weight."""
        if not self.carries:
            return self.activation.pull(ops, d, tape.candidate), None
        if tape.gate is None:
            blocks, carried = [self.activation.pull(ops, d, tape.candidate)], d
        else:
            carried = d * tape.gate
            blocks = [
                self.activation.pull(ops, d - carried, tape.candidate),
                ops.sigmoid_pull(d * (tape.carry - tape.candidate), tape.gate),
            ]
        if self.projects:
            return ops.concat([*blocks, carried]), None
        return ops.concat(blocks), carried


@final
class Mlp(Network):
    """Hidden layers and a packed linear output of `outputs` blocks-wide heads.

    `inputs` are the widths of its input groups: the first layer has one weight a group, so that a group which does
    not change between iterations is multiplied once (`partial`).
    """

    def __init__(
        self, name: str, config: NetworkConfig, inputs: Sequence[int], outputs: int, heads: int = 1
    ) -> None:
        self.name, self.inputs, self.outputs, self.heads = name, tuple(inputs), outputs, heads
        widths = [sum(inputs), *config.hidden]
        self.layers = tuple(
            Layer(f"{name}.{i}", widths[i], widths[i + 1], config, first=i == 0)
            for i in range(len(config.hidden))
        )
        self.output_name = f"{name}.{len(self.layers)}"
        self.output_inputs = widths[-1]

    def shapes(self) -> list[Shape]:
        shapes: list[Shape] = []
        for i, layer in enumerate(self.layers):
            groups = self.inputs if i == 0 else (layer.inputs,)
            shapes += self._layer_shapes(layer.name, groups, layer.blocks * layer.width, layer.width)
        groups = (self.output_inputs,) if self.layers else self.inputs
        return shapes + self._layer_shapes(self.output_name, groups, self.outputs, self.outputs // self.heads)

    @staticmethod
    def _layer_shapes(name: str, groups: Sequence[int], outputs: int, fan_out: int) -> list[Shape]:
        weights = [
            glorot(weight_name(name, g, len(groups)), outputs, width, fan_out, sum(groups))
            for g, width in enumerate(groups)
            if width
        ]
        return [*weights, Shape(f"{name}.bias", (outputs,))]

    def first_weight(self, group: int) -> str:
        """The name of the weight that an input group meets first."""
        return weight_name(self._first(), group, len(self.inputs))

    def _first(self) -> str:
        return self.layers[0].name if self.layers else self.output_name

    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        return ops.linear(h, params[self.first_weight(group)], params[f"{self._first()}.bias"])

    def forward(
        self, ops: Ops, params: Mapping[str, Value], h: Value | None, partial: Value | None = None
    ) -> tuple[Value, list[Tape]]:
        tapes: list[Tape] = []
        for i, layer in enumerate(self.layers):
            pre = self._pre(ops, params, layer.name, h, partial, i)
            h, tape = layer.combine(ops, pre, h)
            tapes.append(tape)
        out = self._pre(ops, params, self.output_name, h, partial, len(self.layers))
        return out, [*tapes, Tape(h, None, None, None)]

    def _pre(
        self,
        ops: Ops,
        params: Mapping[str, Value],
        name: str,
        h: Value | None,
        partial: Value | None,
        index: int,
    ) -> Value:
        if index or partial is None:
            groups = 1 if index else len(self.inputs)
            return ops.linear(h, params[weight_name(name, groups - 1, groups)], params[f"{name}.bias"])
        if h is None:
            return partial
        return partial + ops.linear(
            h, params[weight_name(name, len(self.inputs) - 1, len(self.inputs))], None
        )

    def backward(
        self, ops: Ops, params: Mapping[str, Value], tapes: Sequence[Tape], d: Value, to_input: bool = True
    ) -> tuple[Value | None, list[Value]]:
        deltas = [d]
        if self.layers:
            d = ops.matmul(d, params[f"{self.output_name}.weight"])
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            delta, carried = layer.delta(ops, tapes[i], d)
            deltas.append(delta)
            if i:
                d = ops.matmul(delta, params[f"{layer.name}.weight"])
                d = d if carried is None else d + carried
        deltas.reverse()
        if not to_input:
            return None, deltas
        return ops.matmul(deltas[0], params[self.first_weight(len(self.inputs) - 1)]), deltas

    def accumulate(
        self,
        grads: Mapping[str, Tensor],
        tapes: Sequence[Tape],
        deltas: Sequence[Tensor],
        scale: float,
    ) -> None:
        names = [layer.name for layer in self.layers] + [self.output_name]
        for i, (name, tape, delta) in enumerate(zip(names, tapes, deltas, strict=True)):
            grads[f"{name}.bias"].add_(delta.sum(0), alpha=scale)
            groups = len(self.inputs) if i == 0 else 1
            if tape.input is not None:
                add_outer(grads[weight_name(name, groups - 1, groups)], delta, tape.input, scale)

    def accumulate_partial(
        self,
        params: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        group: int,
        h: Tensor,
        delta: Tensor,
        scale: float,
    ) -> None:
        add_outer(grads[self.first_weight(group)], shared(delta, h.shape[0]), h, scale)


def shared(delta: Tensor, count: int) -> Tensor:
    """(T B, D) -> (B, D), B = count: summed over the iterations that saw the same rows."""
    return delta.view(-1, count, delta.shape[-1]).sum(0)


def weight_name(layer: str, group: int, groups: int) -> str:
    """`layer.weight`, or `layer.weight_0`, `layer.weight_1`, … for a first layer of several input groups."""
    return f"{layer}.weight" if groups == 1 else f"{layer}.weight_{group}"
