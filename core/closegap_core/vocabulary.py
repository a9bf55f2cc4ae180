"""The vocabulary in which one inference iteration is written once.

Decoder, its vector-Jacobian product, encodings, normalisation, encoder and update call these functions and the
operators `+ - * /` on values that are either torch tensors (`TorchOps`, which runs) or symbols of an ONNX graph
(`closegap_core.export.graph.OnnxOps`, which records). Training, evaluation and export therefore cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

Value = Any
"""A torch.Tensor under `TorchOps`, a graph symbol under `OnnxOps`; operators accept python floats beside it."""


class Window(NamedTuple):
    """A strided convolution from an outer image to an inner one, `stride` times smaller.

    Images are (channels, height, width), as rows of values. The padding of (kernel - stride) / 2 makes the sizes exact.
    """

    outer: tuple[int, int, int]
    inner: tuple[int, int, int]
    kernel: int
    stride: int

    @property
    def padding(self) -> int:
        return (self.kernel - self.stride) // 2


class Ops(Protocol):
    """Functions on values. Shapes: the last axis holds features; `rows` and `samples` fold S into B and back."""

    def linear(self, h: Value, weight: Value, bias: Value | None) -> Value:
        """(R, I), (O, I), (O,) -> (R, O): h W^T + b."""

    def matmul(self, a: Value, weight: Value) -> Value:
        """(R, O), (O, I) -> (R, I): a W, the vector-Jacobian product of `linear`."""

    def conv(self, h: Value, weight: Value, bias: Value | None, window: Window) -> Value:
        """(R, outer), (inner channels, outer channels, K, K), (inner channels,) -> (R, inner)."""

    def conv_transpose(self, a: Value, weight: Value, bias: Value | None, window: Window) -> Value:
        """(R, inner) -> (R, outer): the vector-Jacobian product of `conv`, then bias (outer channels,)."""

    def transpose(self, a: Value, height: int, width: int) -> Value:
        """(R, k height width) -> the same, each of the k blocks of (height, width) transposed."""

    def exp(self, a: Value) -> Value: ...
    def log(self, a: Value) -> Value: ...
    def sqrt(self, a: Value) -> Value: ...
    def abs(self, a: Value) -> Value: ...
    def sign(self, a: Value) -> Value: ...
    def sigmoid(self, a: Value) -> Value: ...
    def tanh(self, a: Value) -> Value: ...
    def elu(self, a: Value) -> Value: ...
    def elu_pull(self, d: Value, h: Value) -> Value:
        """d times the slope of `elu` where its result is h: min(h, 0) + 1."""

    def sigmoid_pull(self, d: Value, h: Value) -> Value:
        """d times the slope of `sigmoid` where its result is h: h (1 - h)."""

    def relu(self, a: Value) -> Value: ...
    def leaky_relu(self, a: Value) -> Value:
        """max(a, 0.01 a)."""

    def positive(self, a: Value) -> Value:
        """1 where a > 0, else 0."""

    def square(self, a: Value) -> Value: ...
    def root(self, a: Value) -> Value:
        """The square root of what is nowhere negative; its derivative at 0 counts as 0."""

    def minimum(self, a: Value, bound: float) -> Value:
        """a may be a number, as a count of steps is outside a graph."""

    def maximum(self, a: Value, bound: Value) -> Value:
        """The bound is a number or a value of a's shape."""

    def bias_correction(self, decay: float, steps: Value) -> Value:
        """1 - decay^steps, a scalar: the weights of a running average that began at 0 (Kingma & Ba 2015)."""

    def zeros(self, like: Value, width: int | None = None) -> Value:
        """(B, D) -> zeros (B, width); absent: D."""

    def number(self, index: Value) -> Value:
        """A count (an int, or an int64 scalar of the graph), to be reckoned with."""

    def clip(self, a: Value, low: float, high: float) -> Value: ...

    def clip_pull(self, d: Value, a: Value, low: float, high: float) -> Value:
        """d times the slope of `clip` at a: d where low < a < high, else 0."""

    def concat(self, parts: Sequence[Value]) -> Value:
        """Along the last axis."""

    def split(self, a: Value, widths: Sequence[int]) -> tuple[Value, ...]:
        """Along the last axis."""

    def halves(self, a: Value) -> tuple[Value, ...]:
        """(..., 2 D) -> twice (..., D)."""

    def row(self, table: Value, index: Value) -> Value:
        """(T, D) -> (D,): row `index` (from 0; an int, or an int64 scalar of the graph), the last one beyond T."""

    def log_softmax(self, a: Value) -> Value:
        """Along the last axis."""

    def sum_last(self, a: Value) -> Value:
        """(..., D) -> (...)."""

    def minus_sigmoid(self, x: Value, a: Value) -> Value:
        """x - sigmoid(a), of a's shape."""

    def dot_last(self, a: Value, b: Value) -> Value:
        """(..., D), (..., D) -> (...): the sum of products."""

    def sum_softplus(self, a: Value) -> Value:
        """(..., D) -> (...): the sum of log(1 + exp(a))."""

    def total_last(self, a: Value) -> Value:
        """(..., D) -> (..., 1): the sum."""

    def norm_last(self, a: Value) -> Value:
        """(..., D) -> (..., 1): the Euclidean norm."""

    def mean_last(self, a: Value) -> Value:
        """(..., D) -> (..., 1)."""

    def rows(self, a: Value) -> Value:
        """(S, B, D) -> (S B, D)."""

    def samples(self, a: Value, count: int) -> Value:
        """(S B, D) -> (S, B, D), S = count."""

    def mean_samples(self, a: Value) -> Value:
        """(S, ...) -> (...)."""
