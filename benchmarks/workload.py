"""The models that are measured, and rows for them: the paper's size for MNIST, and the demonstration's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from closegap_core import bundle
from closegap_core.config import DataConfig, ExportConfig, TrainConfig
from closegap_core.data import Dataset, load
from closegap_core.export.export import export
from closegap_core.fit import finish, fit

ITERATIVE: dict[str, Any] = {
    "method": "iterative",
    "encode": ["data", "gradient", "estimate"],
    "iterations": 5,
}


def config(latent: int, width: int, samples: int) -> TrainConfig:
    """An iterative model of MNIST digits, batches of 64, T = 5."""
    encoder = {"hidden": [width, width], "connection": "highway"}
    return TrainConfig.model_validate(
        {
            "data": {"source": "mnist-5k", "split": {"train": 512, "valid": 256, "test": 256}},
            "model": {
                "likelihood": "bernoulli",
                "levels": [{"latent": latent, "decoder": {"hidden": [width, width]}}],
            },
            "inference": {**ITERATIVE, "samples": samples, "encoder": encoder},
            "training": {"epochs": 1, "batch_size": 64, "threads": 1},
        }
    )


CONFIGS = {"paper": config(64, 512, 10), "demo": config(32, 256, 1)}


def dataset(data: DataConfig) -> Dataset:
    """The digits; they come with a wheel, so no data root is needed."""
    return load(data, "bernoulli", ())


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
