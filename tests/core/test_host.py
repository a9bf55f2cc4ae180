"""The mathematics of a training step never waits for a device: no value of a tensor becomes a number of the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.model import Model

WAITS = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "unique",
    "_unique2",
}
"""Operators whose result the host must have before it can go on."""
ONE: list[dict[str, Any]] = [{"latent": 3, "decoder": {"hidden": [5]}}]
TWO: list[dict[str, Any]] = [*ONE, {"latent": 2, "decoder": {"hidden": [4]}}]


class Seen(TorchDispatchMode):
    """The names of all operators that run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(function.name().split("::")[1].split(".")[0])
        return function(*args, **(kwargs or {}))


def test_a_wait_is_seen() -> None:
    with Seen() as seen:
        float(torch.ones(()))
    assert seen.names & WAITS


@pytest.mark.parametrize("levels", [ONE, TWO], ids=["one level", "two levels"])
@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "multinomial", {"kind": "gaussian", "variance": "predicted"}], ids=str
)
@pytest.mark.parametrize("method", ["standard", "iterative"])
def test_a_step_does_not_wait(method: str, likelihood: Any, levels: list[dict[str, Any]]) -> None:
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, "levels": levels},
            "inference": {"method": method},
        }
    )
    model = Model(config, 6)
    latent = sum(level["latent"] for level in levels)
    draws = [seeds.normal((2, 4, latent), torch.float32, t) for t in range(model.method.iterations + 1)]
    x = torch.ones(4, 6)
    with Seen() as seen:
        model.learn(x, lambda t: draws[t], 0.25)
    assert "addmm_" in seen.names or "_linear_pointwise" in seen.names
    assert not seen.names & WAITS
