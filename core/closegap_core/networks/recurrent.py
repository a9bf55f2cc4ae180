"""Recurrent networks: what an iteration leaves behind reaches the next one beside the signals.

One layer: W [inputs] + b of the iteration, U h of the state, then the cell's gates, H wide each and packed in one
product. Their gradients come from autograd (`inference.unrolled`), through the state of all iterations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

from closegap_core.config import RecurrentConfig
from closegap_core.networks.base import IteratedNetwork, Moment, Passed
from closegap_core.networks.mlp import LINEAR, Mlp
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape, glorot


class Cell(ABC):
    """`gates` blocks of H pre-activations and a state of `parts` blocks of H, the first of which is the output."""

    gates: int
    parts: int

    @abstractmethod
    def step(self, ops: Ops, seen: Value, recalled: Value, state: Sequence[Value], width: int) -> list[Value]:
        """seen = W input + b and recalled = U h, (R, gates H) each, state of `parts` (R, H) -> the next state."""


@final
class Lstm(Cell):
    """c' = s(f + 1) c + s(i) tanh(g), h' = s(o) tanh(c') (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    One is added to the forget gate, so that the cell remembers until it has learned to forget (Jozefowicz et al. 2015).
    """

    gates, parts = 4, 2

    def step(self, ops: Ops, seen: Value, recalled: Value, state: Sequence[Value], width: int) -> list[Value]:
        entry, forget, candidate, output = ops.split(seen + recalled, [width] * 4)
        kept = ops.sigmoid(forget + 1.0) * state[1]
        cell = kept + ops.sigmoid(entry) * ops.tanh(candidate)
        return [ops.sigmoid(output) * ops.tanh(cell), cell]


@final
class Gru(Cell):
    """h' = u h + (1 - u) tanh(W input + b + r U h) with reset gate r and update gate u (Cho et al. 2014)."""

    gates, parts = 3, 1

    def step(self, ops: Ops, seen: Value, recalled: Value, state: Sequence[Value], width: int) -> list[Value]:
        new, past = ops.split(seen, [width] * 3), ops.split(recalled, [width] * 3)
        reset, update = (ops.sigmoid(new[i] + past[i]) for i in range(2))
        candidate = ops.tanh(new[2] + reset * past[2])
        return [candidate + update * (state[0] - candidate)]


CELLS: dict[str, Cell] = {"lstm": Lstm(), "gru": Gru()}


@final
class Recurrent(IteratedNetwork):
    """Layers of cells, then a packed linear output of `heads` blocks; `inputs` are the widths of its input groups."""

    def __init__(
        self, name: str, config: RecurrentConfig, inputs: Sequence[int], outputs: int, heads: int
    ) -> None:
        self.cell, self.widths = CELLS[config.kind], config.hidden
        gates, groups = self.cell.gates, [tuple(inputs), *((width,) for width in config.hidden[:-1])]
        self.seen = tuple(
            Mlp(f"{name}.{i}.seen", LINEAR, group, gates * width, gates)
            for i, (group, width) in enumerate(zip(groups, self.widths, strict=True))
        )
        self.recalled = tuple(f"{name}.{i}.recalled.weight" for i in range(len(self.widths)))
        self.output = Mlp(f"{name}.output", LINEAR, self.widths[-1:], outputs, heads)
        self.blocks = [width for width in self.widths for _ in range(self.cell.parts)]
        self.state_width = sum(self.blocks)

    def shapes(self) -> list[Shape]:
        recalled = [
            glorot(name, self.cell.gates * width, width, width)
            for name, width in zip(self.recalled, self.widths, strict=True)
        ]
        seen = [shape for network in self.seen for shape in network.shapes()]
        return [*seen, *recalled, *self.output.shapes()]

    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        return self.seen[0].partial(ops, params, group, h)

    def advance(
        self,
        ops: Ops,
        params: Mapping[str, Value],
        h: Value | None,
        partial: Value | None = None,
        moment: Moment = Moment(),  # noqa: B008
    ) -> Passed:
        if moment.state is None:
            raise TypeError("a recurrent network was run without a state")
        blocks, after = list(self._split(ops, moment.state)), []
        for i, (network, width) in enumerate(zip(self.seen, self.widths, strict=True)):
            seen, _ = network.forward(ops, params, h, None if i else partial)
            before, blocks = blocks[: self.cell.parts], blocks[self.cell.parts :]
            recalled = ops.linear(before[0], params[self.recalled[i]], None)
            after += self.cell.step(ops, seen, recalled, before, width)
            h = after[-self.cell.parts]
        out, _ = self.output.forward(ops, params, h)
        return Passed(out, [], ops.concat(after))

    def _split(self, ops: Ops, state: Value) -> Sequence[Value]:
        return ops.split(state, self.blocks) if len(self.blocks) > 1 else (state,)
