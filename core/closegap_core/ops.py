"""The vocabulary on torch tensors, which runs what is written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from closegap_core import kernels
from closegap_core.kernels import Packed
from closegap_core.vocabulary import Ops as Ops
from closegap_core.vocabulary import Value as Value
from closegap_core.vocabulary import Window as Window


@final
class TorchOps:
    """The vocabulary on torch tensors; every function is differentiable, so autograd can check the closed forms."""

    def linear(self, h: Tensor, weight: Tensor | Packed, bias: Tensor | None) -> Tensor:
        return kernels.linear(h, weight, bias)

    def matmul(self, a: Tensor, weight: Tensor | Packed) -> Tensor:
        return kernels.matmul(a, weight)

    def conv(self, h: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        image = h.reshape(-1, *window.outer)
        return functional.conv2d(image, weight, bias, window.stride, window.padding).flatten(1)

    def conv_transpose(self, a: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        image = a.reshape(-1, *window.inner)
        return functional.conv_transpose2d(image, weight, bias, window.stride, window.padding).flatten(1)

    def transpose(self, a: Tensor, height: int, width: int) -> Tensor:
        return a.reshape(-1, height, width).transpose(1, 2).reshape(a.shape)

    def exp(self, a: Tensor) -> Tensor:
        return a.exp()

    def log(self, a: Tensor) -> Tensor:
        return a.log()

    def sqrt(self, a: Tensor) -> Tensor:
        return a.sqrt()

    def abs(self, a: Tensor) -> Tensor:
        return a.abs()

    def sign(self, a: Tensor) -> Tensor:
        return a.sign()

    def sigmoid(self, a: Tensor) -> Tensor:
        return a.sigmoid()

    def tanh(self, a: Tensor) -> Tensor:
        return a.tanh()

    def elu(self, a: Tensor) -> Tensor:
        return kernels.elu(a) if kernels.on_host(a) else functional.elu(a)

    def elu_pull(self, d: Tensor, h: Tensor) -> Tensor:
        pulled: Tensor = torch.ops.aten.elu_backward(d, 1.0, 1.0, 1.0, True, h)
        return pulled

    def sigmoid_pull(self, d: Tensor, h: Tensor) -> Tensor:
        pulled: Tensor = torch.ops.aten.sigmoid_backward(d, h)
        return pulled

    def relu(self, a: Tensor) -> Tensor:
        return a.relu()

    def leaky_relu(self, a: Tensor) -> Tensor:
        return functional.leaky_relu(a, 0.01)

    def positive(self, a: Tensor) -> Tensor:
        return (a > 0).to(a.dtype)

    def square(self, a: Tensor) -> Tensor:
        return a.square()

    def root(self, a: Tensor) -> Tensor:
        # A direction without gradient (a KL that is free, or not yet counted, leaves the top level without one) must
        # not give NaN to who differentiates through it.
        positive = a > 0
        return torch.where(positive, a, 1.0).sqrt() * positive

    def minimum(self, a: Tensor | float, bound: float) -> Tensor | float:
        return a.clamp(max=bound) if isinstance(a, Tensor) else min(a, bound)

    def maximum(self, a: Tensor | float, bound: Tensor | float) -> Tensor | float:
        if not isinstance(a, Tensor):
            return max(a, float(bound))
        return torch.maximum(a, bound) if isinstance(bound, Tensor) else a.clamp(min=bound)

    def bias_correction(self, decay: float, steps: int) -> float:
        return float(1 - decay**steps)

    def zeros(self, like: Tensor, width: int | None = None) -> Tensor:
        return torch.zeros_like(like) if width is None else like.new_zeros(like.shape[0], width)

    def number(self, index: int) -> int:
        return index

    def clip(self, a: Tensor, low: float, high: float) -> Tensor:
        return a.clamp(low, high)

    def clip_pull(self, d: Tensor, a: Tensor, low: float, high: float) -> Tensor:
        pulled: Tensor = torch.ops.aten.hardtanh_backward(d, a, low, high)
        return pulled

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)

    def split(self, a: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(torch.split(a, list(widths), dim=-1))

    def halves(self, a: Tensor) -> tuple[Tensor, ...]:
        return a.chunk(2, -1)

    def row(self, table: Tensor, index: int) -> Tensor:
        return table[min(index, len(table) - 1)]

    def log_softmax(self, a: Tensor) -> Tensor:
        return a.log_softmax(-1)

    def sum_last(self, a: Tensor) -> Tensor:
        return a.sum(-1)

    def minus_sigmoid(self, x: Tensor, a: Tensor) -> Tensor:
        sigmoid = a.sigmoid()
        return x - sigmoid if torch.is_grad_enabled() else torch.sub(x, sigmoid, out=sigmoid)

    def dot_last(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("...d,...d->...", a, b)

    def sum_softplus(self, a: Tensor) -> Tensor:
        if kernels.on_host(a):
            return kernels.sum_softplus(a)
        # Torch's default threshold of 20 is off by 2e-9 there, which float64 tests see; 60 is exact.
        return functional.softplus(a, threshold=60.0).sum(-1)

    def total_last(self, a: Tensor) -> Tensor:
        return a.sum(-1, keepdim=True)

    def norm_last(self, a: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(a, dim=-1, keepdim=True)
        return norm

    def mean_last(self, a: Tensor) -> Tensor:
        return a.mean(-1, keepdim=True)

    def rows(self, a: Tensor) -> Tensor:
        return a.reshape(-1, a.shape[-1])

    def samples(self, a: Tensor, count: int) -> Tensor:
        return a.reshape(count, -1, a.shape[-1])

    def mean_samples(self, a: Tensor) -> Tensor:
        return a[0] if a.shape[0] == 1 else a.mean(0)


TORCH = TorchOps()
