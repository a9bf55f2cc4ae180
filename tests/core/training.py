"""A small training for each way to learn, its data, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from closegap_core import checkpoint
from closegap_core.config import TrainConfig
from closegap_core.data import Dataset, Part
from closegap_core.fit import fit
from closegap_core.group import SINGLE, Group

START = {"method": "standard", "encoder": {"hidden": [8]}}
METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard", "encoder": {"hidden": [8]}},
    "iterative": {
        "method": "iterative",
        "iterations": 2,
        "encoder": {"hidden": [8], "connection": "highway"},
    },
    "sampled": {"method": "iterative", "samples": 4, "iterations": 2, "encoder": {"hidden": [8]}},
    "ladder": {"method": "ladder", "encoder": {"hidden": [8]}},
    "svi": {"method": "svi", "iterations": 3},
    "started": {"method": "iterative", "iterations": 2, "start": START, "encoder": {"hidden": [8]}},
    "hybrid": {"method": "hybrid", "iterations": 3, "start": START, "refiner": "natural"},
    "semi_amortized": {"method": "semi_amortized", "iterations": 2, "start": START},
    "flow": {"method": "flow", "encoder": {"hidden": [8]}, "network": {"hidden": [8]}},
    "differences": {
        "method": "semi_amortized",
        "iterations": 2,
        "start": START,
        "differentiate": "finite_difference",
        "refiner": {"kind": "momentum", "learning_rate": 0.01, "clip": 5.0},
    },
    "online": {"method": "iterative", "iterations": 2, "online": True, "encoder": {"hidden": [8]}},
    "drawn": {
        "method": "iterative",
        "iterations": 3,
        "iterations_drawn": "uniform",
        "loss_weights": "linear",
        "encoder": {"hidden": [8]},
    },
    "lstm": {"method": "iterative", "iterations": 3, "encoder": {"kind": "lstm", "hidden": [8]}},
    "batch_norm": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [8], "batch_norm": True}},
    "through": {
        "method": "iterative",
        "iterations": 2,
        "backprop_through_iterations": True,
        "encoder": {"hidden": [8]},
    },
}
LEVEL = [{"latent": 3, "decoder": {"hidden": [8]}}]
LEVELS = {"ladder": [{"latent": 2, "units": 2, "decoder": {"hidden": [8]}}, *LEVEL]}
OPTIONS: dict[str, Any] = {"kl_warmup": 1.5, "free_bits": 0.05, "encoder_steps": 2, "model_samples": 0.5}


def config(method: str = "iterative", **training: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": "bernoulli", "levels": LEVELS.get(method, LEVEL)},
            "inference": METHODS[method],
            "training": {"epochs": 3, "batch_size": 16, "learning_rate": 5e-3, "seed": 5, **training},
        }
    )


def prototypes() -> Dataset:
    """70 rows to learn from, four batches of 16 and one of 6, 20 to validate by and 10 more: four kinds."""
    generator = np.random.default_rng(0)
    prototypes = generator.random((4, 12)) > 0.5

    def part(count: int, first: int) -> Part:
        which = generator.integers(0, 4, count)
        rows = np.where(prototypes[which], 0.9, 0.1).astype(np.float32)
        return Part(rows, np.arange(first, first + count))

    return Dataset("prototypes", (12,), part(70, 0), part(20, 70), part(10, 90), "0" * 64, binarise=True)


def run(
    config: TrainConfig, dataset: Dataset, folder: Path, group: Group = SINGLE, stop_at: int = -1
) -> list[Any]:
    asked = iter(range(1, 10_000))
    stop: Callable[[], bool] = lambda: next(asked) == stop_at  # noqa: E731
    return list(fit(config, dataset, folder, group, stop))


def weights(folder: Path) -> dict[str, Tensor]:
    found = checkpoint.newest(folder)
    assert found is not None
    return dict(found.tensors)


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(got[name], value), name
