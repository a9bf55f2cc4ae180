"""Convolutional networks: what they compute, what they refuse, and that they train and go on exactly."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from closegap_core import checkpoint, seeds
from closegap_core.config import (
    ConvolutionConfig,
    EvaluationConfig,
    LevelConfig,
    NetworkConfig,
    TrainConfig,
)
from closegap_core.data import Dataset, Part
from closegap_core.errors import ConfigError
from closegap_core.fit import EpochMetrics, Stopped, finish, fit
from closegap_core.measure.evaluate import Metrics, evaluate
from closegap_core.model import Model
from closegap_core.networks import Network, decoder, encoder
from closegap_core.ops import TORCH
from closegap_core.parameters import Flat
from closegap_core.trained import read_trained

SHAPE = (8, 4, 3)
NETWORK: dict[str, Any] = {"kind": "convolution", "channels": [4, 6], "hidden": [8]}


def parameters(network: Network) -> dict[str, torch.Tensor]:
    flat = Flat(network.shapes(), seeds.generator(1), torch.float64)
    flat.data.add_(0.1 * seeds.normal(tuple(flat.data.shape), torch.float64, 3))
    return flat.views


def test_a_decoder_is_transposed_convolutions_to_images_of_pixels() -> None:
    network = decoder("d", ConvolutionConfig(channels=(4, 6), hidden=(8,)), 5, 2 * math.prod(SHAPE), SHAPE)
    p, z = parameters(network), seeds.normal((3, 5), torch.float64, 2)
    h = functional.elu(functional.linear(z, p["d.0.weight"], p["d.0.bias"]))
    h = functional.elu(functional.linear(h, p["d.1.weight"], p["d.1.bias"])).view(3, 6, 2, 1)
    h = functional.conv_transpose2d(h, p["d.image.0.weight"], p["d.image.0.bias"], stride=2, padding=1)
    h = functional.conv_transpose2d(functional.elu(h), p["d.image.1.weight"], p["d.image.1.bias"], 2, 1)
    blocks = [block.permute(0, 2, 3, 1).flatten(1) for block in h.split(3, dim=1)]
    assert blocks[0].shape == (3, 96)
    torch.testing.assert_close(network.forward(TORCH, p, z)[0], torch.cat(blocks, -1))


def test_an_encoder_is_convolutions_of_images_of_pixels_and_what_varies_enters_after_them() -> None:
    config = ConvolutionConfig(channels=(4, 6), hidden=(8,))
    network = encoder("e", config, (96, 7), 10, 2, SHAPE)
    p = parameters(network)
    x, varying = seeds.normal((3, 96), torch.float64, 2), seeds.normal((3, 7), torch.float64, 4)
    h = x.view(3, *SHAPE).permute(0, 3, 1, 2)
    for i in range(2):
        h = functional.elu(functional.conv2d(h, p[f"e.image.{i}.weight"], p[f"e.image.{i}.bias"], 2, 1))
    h = h.flatten(1) @ p["e.0.weight_0"].T + varying @ p["e.0.weight_1"].T + p["e.0.bias"]
    want = functional.linear(functional.elu(h), p["e.1.weight"], p["e.1.bias"])
    got = network.forward(TORCH, p, varying, network.partial(TORCH, p, 0, x))[0]
    torch.testing.assert_close(got, want)


def test_initial_values_keep_the_scale_of_what_passes() -> None:
    config = ConvolutionConfig(channels=(32, 64), hidden=(), activation="tanh")
    network = encoder("e", config, (32 * 32 * 3, 0), 64, 1, (32, 32, 3))
    p = Flat(network.shapes(), seeds.generator(1), torch.float64).views
    x = seeds.normal((20, 32 * 32 * 3), torch.float64, 2)
    assert 0.2 < float(network.partial(TORCH, p, 0, x).std()) < 2


def config(
    network: Any = NETWORK, epochs: int = 3, likelihood: Any = "bernoulli", **inference: Any
) -> TrainConfig:
    inference = {"method": "iterative", "iterations": 2, "encoder": network} | inference
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, "levels": [{"latent": 3, "decoder": network}]},
            "inference": started({name: value for name, value in inference.items() if value is not None}),
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 5e-3, "seed": 5},
        }
    )


def started(inference: dict[str, Any]) -> dict[str, Any]:
    """The same with the encoder where a refined method has it."""
    if inference["method"] not in ("hybrid", "semi_amortized"):
        return inference
    start = {"method": "standard", "encoder": inference["encoder"]}
    return {name: value for name, value in inference.items() if name != "encoder"} | {"start": start}


@pytest.fixture
def dataset() -> Dataset:
    generator = np.random.default_rng(0)
    prototypes = generator.random((4, 32)) > 0.5

    def part(count: int, first: int) -> Part:
        rows = np.where(prototypes[generator.integers(0, 4, count)], 0.9, 0.1).astype(np.float32)
        return Part(rows, np.arange(first, first + count))

    return Dataset("prototypes", (8, 4), part(70, 0), part(20, 70), part(10, 90), "0" * 64, binarise=True)


METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard", "iterations": None},
    "iterative": {},
    "online": {"online": True},
    "svi": {"method": "svi", "encoder": None},
    "hybrid": {"method": "hybrid", "refiner": "natural"},
    "semi_amortized": {"method": "semi_amortized"},
}


@pytest.mark.parametrize(
    ("method", "shape"), [*((method, (8, 4)) for method in METHODS), ("iterative", (4, 4, 2))], ids=str
)
def test_training_raises_the_held_out_elbo(
    method: str, shape: tuple[int, ...], dataset: Dataset, tmp_path: Path
) -> None:
    dataset = dataclasses.replace(dataset, shape=shape)
    chosen = config(epochs=12, **METHODS[method])
    epochs = [e for e in fit(chosen, dataset, tmp_path / "checkpoints") if isinstance(e, EpochMetrics)]
    assert epochs[-1].valid["elbo"] > epochs[0].valid["elbo"] + 1.0
    (tmp_path / "model").mkdir()
    finish(chosen, dataset, tmp_path / "checkpoints", tmp_path / "model")
    read = read_trained(tmp_path / "model")
    assert read.shape == shape
    assert read.config == chosen
    measured = EvaluationConfig(importance_samples=20, refinement=None)
    (tmp_path / "evaluation").mkdir()
    *_, last = evaluate(tmp_path / "model", measured, dataset, tmp_path / "evaluation")
    assert isinstance(last, Metrics)
    assert last.summary["elbo"] > epochs[0].valid["elbo"]


@pytest.mark.parametrize("stop_at", [1, 7, 12])
def test_a_stopped_run_goes_on_exactly(stop_at: int, dataset: Dataset, tmp_path: Path) -> None:
    list(fit(config(), dataset, tmp_path / "whole"))
    asked = iter(range(1, 10_000))
    *_, last = fit(config(), dataset, tmp_path / "parts", stop=lambda: next(asked) == stop_at)
    assert isinstance(last, Stopped)
    list(fit(config(), dataset, tmp_path / "parts"))
    whole, parts = (checkpoint.newest(tmp_path / name) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert whole.tensors.keys() == parts.tensors.keys()
    for name, value in whole.tensors.items():
        assert torch.equal(parts.tensors[name], value), name


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32,), r"needs images, .* has the shape \(32,\); use a network of kind mlp"),
        ((2, 2, 2, 4), r"needs images, .* the shape \(2, 2, 2, 4\)"),
        (
            (2, 16),
            r"layer 2 .* meets an image of 1 x 8, which stride 2 does not divide; .* at most 1 channels",
        ),
        ((1, 32), r"layer 1 .* meets an image of 1 x 32"),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["decoder", "encoder"])
def test_data_that_are_no_fitting_images_are_refused(
    where: str, shape: tuple[int, ...], message: str, dataset: Dataset, tmp_path: Path
) -> None:
    plain = {"hidden": [8]}
    chosen = config(plain, encoder=NETWORK) if where == "encoder" else config(encoder=plain)
    with pytest.raises(ConfigError, match=message):
        list(fit(chosen, dataclasses.replace(dataset, shape=shape), tmp_path))


def test_a_model_without_a_shape_has_no_images() -> None:
    with pytest.raises(ConfigError, match="needs images"):
        Model(config(), 32)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (1, 2), (4, 1)])
def test_a_kernel_that_does_not_fit_its_stride_is_refused(kernel: int, stride: int) -> None:
    with pytest.raises(ValidationError, match=f"kernel is {kernel} and stride {stride}; the kernel must be"):
        ConvolutionConfig(kernel=kernel, stride=stride)


def test_a_network_without_a_kind_is_fully_connected() -> None:
    level = LevelConfig.model_validate({"latent": 2, "decoder": {"hidden": [3]}})
    assert level.decoder == NetworkConfig(hidden=(3,))
    with pytest.raises(ValidationError, match="convolutio"):
        LevelConfig.model_validate({"latent": 2, "decoder": {"kind": "convolutio"}})
    with pytest.raises(ValidationError, match="channels"):
        LevelConfig.model_validate({"latent": 2, "decoder": {"channels": [3]}})


def test_a_convolution_is_refused_where_there_is_no_image() -> None:
    one, plain = {"latent": 2}, {"hidden": [8]}
    above = {"likelihood": "bernoulli", "levels": [one, {"latent": 2, "decoder": NETWORK}]}
    two = {"likelihood": "bernoulli", "levels": [one, one]}
    whole = config().model_dump()
    with pytest.raises(ValidationError, match="decoder of level 2 gives latents, not an image"):
        TrainConfig.model_validate(whole | {"model": above})
    with pytest.raises(ValidationError, match="encoder of level 2 does not see the data"):
        TrainConfig.model_validate(whole | {"model": two})
    with pytest.raises(ValidationError, match="encoder of level 1 does not see the data"):
        config(encode=["gradient", "estimate"])
    assert TrainConfig.model_validate(whole | {"model": two | {"skip": True}})
    assert config(encoder=None, encoders=[NETWORK]).inference
    assert config(plain)
