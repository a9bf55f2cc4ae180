"""The affine step of a coupling (Dinh et al. 2017), as the auxiliary flows take it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def couple(values: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """2 sigmoid(a) values + b, (…, D), and log |det| of it in nats, (…).

    At a = b = 0 it is the identity; the factor 2 can be undone by the Gaussians at both ends of a flow.
    """
    # log (2 sigmoid(a)) in a form that does not round where a is far from zero.
    log_scale = a - functional.softplus(a) + math.log(2.0)
    return 2 * torch.sigmoid(a) * values + b, log_scale.sum(-1)
