"""Small models of the 8x8 digits, trained for a few steps and exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from closegap_core import bundle, seeds
from closegap_core.config import ExportConfig, TrainConfig
from closegap_core.data import Dataset, Part, load
from closegap_core.data.draw import draw_of, fixed
from closegap_core.export.export import export
from closegap_core.model import Model
from closegap_core.trained import write_trained

LATENT = 6


def digits(likelihood: Any) -> Dataset:
    kind = likelihood if isinstance(likelihood, str) else likelihood["kind"]
    whole = {"dequantised": 255.0, "multinomial": 16.0}.get(kind)
    if whole is None:
        return load(config_of(likelihood).data, kind, [])
    grey = load(config_of(likelihood).data, "gaussian", [])
    parts = {
        name: Part((getattr(grey, name).rows * whole).round(), getattr(grey, name).ids)
        for name in ("train", "valid", "test")
    }
    return dataclasses.replace(grey, **parts)


def config_of(likelihood: Any = "bernoulli", decoder: Any = None, **inference: Any) -> TrainConfig:
    inference = {"method": "iterative", "iterations": 3, "encoder": {"hidden": [20, 16]}} | inference
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits", "split": {"train": 64, "valid": 260, "test": 64}},
            "model": {
                "likelihood": likelihood,
                "levels": [{"latent": LATENT, "decoder": decoder or {"hidden": [24, 16]}}],
            },
            "inference": {name: value for name, value in inference.items() if value is not None},
        }
    )


def levels_of(skip: bool = False, prior_variance: str = "predicted", **inference: Any) -> TrainConfig:
    config = config_of(**inference).model_dump()
    network = {"hidden": [16]}
    levels = [{"latent": 4, "units": 3, "decoder": network}, {"latent": 2, "decoder": network}]
    config["model"] |= {"levels": levels, "skip": skip, "prior_variance": prior_variance}
    return TrainConfig.model_validate(config)


def trained(folder: Path, config: TrainConfig, dataset: Dataset, steps: int = 15) -> Path:
    """A bundle of a model that has learned for a few steps."""
    torch.set_num_threads(1)
    model = Model(config, 64, shape=dataset.shape)
    model.prepare(dataset.train.rows)
    x = torch.from_numpy(fixed(draw_of(config.model.likelihood, False), dataset.train.rows, 0))
    optimizers = []
    for flat in (model.theta, model.phi):
        parameter = torch.nn.Parameter(flat.data)
        parameter.grad = flat.grad
        optimizers.append(torch.optim.Adam([parameter], lr=3e-3, maximize=True))
    size = (config.inference.samples, len(x), LATENT)
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=False)
        model.learn(x, lambda t, s=step: seeds.normal(size, torch.float32, s, t), 1.0 / len(x))
        for optimizer in optimizers:
            optimizer.step()
    folder.mkdir()
    write_trained(folder, model, dataset, {"history": []})
    bundle.write(folder, "model", {"data_digest": dataset.digest})
    return folder


def exported(tmp_path: Path, config: TrainConfig, steps: int = 15, **fields: Any) -> Path:
    dataset = digits(config.model.likelihood.model_dump())
    source = trained(tmp_path / "trained", config, dataset, steps)
    out = tmp_path / "exported"
    out.mkdir()
    for _ in export(source, ExportConfig(**fields), dataset, out):
        pass
    return out


CONVOLUTION: dict[str, Any] = {"kind": "convolution", "channels": [4, 6], "hidden": [16]}
LADDER: dict[str, Any] = {"method": "ladder", "encoder": {"hidden": [20, 16]}}
ALONE: dict[str, Any] = {**LADDER, "iterations": None}
STANDARD = TrainConfig.model_validate(
    config_of().model_dump() | {"inference": {"method": "standard", "encoder": {"hidden": [20, 16]}}}
)
"""A standard encoder of the same size."""
