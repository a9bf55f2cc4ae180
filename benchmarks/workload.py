"""The models that are measured, and rows for them: the paper's size for MNIST, and the demonstration's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from closegap_core import bundle
from closegap_core.config import DataConfig, ExportConfig, TrainConfig
from closegap_core.data import Dataset, load
from closegap_core.data.dataset import Part
from closegap_core.export.export import export
from closegap_core.fit import finish, fit

ITERATIVE: dict[str, Any] = {
    "method": "iterative",
    "encode": ["data", "gradient", "estimate"],
    "iterations": 5,
}


DIGITS: dict[str, Any] = {"source": "mnist-5k", "split": {"train": 512, "valid": 256, "test": 256}}
COLOURS = 3072


def highway(*widths: int) -> dict[str, Any]:
    """An encoder."""
    return {"hidden": list(widths), "connection": "highway"}


def config(*levels: tuple[int, int], samples: int) -> TrainConfig:
    """An iterative model of MNIST digits, batches of 64, T = 5; levels: of Z dimensions and two layers so wide."""
    encoders = [highway(width, width) for _, width in levels]
    encoder = {"encoder": encoders[0]} if len(levels) == 1 else {"encoders": encoders}
    return TrainConfig.model_validate(
        {
            "data": DIGITS,
            "model": {
                "likelihood": "bernoulli",
                "levels": [{"latent": z, "decoder": {"hidden": [width] * 2}} for z, width in levels],
            },
            "inference": {**ITERATIVE, "samples": samples, **encoder},
            "training": {"epochs": 1, "batch_size": 64, "threads": 1},
        }
    )


def colours() -> TrainConfig:
    """The paper's size for CIFAR-10, batches of 128."""
    return TrainConfig.model_validate(
        {
            "data": {"source": "cifar10"},
            "model": {
                "likelihood": {"kind": "dequantised", "variance": "predicted"},
                "levels": [{"latent": 1024, "decoder": {"hidden": [2048]}}],
            },
            "inference": {**ITERATIVE, "samples": 10, "encoder": highway(2048, 2048, 2048)},
            "training": {"epochs": 1, "batch_size": 128, "threads": 1},
        }
    )


CONFIGS = {
    "paper": config((64, 512), samples=10),
    "demo": config((32, 256), samples=1),
    "two levels": config((64, 512), (32, 256), samples=10),
}


def dataset(data: DataConfig) -> Dataset:
    """The digits; they come with a wheel, so no data root is needed."""
    return load(data, "bernoulli", ())


def noise_images() -> Dataset:
    """Images of CIFAR's size with random pixels: speed does not depend on what they show."""
    random = np.random.default_rng(0)
    train, valid, test = (
        Part(random.integers(0, 256, (rows, COLOURS)).astype(np.float32), np.arange(rows))
        for rows in (256, 128, 128)
    )
    return Dataset("random", (32, 32, 3), train, valid, test, digest="", binarise=False, values="byte")


@contextmanager
def exported(name: str) -> Iterator[Path]:
    """The folder of an export of a model that was trained for one epoch: speed does not depend on how well."""
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        root = Path(place)
        trained, target = root / "trained", root / "exported"
        for folder in (trained, target):
            folder.mkdir()
        rows = dataset(CONFIGS[name].data)
        for _ in fit(CONFIGS[name], rows, root / "checkpoints"):
            continue
        finish(CONFIGS[name], rows, root / "checkpoints", trained)
        bundle.write(trained, "model", {})
        for _ in export(trained, ExportConfig(rows=64), rows, target):
            continue
        yield target
