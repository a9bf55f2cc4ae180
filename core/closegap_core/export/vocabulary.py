"""`closegap_core.vocabulary.Ops` on the symbols of a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from onnx import TensorProto

from closegap_core.export.graph import Graph, Symbol
from closegap_core.ops import Window


@final
class OnnxOps:
    """Each call records one node of `graph`; meaning and shapes as `Ops` says, float32."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def linear(self, h: Symbol, weight: Symbol, bias: Symbol | None) -> Symbol:
        inputs = [h, weight] if bias is None else [h, weight, bias]
        return self.graph.emit("Gemm", inputs, self.graph.shape(weight)[0], transB=1)

    def matmul(self, a: Symbol, weight: Symbol) -> Symbol:
        return self.graph.emit("Gemm", [a, weight], self.graph.shape(weight)[1])

    def conv(self, h: Symbol, weight: Symbol, bias: Symbol | None, window: Window) -> Symbol:
        return self._convolve("Conv", h, weight, bias, window, window.outer, window.inner)

    def conv_transpose(self, a: Symbol, weight: Symbol, bias: Symbol | None, window: Window) -> Symbol:
        return self._convolve("ConvTranspose", a, weight, bias, window, window.inner, window.outer)

    def _convolve(
        self,
        operator: str,
        a: Symbol,
        weight: Symbol,
        bias: Symbol | None,
        window: Window,
        before: tuple[int, int, int],
        after: tuple[int, int, int],
    ) -> Symbol:
        image = self.graph.emit("Reshape", [a, self.graph.integers([-1, *before])], before[-1])
        convolved = self.graph.emit(
            operator,
            [image, weight] if bias is None else [image, weight, bias],
            after[-1],
            kernel_shape=[window.kernel] * 2,
            strides=[window.stride] * 2,
            pads=[window.padding] * 4,
        )
        values = math.prod(after)
        return self.graph.emit("Reshape", [convolved, self.graph.integers([-1, values])], values)

    def transpose(self, a: Symbol, height: int, width: int) -> Symbol:
        blocks = self.graph.emit("Reshape", [a, self.graph.integers([-1, height, width])], width)
        turned = self.graph.emit("Transpose", [blocks], height, perm=[0, 2, 1])
        return self.graph.emit("Reshape", [turned, self.graph.integers([-1, a.last])], a.width)

    def exp(self, a: Symbol) -> Symbol:
        return self.graph.unary("Exp", a)

    def log(self, a: Symbol) -> Symbol:
        return self.graph.unary("Log", a)

    def sqrt(self, a: Symbol) -> Symbol:
        return self.graph.unary("Sqrt", a)

    def abs(self, a: Symbol) -> Symbol:
        return self.graph.unary("Abs", a)

    def sign(self, a: Symbol) -> Symbol:
        return self.graph.unary("Sign", a)

    def sigmoid(self, a: Symbol) -> Symbol:
        return self.graph.unary("Sigmoid", a)

    def tanh(self, a: Symbol) -> Symbol:
        return self.graph.unary("Tanh", a)

    def elu(self, a: Symbol) -> Symbol:
        return self.graph.unary("Elu", a)

    def elu_pull(self, d: Symbol, h: Symbol) -> Symbol:
        return d * (self.minimum(h, 0.0) + 1.0)

    def sigmoid_pull(self, d: Symbol, h: Symbol) -> Symbol:
        return d * (h * (1.0 - h))

    def relu(self, a: Symbol) -> Symbol:
        return self.graph.unary("Relu", a)

    def leaky_relu(self, a: Symbol) -> Symbol:
        return self.graph.emit("LeakyRelu", [a], a.width, alpha=0.01)

    def positive(self, a: Symbol) -> Symbol:
        return self.graph.emit("Cast", [self.graph.binary("Greater", a, 0.0)], a.width, to=TensorProto.FLOAT)

    def square(self, a: Symbol) -> Symbol:
        return a * a

    def root(self, a: Symbol) -> Symbol:
        return self.sqrt(a)

    def minimum(self, a: Symbol, bound: float) -> Symbol:
        return self.graph.binary("Min", a, bound)

    def maximum(self, a: Symbol, bound: Symbol | float) -> Symbol:
        return self.graph.binary("Max", a, bound)

    def bias_correction(self, decay: float, steps: Symbol) -> Symbol:
        # 1 - exp(-a) = tanh(a / 2) (1 + exp(-a)), which keeps its digits where 1 - decay^steps would lose them.
        exponent = steps * -math.log(decay)
        return self.tanh(exponent * 0.5) * (1.0 + self.exp(-exponent))

    def zeros(self, like: Symbol, width: int | None = None) -> Symbol:
        return self.graph.zeros(like, like.last if width is None else width)

    def number(self, index: Symbol) -> Symbol:
        return self.graph.emit("Cast", [index], 1, to=TensorProto.FLOAT)

    def clip(self, a: Symbol, low: float, high: float) -> Symbol:
        return self.graph.emit("Clip", [a, self.graph.number(low), self.graph.number(high)], a.width)

    def clip_pull(self, d: Symbol, a: Symbol, low: float, high: float) -> Symbol:
        return d * (self.positive(a - low) * self.positive(high - a))

    def concat(self, parts: Sequence[Symbol]) -> Symbol:
        if len(parts) == 1:
            return parts[0]
        return self.graph.emit("Concat", parts, sum(part.last for part in parts), axis=-1)

    def split(self, a: Symbol, widths: Sequence[int]) -> tuple[Symbol, ...]:
        return self.graph.emit_many("Split", [a, self.graph.integers(widths)], widths, axis=-1)

    def halves(self, a: Symbol) -> tuple[Symbol, ...]:
        return self.split(a, [a.last // 2] * 2)

    def row(self, table: Symbol, index: Symbol | int) -> Symbol:
        asked = self.graph.integer(index) if isinstance(index, int) else index
        within = self.graph.emit("Min", [asked, self.graph.integer(self.graph.shape(table)[0] - 1)], None)
        return self.graph.emit("Gather", [table, within], table.width, axis=0)

    def log_softmax(self, a: Symbol) -> Symbol:
        return self.graph.emit("LogSoftmax", [a], a.width, axis=-1)

    def total_last(self, a: Symbol) -> Symbol:
        return self.graph.emit("ReduceSum", [a, self.graph.integers([-1])], 1, keepdims=1)

    def sum_last(self, a: Symbol) -> Symbol:
        return self.graph.emit("ReduceSum", [a, self.graph.integers([-1])], None, keepdims=0)

    def minus_sigmoid(self, x: Symbol, a: Symbol) -> Symbol:
        return x - self.sigmoid(a)

    def dot_last(self, a: Symbol, b: Symbol) -> Symbol:
        return self.sum_last(a * b)

    def sum_softplus(self, a: Symbol) -> Symbol:
        # max(a, 0) + log(1 + exp(-|a|)): equal, never overflows, and ONNX Runtime's Softplus takes 4 times as long.
        return self.sum_last(self.relu(a) + self.log(self.exp(-self.abs(a)) + 1.0))

    def norm_last(self, a: Symbol) -> Symbol:
        return self.graph.emit("ReduceL2", [a, self.graph.integers([-1])], 1, keepdims=1)

    def mean_last(self, a: Symbol) -> Symbol:
        return self.graph.emit("ReduceMean", [a, self.graph.integers([-1])], 1, keepdims=1)

    def rows(self, a: Symbol) -> Symbol:
        return self.graph.emit("Reshape", [a, self.graph.integers([-1, a.last])], a.width)

    def samples(self, a: Symbol, count: int) -> Symbol:
        return self.graph.emit("Reshape", [a, self.graph.integers([count, -1, a.last])], a.width)

    def mean_samples(self, a: Symbol) -> Symbol:
        return self.graph.emit("ReduceMean", [a, self.graph.integers([0])], a.width, keepdims=0)
