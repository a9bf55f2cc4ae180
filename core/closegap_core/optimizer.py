"""Adam on a flat buffer of parameters, and its state by name for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from closegap_core.parameters import Flat

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def adam(flat: Flat, capturable: bool = False) -> torch.optim.Adam:
    """An ascent on `flat.data` along `flat.grad` (Kingma & Ba 2015).

    capturable: its learning rate is a value on the device, so that a recorded step follows when it changes.
    """
    parameter = torch.nn.Parameter(flat.data)  # shares the buffer's storage
    parameter.grad = flat.grad
    optimizer = torch.optim.Adam([parameter], maximize=True, fused=True, capturable=capturable)
    if (
        capturable
    ):  # of this type, for CUDA's kernel reads no other; set here, or the constructor would wait for it
        rate = torch.zeros((), dtype=torch.float32, device=flat.data.device)
        optimizer.param_groups[0]["lr"] = rate
        # Steps that are not recorded are meant: no warning of them.
        optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def set_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    """The learning rate of its next step."""
    [group] = optimizer.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def begin(optimizer: torch.optim.Adam) -> None:
    """Make its state as before a first step, which would else be made within that step, and again at each replay."""
    parameter = _parameter(optimizer)
    zeros = {name: torch.zeros_like(parameter.detach()) for name in MOMENTS[1:]}
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    optimizer.state[parameter] = {MOMENTS[0]: step, **zeros}


def moments(optimizer: torch.optim.Adam, name: str) -> dict[str, Tensor]:
    """Its state by names that begin with `name`; none before the first step."""
    state = optimizer.state[_parameter(optimizer)]
    return {f"{name}.{key}": value for key, value in state.items()}


def restore(optimizer: torch.optim.Adam, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Take up the state that `moments` gave, in place: a recorded step reads it where it is."""
    parameter = _parameter(optimizer)
    found = {key: tensors[f"{name}.{key}"] for key in MOMENTS if f"{name}.{key}" in tensors}
    if found and not optimizer.state[parameter]:
        begin(optimizer)
    for key, value in found.items():
        optimizer.state[parameter][key].copy_(value)


def _parameter(optimizer: torch.optim.Adam) -> Tensor:
    parameter: Tensor = optimizer.param_groups[0]["params"][0]
    return parameter
