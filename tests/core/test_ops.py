"""The vocabulary on tensors: each slope against autograd, and products of single precision against double."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from closegap_core import seeds
from closegap_core.activations import ACTIVATIONS
from closegap_core.ops import TORCH, add_outer


def values(*shape: int, seed: int = 0) -> Tensor:
    return seeds.normal(shape, torch.float64, 17, seed)


def pulled(function: Callable[[Tensor], Tensor], a: Tensor, d: Tensor) -> Tensor:
    leaf = a.clone().requires_grad_()
    [gradient] = torch.autograd.grad(function(leaf), leaf, d)
    return gradient


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_pulls_as_autograd(name: str) -> None:
    activation, a, d = ACTIVATIONS[name], 2 * values(4, 9), values(4, 9, seed=1)
    got = activation.pull(TORCH, d, activation.apply(TORCH, a))
    want = pulled(lambda leaf: activation.apply(TORCH, leaf), a, d)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_pull_can_be_differentiated(name: str) -> None:
    activation = ACTIVATIONS[name]
    inputs = (values(3, 4, seed=1).requires_grad_(), values(3, 4).requires_grad_())
    assert torch.autograd.gradcheck(
        lambda d, a: activation.pull(TORCH, d, activation.apply(TORCH, a)), inputs
    )


def test_a_clip_pulls_as_autograd() -> None:
    a, d = 2 * values(4, 9), values(4, 9, seed=1)
    got = TORCH.clip_pull(d, a, -0.5, 0.75)
    torch.testing.assert_close(got, pulled(lambda leaf: TORCH.clip(leaf, -0.5, 0.75), a, d))


@pytest.mark.parametrize("width", [1, 63, 64, 65, 784])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sum_of_softplus(width: int, dtype: torch.dtype) -> None:
    """Also far out, where a product of so many sigmoids must neither vanish nor overflow."""
    a = torch.cat([10 * values(3, 2, width), torch.zeros(1, 2, width), values(2, 2, width) * 1e3]).to(dtype)
    want = functional.softplus(a.double(), threshold=60.0).sum(-1)
    rounding = 1e-12 if dtype == torch.float64 else 1e-6
    for graph in (False, True):
        with torch.set_grad_enabled(graph):
            got = TORCH.sum_softplus(a).double()
        torch.testing.assert_close(got, want, rtol=rounding, atol=width * rounding)


def test_sum_of_softplus_has_the_gradient_of_autograd() -> None:
    a, d = 3 * values(5, 70), values(5, seed=1)
    got = pulled(TORCH.sum_softplus, a, d)
    torch.testing.assert_close(got, d[:, None] * a.sigmoid(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rows", [1, 7, 64])
@torch.no_grad()
def test_the_gradient_of_a_weight_is_added(rows: int) -> None:
    """Single precision goes through oneDNN, also where the input is a part of a wider tensor."""
    total, delta, wide = values(9, 5, seed=2), values(rows, 9), values(rows, 8, seed=1)
    want = total + 0.3 * delta.t() @ wide[:, 2:7]
    single = total.float()
    add_outer(single, delta.float(), wide.float()[:, 2:7], 0.3)
    add_outer(total, delta, wide[:, 2:7], 0.3)
    torch.testing.assert_close(total, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(single.double(), want, rtol=1e-5, atol=1e-5)
