"""The mean of the iterates beyond training's last."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.model import Model
from tests.core.combinations import TINY

ROWS, LATENT = 6, 3


def model(average: bool, encoder: dict[str, Any]) -> Model:
    """An iterative model of T = 2, as it begins."""
    config = {
        "data": {"source": "digits"},
        "model": {"likelihood": "gaussian", "levels": [{"latent": LATENT, "decoder": {"hidden": [5]}}]},
        "inference": {
            "method": "iterative",
            "iterations": 2,
            "samples": 2,
            "average": average,
            "encoder": {"hidden": list(TINY["hidden"]), **encoder},
        },
        "training": {"epochs": 1},
    }
    return Model(TrainConfig.model_validate(config), 4, torch.float64)


def noise(t: int) -> Tensor:
    """Of iteration t."""
    return seeds.normal((2, ROWS, LATENT), torch.float64, 7, t)


@pytest.mark.parametrize("encoder", [{"connection": "highway"}, {"kind": "lstm"}], ids=["mlp", "lstm"])
def test_it_is_the_mean_of_the_iterates_from_the_last_trained_one(encoder: dict[str, Any]) -> None:
    x = seeds.normal((ROWS, 4), torch.float64, 3)
    last, mean = (list(model(average, encoder).posteriors(x, noise, 9)) for average in (False, True))
    for t, (alone, among) in enumerate(zip(last, mean, strict=True)):
        for part in ("mean", "log_var"):
            iterates = torch.stack([getattr(q, part) for q in last[min(t, 2) : t + 1]])
            expected = iterates.mean(0)
            if t <= 2:
                assert torch.equal(getattr(among, part), getattr(alone, part))
            torch.testing.assert_close(getattr(among, part), expected, rtol=1e-12, atol=1e-13)
    assert not torch.equal(last[9].mean, mean[9].mean)
