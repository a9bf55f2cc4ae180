"""Adam on a flat buffer of parameters, and its state by name for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from closegap_core.parameters import Flat

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def adam(flat: Flat) -> torch.optim.Adam:
    """An ascent on `flat.data` along `flat.grad` (Kingma & Ba 2015)."""
    parameter = torch.nn.Parameter(flat.data)  # shares the buffer's storage
    parameter.grad = flat.grad
    return torch.optim.Adam([parameter], maximize=True, fused=True)


def moments(optimizer: torch.optim.Adam, name: str) -> dict[str, Tensor]:
    """Its state by names that begin with `name`; none before the first step."""
    state = optimizer.state[_parameter(optimizer)]
    return {f"{name}.{key}": value for key, value in state.items()}


def restore(optimizer: torch.optim.Adam, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Take up the state that `moments` gave."""
    parameter = _parameter(optimizer)
    found = {key: tensors[f"{name}.{key}"] for key in MOMENTS if f"{name}.{key}" in tensors}
    if found:
        optimizer.state[parameter] = {key: value.clone().to(parameter.device) for key, value in found.items()}


def _parameter(optimizer: torch.optim.Adam) -> Tensor:
    parameter: Tensor = optimizer.param_groups[0]["params"][0]
    return parameter
