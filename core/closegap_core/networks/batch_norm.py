"""Fully connected networks with batch normalisation between a hidden layer's product and its activation.

The signals of one iteration are distributed unlike those of the next, so each iteration keeps statistics of its own,
and iterations beyond those of training use the last one's (Cooijmans et al. 2017); scale and shift are shared. Outside
training a row therefore never depends on its batch. Gradients come from autograd (`inference.unrolled`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor

from closegap_core.config import NetworkConfig
from closegap_core.networks.base import IteratedNetwork, Moment, Passed
from closegap_core.networks.mlp import LINEAR, Layer, Mlp, weight_name
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape, glorot

EPSILON = 1e-5


@final
class BatchNorm:
    """scale (v - mean) / sqrt(variance + 1e-5) + shift over H units (Ioffe & Szegedy 2015)."""

    def __init__(self, name: str, width: int, iterations: int) -> None:
        self.name, self.width, self.iterations = name, width, iterations

    def shapes(self) -> list[Shape]:
        """Learned scale and shift (H,), and the running mean and variance (T, H) of each iteration."""
        kept = (self.iterations, self.width)
        return [
            Shape(f"{self.name}.scale", (self.width,), value=1.0),
            Shape(f"{self.name}.shift", (self.width,)),
            Shape(f"{self.name}.mean", kept, learned=False),
            Shape(f"{self.name}.variance", kept, value=1.0, learned=False),
        ]

    def apply(
        self, ops: Ops, params: Mapping[str, Value], v: Value, moment: Moment
    ) -> tuple[Value, dict[str, Tensor]]:
        """v (R, H) normalised, and while learning the statistics of these rows, (H,) each."""
        names = (f"{self.name}.mean", f"{self.name}.variance")
        mean, variance = (
            _over_rows(v) if moment.learning else (ops.row(params[name], moment.iteration) for name in names)
        )
        found = dict(zip(names, (mean.detach(), variance.detach()), strict=True)) if moment.learning else {}
        normalised = (v - mean) / ops.sqrt(variance + EPSILON)
        return normalised * params[f"{self.name}.scale"] + params[f"{self.name}.shift"], found


def _over_rows(v: Any) -> tuple[Tensor, Tensor]:
    mean: Tensor = v.mean(0)
    return mean, (v - mean).square().mean(0)


@final
class NormalisedMlp(IteratedNetwork):
    """As `Mlp`, the packed product of each hidden layer normalised; its bias is the normalisation's shift."""

    def __init__(
        self,
        name: str,
        config: NetworkConfig,
        inputs: Sequence[int],
        outputs: int,
        heads: int,
        iterations: int,
    ) -> None:
        """iterations: T of training, each of which keeps statistics."""
        widths = [sum(inputs), *config.hidden]
        self.layers = tuple(
            Layer(f"{name}.{i}", widths[i], width, config, first=i == 0)
            for i, width in enumerate(config.hidden)
        )
        self.inputs = tuple(inputs)
        self.norms = tuple(
            BatchNorm(f"{layer.name}.norm", layer.blocks * layer.width, iterations) for layer in self.layers
        )
        self.output = Mlp(f"{name}.{len(self.layers)}", LINEAR, widths[-1:], outputs, heads)

    def shapes(self) -> list[Shape]:
        first, *later = self.layers
        weights = [
            glorot(self._weight(group), first.blocks * first.width, width, first.width, first.inputs)
            for group, width in enumerate(self.inputs)
            if width
        ]
        weights += [
            glorot(f"{layer.name}.weight", layer.blocks * layer.width, layer.inputs, layer.width)
            for layer in later
        ]
        return [*weights, *(shape for norm in self.norms for shape in norm.shapes()), *self.output.shapes()]

    def _weight(self, group: int) -> str:
        return weight_name(self.layers[0].name, group, len(self.inputs))

    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        return ops.linear(h, params[self._weight(group)], None)

    def advance(
        self,
        ops: Ops,
        params: Mapping[str, Value],
        h: Value | None,
        partial: Value | None = None,
        moment: Moment = Moment(),  # noqa: B008
    ) -> Passed:
        statistics: dict[str, Tensor] = {}
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            pre = self._product(ops, params, i, h, partial)
            normalised, found = norm.apply(ops, params, pre, moment)
            statistics |= found
            h, _ = layer.combine(ops, normalised, h)
        return Passed(self.output.forward(ops, params, h)[0], [], statistics=statistics)

    def _product(
        self, ops: Ops, params: Mapping[str, Value], layer: int, h: Value | None, partial: Value | None
    ) -> Value:
        """The packed product of a layer; the first one's input groups are `h` and what `partial` is of."""
        if layer:
            return ops.linear(h, params[f"{self.layers[layer].name}.weight"], None)
        if h is None:
            return partial
        varying = ops.linear(h, params[self._weight(len(self.inputs) - 1)], None)
        return varying if partial is None else partial + varying
