"""A trained model's folder: what a train job writes and every later job reads.

`config.json` holds the whole configuration, the data's width, shape and digest, and versions; `weights.safetensors`
the parameters; `metrics.json` the history. `closegap_core.bundle` seals the folder.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError

from closegap_core.config import TrainConfig
from closegap_core.data import Dataset
from closegap_core.durable import write_bytes
from closegap_core.errors import BundleError
from closegap_core.model import Model

FORMAT = 1


class Trained(NamedTuple):
    """A trained model and where it came from. shape: of one row of data."""

    model: Model
    config: TrainConfig
    shape: tuple[int, ...]
    data_digest: str
    binarise: bool
    metrics: dict[str, Any]


def write_trained(folder: Path, model: Model, dataset: Dataset, metrics: dict[str, Any]) -> None:
    """Write the three files into an existing, unsealed folder."""
    facts = {
        "format": FORMAT,
        "train": model.config.model_dump(mode="json"),
        "width": model.width,
        "latent": model.generative.latent,
        "shape": list(dataset.shape),
        "data_digest": dataset.digest,
        "binarise": dataset.binarise,
        "versions": {
            "closegap": version("closegap"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    model.save(folder / "weights.safetensors")
    write_bytes(folder / "config.json", _json(facts))
    write_bytes(folder / "metrics.json", _json(metrics))


def read_trained(folder: Path, dtype: torch.dtype = torch.float32) -> Trained:
    """Read what `write_trained` wrote. Raises BundleError or CheckpointError naming the file."""
    path = folder / "config.json"
    try:
        facts = json.loads(path.read_text())
        metrics = json.loads((folder / "metrics.json").read_text())
        config = TrainConfig.model_validate(facts["train"])
        width, shape = int(facts["width"]), tuple(int(n) for n in facts["shape"])
        digest, binarise = str(facts["data_digest"]), bool(facts["binarise"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise BundleError(f"{folder} does not hold a trained model: {path.name}: {error}") from error
    model = Model.load(config, width, folder / "weights.safetensors", dtype, shape)
    return Trained(model, config, shape, digest, binarise, metrics)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
