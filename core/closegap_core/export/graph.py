"""The vocabulary of `closegap_core.vocabulary` recorded as an ONNX graph instead of being run.

Calling the step functions of training with `OnnxOps` writes one node for each call. Weights and constants become
initialisers of the main graph, once; the body of a `Loop` refers to them in the outer scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

_info = helper.make_tensor_value_info

OPSET, IR_VERSION = 20, 10
"""A pair that older runtimes still read (opset 20: ONNX 1.15)."""


@final
class Symbol:
    """A value of the graph: its name and, where the last axis has a fixed size, its `width`."""

    __slots__ = ("graph", "name", "width")

    def __init__(self, graph: Graph, name: str, width: int | None) -> None:
        self.graph, self.name, self.width = graph, name, width

    @property
    def last(self) -> int:
        """The size of the last axis. Raises ValueError where it varies."""
        if self.width is None:
            raise ValueError(f"the last axis of {self.name} has no fixed size")
        return self.width

    def __add__(self, other: Symbol | float) -> Symbol:
        return self.graph.binary("Add", self, other)

    def __radd__(self, other: float) -> Symbol:
        return self.graph.binary("Add", other, self)

    def __sub__(self, other: Symbol | float) -> Symbol:
        return self.graph.binary("Sub", self, other)

    def __rsub__(self, other: float) -> Symbol:
        return self.graph.binary("Sub", other, self)

    def __mul__(self, other: Symbol | float) -> Symbol:
        return self.graph.binary("Mul", self, other)

    def __rmul__(self, other: float) -> Symbol:
        return self.graph.binary("Mul", other, self)

    def __truediv__(self, other: Symbol | float) -> Symbol:
        return self.graph.binary("Div", self, other)

    def __rtruediv__(self, other: float) -> Symbol:
        return self.graph.binary("Div", other, self)

    def __neg__(self) -> Symbol:
        return self.graph.unary("Neg", self)


@final
class Graph:
    """Records nodes, inputs and initialisers, and ends as a model."""

    def __init__(self) -> None:
        self._scope: list[NodeProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._initialisers: dict[str, TensorProto] = {}
        self._count = 0

    # --- operators ---

    def unary(self, operator: str, a: Symbol) -> Symbol:
        """One element-wise node."""
        return self.emit(operator, [a], a.width)

    def binary(self, operator: str, a: Symbol | float, b: Symbol | float) -> Symbol:
        """One element-wise node with broadcasting; floats become constants."""
        left, right = (side if isinstance(side, Symbol) else self.number(side) for side in (a, b))
        widths = [side.width for side in (left, right) if side.width is not None]
        return self.emit(operator, [left, right], max(widths, default=None))

    # --- the graph ---

    def input(self, name: str, shape: Sequence[int | str]) -> Symbol:
        """A float32 input that every caller gives; a string names a size that varies."""
        self._inputs.append(_info(name, TensorProto.FLOAT, list(shape)))
        return Symbol(self, name, shape[-1] if isinstance(shape[-1], int) else None)

    def default(self, name: str, value: np.ndarray) -> Symbol:
        """An input that a caller may leave out: an initialiser that is also listed among the inputs."""
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self._inputs.append(_info(name, kind, list(value.shape)))
        return self.parameter(name, value)

    def parameter(self, name: str, value: np.ndarray) -> Symbol:
        """A constant tensor of the main graph."""
        self._initialisers[name] = numpy_helper.from_array(
            np.ascontiguousarray(value).reshape(value.shape), name
        )
        return Symbol(self, name, value.shape[-1] if value.ndim else 1)

    def zeros(self, like: Symbol, width: int) -> Symbol:
        """(B, width) zeros, B the first size of `like`."""
        batch = self.emit("Shape", [like], None, start=0, end=1)
        size = self.emit("Concat", [batch, self.integers([width])], None, axis=0)
        return self.emit(
            "ConstantOfShape", [size], width, value=helper.make_tensor("", TensorProto.FLOAT, [1], [0])
        )

    def loop(
        self,
        trips: Symbol,
        start: Sequence[Symbol],
        body: Callable[[Symbol, Sequence[Symbol]], Sequence[Symbol]],
    ) -> tuple[Symbol, ...]:
        """`start`, (B, D) each, after `trips` (int64 scalar) applications of `body`, which is given their count too."""
        carried = [Symbol(self, self._name("carried"), value.width) for value in start]
        again, counter = self._name("again"), self._name("iteration")
        with self._inner() as nodes:
            ends = body(Symbol(self, counter, None), carried)
            finals = [self.emit("Identity", [end], end.width) for end in ends]
            go_on = self._name("go_on")
            nodes.append(helper.make_node("Identity", [again], [go_on]))
        graph = helper.make_graph(
            _needed(nodes, {go_on, *(final.name for final in finals)}),
            self._name("body"),
            [
                _info(counter, TensorProto.INT64, []),
                _info(again, TensorProto.BOOL, []),
                *map(_batch, carried),
            ],
            [_info(go_on, TensorProto.BOOL, []), *map(_batch, finals)],
        )
        return self.emit_many("Loop", [trips, "", *start], [value.width for value in start], body=graph)

    def build(
        self, name: str, outputs: Sequence[tuple[str, Symbol, Sequence[int | str | None]]]
    ) -> onnx.ModelProto:
        """The model whose outputs are the named symbols of the given shapes, without what they do not need."""
        infos = []
        for title, symbol, shape in outputs:
            self._scope.append(helper.make_node("Identity", [symbol.name], [title]))
            infos.append(_info(title, TensorProto.FLOAT, list(shape)))
        nodes = _needed(self._scope, {title for title, _, _ in outputs})
        used = {name for node in nodes for name in _reads(node)} | {info.name for info in self._inputs}
        weights = [tensor for title, tensor in self._initialisers.items() if title in used]
        graph = helper.make_graph(nodes, name, self._inputs, infos, weights)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    # --- recording ---

    def emit(
        self, operator: str, inputs: Sequence[Symbol | str], width: int | None, **attributes: Any
    ) -> Symbol:
        """One node with one output, whose last axis has size `width`."""
        return self.emit_many(operator, inputs, [width], **attributes)[0]

    def emit_many(
        self, operator: str, inputs: Sequence[Symbol | str], widths: Sequence[int | None], **attributes: Any
    ) -> tuple[Symbol, ...]:
        """One node with an output for each of `widths`."""
        results = tuple(Symbol(self, self._name(operator.lower()), width) for width in widths)
        names = [value.name if isinstance(value, Symbol) else value for value in inputs]
        self._scope.append(helper.make_node(operator, names, [r.name for r in results], **attributes))
        return results

    @contextmanager
    def _inner(self) -> Iterator[list[NodeProto]]:
        """Record into the body of a loop meanwhile."""
        outer, self._scope = self._scope, []
        try:
            yield self._scope
        finally:
            self._scope = outer

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def number(self, value: float) -> Symbol:
        """A float32 scalar, kept once."""
        name = f"number_{float(value)!r}"
        if name not in self._initialisers:
            self.parameter(name, np.array(value, np.float32))
        return Symbol(self, name, 1)

    def integers(self, values: Sequence[int]) -> str:
        """The name of an int64 vector, kept once."""
        name = "integers_" + "_".join(map(str, values))
        if name not in self._initialisers:
            self.parameter(name, np.array(values, np.int64))
        return name

    def integer(self, value: int) -> Symbol:
        """An int64 scalar, kept once."""
        name = f"integer_{value}"
        if name not in self._initialisers:
            self.parameter(name, np.array(value, np.int64))
        return Symbol(self, name, None)

    def shape(self, weight: Symbol) -> tuple[int, ...]:
        """The shape of a parameter."""
        return tuple(self._initialisers[weight.name].dims)


def _batch(symbol: Symbol) -> ValueInfoProto:
    return _info(symbol.name, TensorProto.FLOAT, [None, symbol.width])


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those its loop body reads from outside included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _reads_outside(attribute.g)


def _reads_outside(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from _reads(node)
    yield from (output.name for output in graph.output)


def _needed(nodes: Sequence[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """The nodes that `wanted` values depend on, in order."""
    kept: list[NodeProto] = []
    wanted = set(wanted)
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_reads(node))
    return kept[::-1]
