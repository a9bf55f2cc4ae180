"""The vocabulary on tensors: each slope against autograd, and products of single precision against double."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from closegap_core import seeds
from closegap_core.activations import ACTIVATIONS
from closegap_core.kernels import Packed, add_outer, pack
from closegap_core.ops import TORCH


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


@pytest.mark.parametrize("rows", [1, 7, 640])
def test_a_packed_weight_multiplies_as_before(rows: int) -> None:
    """In single precision by oneDNN; where there is something to differentiate, as if it were not packed."""
    weight, h, a, bias = values(512, 300), values(rows, 300, seed=1), values(rows, 512, seed=2), values(512)
    with torch.no_grad():
        packed = pack({"weight": weight.float(), "bias": bias.float()})
    assert isinstance(packed["weight"], Packed)
    for graph in (False, True):
        with torch.set_grad_enabled(graph):
            across = TORCH.linear(h.float(), packed["weight"], packed["bias"])
            back = TORCH.matmul(a.float(), packed["weight"])
        torch.testing.assert_close(across.double(), h @ weight.t() + bias, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(back.double(), a @ weight, rtol=1e-4, atol=1e-4)


def test_only_large_matrices_of_single_precision_are_packed() -> None:
    with torch.no_grad():
        kept = {"double": values(512, 512), "small": values(8, 9).float(), "bias": values(300000).float()}
        assert all(value is kept[name] for name, value in pack(kept).items())
    kept = {"learning": values(512, 512).float()}
    assert pack(kept)["learning"] is kept["learning"]


@torch.no_grad()
def test_elu_of_single_precision() -> None:
    """To half an ulp of one near zero, and without overflow far from it."""
    a = torch.cat([10 * values(4000), 1e-5 * values(50, seed=1), torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])])
    want = functional.elu(a)
    torch.testing.assert_close(TORCH.elu(a.float()).double(), want, rtol=3e-7, atol=1.5e-7)
    torch.testing.assert_close(TORCH.elu(a), want, rtol=1e-14, atol=3e-16)
