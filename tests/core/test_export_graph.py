"""Every word of the vocabulary means the same recorded in a graph as run by torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from closegap_core.export.graph import Graph, Symbol
from closegap_core.export.vocabulary import OnnxOps
from closegap_core.ops import TORCH, Ops, Value, Window

Function = Callable[..., Value]

WORDS: dict[str, Function] = {
    name: lambda ops, a, _name=name: getattr(ops, _name)(a)
    for name in (
        *("exp", "sigmoid", "sum_softplus", "tanh", "elu", "relu", "leaky_relu"),
        *("abs", "sign", "positive", "sum_last", "mean_last", "total_last", "log_softmax"),
        *("square", "norm_last"),
    )
}
WORDS |= {
    "log": lambda ops, a: ops.log(ops.abs(a) + 1e-5),
    "root": lambda ops, a: ops.root(ops.square(a)),
    "halves": lambda ops, a: ops.halves(a)[1],
    "maximum of two": lambda ops, a: ops.maximum(a, -0.5 * a),
    "sqrt": lambda ops, a: ops.sqrt(a * a + 0.5),
    "minimum": lambda ops, a: ops.minimum(a, 0.25),
    "maximum": lambda ops, a: ops.maximum(a, -0.25),
    "clip": lambda ops, a: ops.clip(a, -0.5, 0.75),
    "clip_pull": lambda ops, a: ops.clip_pull(a * 2.0, a, -0.5, 0.75),
    "minus_sigmoid": lambda ops, a: ops.minus_sigmoid(a * 0.5, a),
    "dot_last": lambda ops, a: ops.dot_last(a, a + 1.0),
    "elu_pull": lambda ops, a: ops.elu_pull(a * 2.0, ops.elu(a)),
    "sigmoid_pull": lambda ops, a: ops.sigmoid_pull(a * 2.0, ops.sigmoid(a)),
    "concat": lambda ops, a: ops.concat([a, a * 2.0, -a]),
    "concat of one": lambda ops, a: ops.concat([a]),
    "split": lambda ops, a: ops.split(a, [2, 1, 3])[2],
    "add": lambda ops, a: 1.0 + (a + a) + 0.5,
    "subtract": lambda ops, a: 1.0 - (a - 0.5) - a * a,
    "multiply": lambda ops, a: 3.0 * (a * a) * 0.5,
    "divide": lambda ops, a: 1.0 / ((a * a + 1.0) / 2.0) / (a * a + 2.0),
    "negate": lambda ops, a: -a,
}


def run(
    graph: Graph, outputs: Sequence[Symbol], feeds: dict[str, np.ndarray], rank: int = 2
) -> list[np.ndarray]:
    shape = [None] * rank
    model = graph.build("test", [(f"out_{i}", symbol, shape) for i, symbol in enumerate(outputs)])
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(None, feeds)
    return results


def recorded(
    function: Function, *inputs: np.ndarray, rank: int, weights: Sequence[np.ndarray] = ()
) -> np.ndarray:
    graph = Graph()
    symbols = [
        graph.input(f"in_{i}", [*(f"size_{i}_{axis}" for axis in range(value.ndim - 1)), value.shape[-1]])
        for i, value in enumerate(inputs)
    ]
    constants = [graph.parameter(f"weight_{i}", value) for i, value in enumerate(weights)]
    result = function(OnnxOps(graph), *symbols, *constants)
    return run(graph, [result], {f"in_{i}": value for i, value in enumerate(inputs)}, rank)[0]


def ran(function: Function, *inputs: np.ndarray, weights: Sequence[np.ndarray] = ()) -> np.ndarray:
    return np.asarray(function(TORCH, *(torch.from_numpy(value) for value in (*inputs, *weights))))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)
    drawn.flat[0] = 0.0
    return drawn


def assert_same(function: Function, *inputs: np.ndarray, weights: Sequence[np.ndarray] = ()) -> None:
    assert_close(function, *inputs, weights=weights, rounding=1e-6)


def assert_close(
    function: Function, *inputs: np.ndarray, weights: Sequence[np.ndarray] = (), rounding: float = 2e-5
) -> None:
    want = ran(function, *inputs, weights=weights)
    got = recorded(function, *inputs, rank=want.ndim, weights=weights)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=rounding)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6)], ids=["matrix", "samples"])
def test_word(word: str, shape: tuple[int, ...]) -> None:
    assert_same(WORDS[word], values(*shape))


def test_softplus_and_sigmoid_do_not_overflow() -> None:
    far = np.array([[-200.0, -90.0, 0.0, 90.0, 200.0]], np.float32)
    assert_same(WORDS["sum_softplus"], far)
    assert_same(WORDS["sigmoid"], far)
    assert_same(WORDS["log_softmax"], far)


@pytest.mark.parametrize("biased", [True, False])
def test_linear_and_its_transpose(biased: bool) -> None:
    weight, bias = values(4, 6, seed=1), values(4, seed=2)

    def forward(ops: Ops, h: Any, w: Any, *b: Any) -> Any:
        return ops.linear(h, w, b[0] if b else None)

    assert_same(forward, values(5, 6), weights=[weight, bias] if biased else [weight])
    assert_same(lambda ops, a, w: ops.matmul(a, w), values(5, 4), weights=[weight])


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 1), (2, 2), (5, 3)])
def test_convolution_and_its_transpose(kernel: int, stride: int, biased: bool) -> None:
    window = Window((2, 3 * stride, 2 * stride), (4, 3, 2), kernel, stride)
    weight = values(4, 2, kernel, kernel, seed=1)
    outer, inner = (math.prod(image) for image in (window.outer, window.inner))

    def conv(ops: Ops, h: Any, w: Any, *b: Any) -> Any:
        return ops.conv(h, w, b[0] if b else None, window)

    def conv_transpose(ops: Ops, h: Any, w: Any, *b: Any) -> Any:
        return ops.conv_transpose(h, w, b[0] if b else None, window)

    there, back = ([values(count, seed=2)] * biased for count in (4, 2))
    assert ran(conv, values(5, outer), weights=[weight, *there]).shape == (5, inner)
    assert_close(conv, values(5, outer), weights=[weight, *there])
    assert_close(conv_transpose, values(5, inner), weights=[weight, *back])
    if not biased:
        h, a = values(5, outer), values(5, inner, seed=4)
        left = (ran(conv, h, weights=[weight]).astype(np.float64) * a).sum()
        assert left == pytest.approx((ran(conv_transpose, a, weights=[weight]) * h).sum(), rel=1e-4)


def test_transpose_of_blocks() -> None:
    assert_same(lambda ops, a: ops.transpose(a, 2, 3), values(5, 18))
    got = ran(lambda ops, a: ops.transpose(a, 2, 3), np.arange(12, dtype=np.float32)[None])
    assert got.tolist() == [[0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]]


def test_samples_fold_into_rows_and_back() -> None:
    assert_same(lambda ops, z: ops.rows(z), values(2, 3, 6))
    assert_same(lambda ops, r: ops.samples(r, 2), values(6, 4))
    assert_same(lambda ops, z: ops.mean_samples(z), values(4, 3, 6))
    assert_same(lambda ops, z: ops.mean_samples(z), values(1, 3, 6))
    assert_same(lambda ops, mean, noise: mean + ops.exp(mean * 0.5) * noise, values(3, 6), values(2, 1, 6))


@pytest.mark.parametrize("trips", [0, 1, 5])
def test_loop_applies_its_body_and_reads_from_outside(trips: int) -> None:
    graph = Graph()
    ops = OnnxOps(graph)
    x = graph.input("x", ["batch", 3])
    weight = graph.parameter("weight", values(3, 3, seed=1))
    count = graph.default("trips", np.array(2, np.int64))

    table = graph.parameter("table", values(3, 2, seed=2))

    def body(t: Symbol, state: Sequence[Symbol]) -> Sequence[Symbol]:
        a, b = state
        unused = ops.exp(a)
        assert unused.width == 3
        return ops.tanh(ops.linear(a, weight, None) + x), b + ops.row(table, t)

    a, b = graph.loop(count, (x, graph.zeros(x, 2)), body)
    rows = values(4, 3)
    got_a, got_b = run(graph, [a, b], {"x": rows, "trips": np.array(trips)})
    want = rows
    for _ in range(trips):
        want = np.tanh(want @ values(3, 3, seed=1).T + rows)
    np.testing.assert_allclose(got_a, want, atol=1e-5)
    read = values(3, 2, seed=2)[[0, 1, 2, 2, 2]][:trips].sum(0)
    np.testing.assert_allclose(got_b, np.broadcast_to(read, (4, 2)), atol=1e-5)


@pytest.mark.parametrize("width", [None, 2])
def test_zeros_of_its_rows(width: int | None) -> None:
    assert_same(lambda ops, a: ops.zeros(a, width), values(5, 6))


@pytest.mark.parametrize("decay", [0.9, 0.999])
@pytest.mark.parametrize("steps", [1, 2, 7, 1000, 100_000])
def test_a_count_of_steps_is_reckoned_with(decay: float, steps: int) -> None:
    """In a graph as outside it, where a count is a number; to single precision even where 1 - decay^steps is small."""
    graph = Graph()
    ops, index = OnnxOps(graph), graph.default("index", np.array(0, np.int64))
    count = ops.number(index)
    shares = [ops.bias_correction(decay, count), ops.minimum(count / 2, 1.0), 3.0 / (1.0 + count / 2.75)]
    got = run(graph, shares, {"index": np.array(steps)}, rank=0)
    exact = [1 - decay**steps, min(steps / 2, 1.0), 3.0 / (1.0 + steps / 2.75)]
    np.testing.assert_allclose(got, exact, rtol=5e-7)
    assert TORCH.bias_correction(decay, TORCH.number(steps)) == exact[0]
    assert TORCH.minimum(TORCH.number(steps) / 2, 1.0) == exact[1]


def test_the_root_of_nothing_has_a_derivative() -> None:
    nothing = torch.zeros(3, requires_grad=True)
    [slope] = torch.autograd.grad(TORCH.root(nothing).sum(), nothing)
    assert slope.tolist() == [0.0, 0.0, 0.0]


def test_what_no_output_needs_is_left_out() -> None:
    graph = Graph()
    ops = OnnxOps(graph)
    x = graph.input("x", ["batch", 3])
    graph.parameter("unused", values(3))
    ops.exp(x)
    model = graph.build("test", [("y", ops.tanh(x), ["batch", 3])])
    assert [node.op_type for node in model.graph.node] == ["Tanh", "Identity"]
    assert not model.graph.initializer
