"""Arithmetic that is faster on a CPU where nothing is differentiated; its values are the same up to rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
FACTORS = 112
"""So many numbers of (1/2, 1) have a product that is a normal number in single precision; 784 is 7 times it."""
LOG2_E = math.log2(math.e)
PACKED_SIZE = 2**17
"""Weights of a matrix for which packing pays; six passes of a training step pay for it."""
TYPICAL_ROWS = 640
"""A layout is chosen for so many rows; it serves any number."""


class Packed(NamedTuple):
    """A weight (O, I), and the same as oneDNN reads it fastest: `across` for h W^T, `back` for a W."""

    weight: Tensor
    across: Tensor
    back: Tensor


def pack(parameters: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """The same parameters for many passes by their present values: large matrices packed, where oneDNN serves."""
    return {
        name: _packed(value) if _plain(value) and value.numel() >= PACKED_SIZE else value
        for name, value in parameters.items()
    }


def _packed(weight: Tensor) -> Packed:
    reorder = torch.ops.mkldnn._reorder_linear_weight
    return Packed(weight, reorder(weight, TYPICAL_ROWS), reorder(weight.t(), TYPICAL_ROWS))


def on_host(a: Tensor) -> bool:
    """Whether `a` is on a CPU, and nothing to differentiate."""
    return a.device.type == "cpu" and not torch.is_grad_enabled()


def _plain(a: Tensor) -> bool:
    """Whether oneDNN's product serves: matrices of single precision on a CPU, and nothing to differentiate."""
    return a.dtype == torch.float32 and a.ndim == 2 and on_host(a) and ONEDNN


def linear(h: Tensor, weight: Tensor | Packed, bias: Tensor | None) -> Tensor:
    """(R, I), (O, I), (O,) -> (R, O): h W^T + b."""
    if _plain(h):
        return _product(h, weight.across if isinstance(weight, Packed) else weight, bias)
    return functional.linear(h, weight.weight if isinstance(weight, Packed) else weight, bias)


def matmul(a: Tensor, weight: Tensor | Packed) -> Tensor:
    """(R, O), (O, I) -> (R, I): a W."""
    if _plain(a):
        return _product(a, weight.back if isinstance(weight, Packed) else weight.t(), None)
    return a @ (weight.weight if isinstance(weight, Packed) else weight)


def _product(a: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # MKL, which torch's own product calls, leaves AVX-512 unused on processors that are not Intel's; oneDNN does
    # not, and is twice as fast there. This is the operator that torch's compiler calls for a linear layer.
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, weight, bias, "none", [], "")
    return out


def add_outer(total: Tensor, delta: Tensor, h: Tensor, scale: float) -> None:
    """total += scale delta^T h, a weight's gradient: (O, I), (R, O), (R, I); in place."""
    if _plain(delta):
        # oneDNN takes its first factor by rows and its second either way, but a part of a wider tensor a thousand times
        # slower: copies that the faster product pays for.
        total.add_(_product(delta.t().contiguous(), h.contiguous().t(), None), alpha=scale)
    else:
        total.addmm_(delta.t(), h, alpha=scale)


def elu(a: Tensor) -> Tensor:
    """max(a, exp(min(a, 0)) - 1) in half the time of torch's elu on a CPU, whose exp and expm1 are slow; exp2 is not.

    Off by half an ulp of 1, as the next layer's sum is anyway.
    """
    below = (a * LOG2_E).clamp_(max=0.0).exp2_().sub_(1.0)
    return torch.maximum(a, below, out=below)


def sum_softplus(a: Tensor) -> Tensor:
    """(..., D) -> (...): the sum of log(1 + exp(a)).

    (a + |a|) / 2 - log sigmoid(|a|), with one logarithm for the product of many sigmoids, each in [1/2, 1]: torch's
    softplus takes a logarithm of every one, which is slow on a CPU.
    """
    size, count = a.abs(), a.shape[-1] // FACTORS
    half: Tensor = (a.sum(-1) + size.sum(-1)) * 0.5
    sigmoids = size.sigmoid_()
    many, rest = torch.split(sigmoids, [count * FACTORS, a.shape[-1] - count * FACTORS], -1)
    logs = many.reshape(*a.shape[:-1], count, FACTORS).prod(-1).log().sum(-1) + rest.prod(-1).log()
    return half - logs
