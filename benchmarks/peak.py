"""What this machine can do at best: single-precision matrix products, one thread, by process CPU time.

The limit is the machine's, not a library's: each round tries torch's product and ONNX Runtime's and takes the better
one. They can be a factor of two apart (MKL leaves AVX-512 unused on processors that are not Intel's).

CPU time, because other programs take wall time and not CPU time from a single thread; what they take from caches and
from the clock they take from both sides of every ratio here, since both are measured in the same round.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

SHAPES = ((512, 512, 512), (640, 512, 784), (1024, 1024, 1024))
"""Rows, inner size, columns."""
FLOP_A_TRY = 1.5e9


def cpu_seconds(work: Callable[[], object], times: int = 1) -> float:
    """Process CPU time of one call, averaged over so many."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


class Peak:
    """Call it for each library's best rate of this moment over all shapes, FLOP a second of CPU time."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        arrays = [
            (random.standard_normal((m, k), np.float32), random.standard_normal((k, n), np.float32))
            for m, k, n in SHAPES
        ]
        self._products = {
            "torch": [_torch(*pair) for pair in arrays],
            "ONNX Runtime": [_onnx(*pair) for pair in arrays],
        }

    def __call__(self) -> dict[str, float]:
        return {
            library: max(_rate(work, shape) for work, shape in zip(products, SHAPES, strict=True))
            for library, products in self._products.items()
        }


def _rate(work: Callable[[], object], shape: tuple[int, int, int]) -> float:
    flop = 2.0 * shape[0] * shape[1] * shape[2]
    return flop / cpu_seconds(work, max(1, round(FLOP_A_TRY / flop)))


def _torch(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    left, right, out = torch.from_numpy(a), torch.from_numpy(b), torch.empty(len(a), b.shape[1])
    return lambda: torch.mm(left, right, out=out)


def _onnx(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, a.shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, (len(a), b.shape[1]))],
        [onnx.numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})
