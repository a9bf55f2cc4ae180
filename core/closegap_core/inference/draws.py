"""How the S draws of an iteration relate: pairs of opposite sign cancel most of the gradient's noise.

With z = mean + sigma noise, the part of d log p(x|z)/dz that is linear in the noise is the largest share of the
variance of dL/dmean; in a pair (noise, -noise) it cancels (antithetic variates, Hammersley & Morton 1956). Each draw
is still one of q, so that every bound holds, and learning is as unbiased as before. Signs in place of normal draws
take the variance from the diagonal of the curvature, which is all that dL/dlog_var asks for (Hutchinson 1990), and
give both gradients up to terms of third and higher order of log p(x|z). That serves a refiner, whose error is of
second order in the ELBO that it reaches; nothing is measured or learned so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from closegap_core.errors import ConfigError


def independent(noise: Tensor) -> Tensor:
    """As they come."""
    return noise


def antithetic(noise: Tensor) -> Tensor:
    """The first half of noise (S, B, Z) and its opposite."""
    half = _half(noise)
    return torch.cat([half, -half])


def signs(noise: Tensor) -> Tensor:
    """The signs of the first half of noise (S, B, Z) and their opposite."""
    return antithetic(torch.where(noise < 0, -1.0, 1.0).to(noise.dtype))


def _half(noise: Tensor) -> Tensor:
    if noise.shape[0] % 2:
        raise ConfigError(f"draws in pairs need an even number of samples, but there are {noise.shape[0]}")
    return noise[: noise.shape[0] // 2]


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    function.__name__: function for function in (independent, antithetic, signs)
}
