"""What an iteration of each method costs: decoder passes, as counted where the decoder runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.hierarchy import Descent, Hierarchy
from closegap_core.model import Model

WIDTH, ROWS, SAMPLES = 5, 3, 2
METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard"},
    "iterative": {"method": "iterative", "iterations": 3},
    "error": {"method": "iterative", "iterations": 3, "encode": ["data", "error"]},
    "data": {"method": "iterative", "iterations": 3, "encode": ["data", "estimate"]},
    "ascent": {"method": "iterative", "iterations": 3, "encode": ["data"], "update": "learned_sgd"},
    "ladder": {"method": "ladder"},
    "started": {"method": "iterative", "iterations": 3, "start": "standard"},
    "svi": {"method": "svi", "iterations": 3},
    "hybrid": {"method": "hybrid", "iterations": 3},
    "hybrid iterative": {
        "method": "hybrid",
        "iterations": 2,
        "start": {"method": "iterative", "iterations": 2},
    },
    "hybrid started": {
        "method": "hybrid",
        "iterations": 2,
        "start": {"method": "iterative", "iterations": 2, "start": "ladder", "encode": ["data"]},
    },
    "semi_amortized": {"method": "semi_amortized", "iterations": 3, "refiner": "natural"},
}


def make(inference: dict[str, Any], latents: list[int]) -> Model:
    levels = [{"latent": latent, "decoder": {"hidden": [6]}} for latent in latents]
    config = {
        "data": {"source": "digits"},
        "model": {"likelihood": "bernoulli", "levels": levels},
        "inference": inference,
    }
    return Model(TrainConfig.model_validate(config), WIDTH, torch.float64)


@pytest.mark.parametrize("latents", [[4], [2, 2]], ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_passes_are_those_of_the_decoder(
    name: str, latents: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, passes = make(METHODS[name], latents), [0]
    descend = Hierarchy.descend

    def counting(self: Hierarchy, ops: Any, theta: Any, z: Tensor, count: int) -> Descent:
        passes[0] += z.shape[0] * z.shape[1] // ROWS
        return descend(self, ops, theta, z, count)

    monkeypatch.setattr(Hierarchy, "descend", counting)
    x = torch.rand(ROWS, WIDTH, generator=seeds.generator(3), dtype=torch.float64)
    walk = model.method.posteriors(
        model.generative,
        model.theta.views,
        model.phi.views,
        x,
        lambda t: seeds.normal((SAMPLES, ROWS, 4), torch.float64, 1, t),
    )
    for t, _ in enumerate(itertools.islice(walk, model.method.iterations + 3)):
        assert model.method.passes(t, SAMPLES) == passes[0], f"iteration {t}"
