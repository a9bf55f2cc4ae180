"""8-bit images and word counts from stored rows to figures: draws, training, evaluation, export, encoding."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from closegap_core import bundle
from closegap_core.config import EncodeConfig, EvaluationConfig, ExportConfig, TrainConfig
from closegap_core.data import Dataset, Part
from closegap_core.data.dequantise import dequantise, spread
from closegap_core.data.draw import draw_of, fixed
from closegap_core.encode import Encoder
from closegap_core.encode.dataset import encode_dataset
from closegap_core.errors import DataError, EncodeError
from closegap_core.export.export import export
from closegap_core.fit import finish, fit
from closegap_core.inputs import IDF
from closegap_core.measure.evaluate import Metrics, evaluate
from closegap_core.trained import read_trained

WIDTH = 12
KINDS: dict[str, Any] = {"bytes": {"kind": "dequantised", "variance": "dimension"}, "counts": "multinomial"}


def config(likelihood: Any, epochs: int = 6) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, "levels": [{"latent": 3, "decoder": {"hidden": [16]}}]},
            "inference": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [16]}},
            "training": {"epochs": epochs, "batch_size": 16, "learning_rate": 1e-2},
        }
    )


def dataset(likelihood: Any) -> Dataset:
    """Four kinds of images or of documents."""
    generator = np.random.default_rng(0)
    kinds = generator.random((4, WIDTH)) ** 3

    def part(count: int, first: int) -> Part:
        mean = kinds[generator.integers(0, 4, count)]
        counts, grey = generator.poisson(12 * mean) + (mean > 0.5), generator.normal(255 * mean, 20)
        rows = counts if likelihood == "multinomial" else grey.round().clip(0, 255)
        return Part(rows.astype(np.float32), np.arange(first, first + count))

    return Dataset("kinds", (WIDTH,), part(160, 0), part(20, 160), part(40, 180), "0" * 64, binarise=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name, likelihood in KINDS.items():
        root = tmp_path_factory.mktemp(name)
        settings, rows = config(likelihood), dataset(likelihood)
        list(fit(settings, rows, root / "checkpoints"))
        folders[name] = root / "model"
        folders[name].mkdir()
        finish(settings, rows, root / "checkpoints", folders[name])
        bundle.write(folders[name], "model", {})
    return folders


@pytest.mark.parametrize("legacy", [False, True])
def test_noise_of_a_row_is_decided_by_its_place(legacy: bool) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (40, 11)).astype(np.float32)
    whole = dequantise(rows, 7, legacy=legacy)
    for first, last in ((0, 40), (3, 9), (39, 40)):
        np.testing.assert_array_equal(
            dequantise(rows[first:last], 7, first, legacy), whole[first:last], strict=True
        )
    assert not np.array_equal(whole, dequantise(rows, 8, legacy=legacy))
    with pytest.raises(DataError, match="first=-1"):
        dequantise(rows, 0, -1)


def test_noise_fills_the_bin_of_its_grey_level() -> None:
    rows = np.repeat(np.array([[0.0, 1.0, 128.0, 255.0]], np.float32), 20_000, 0)
    noise = dequantise(rows, 0).astype(np.float64) * 256 - rows
    assert noise.min() >= 0
    assert noise.max() <= 1
    np.testing.assert_allclose(noise.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(noise.var(0), 1 / 12, atol=0.003)
    published = dequantise(rows, 0, legacy=True)
    assert published.min() == 0
    assert published.max() == 1
    np.testing.assert_allclose(published[:, 2].mean(), 128 / 255, atol=1e-4)
    tensors = spread(torch.from_numpy(rows[:3]), torch.full((3, 4), 0.25), True)
    np.testing.assert_array_equal(tensors.numpy(), spread(rows[:3], np.full((3, 4), 0.25, np.float32), True))


@pytest.mark.parametrize(
    ("likelihood", "binary", "draw"),
    [
        ("bernoulli", True, "binarise"),
        ("bernoulli", False, "none"),
        ("gaussian", False, "none"),
        ("multinomial", False, "none"),
        ("dequantised", False, "dequantise"),
        ({"kind": "dequantised", "legacy": True}, False, "dequantise_legacy"),
    ],
)
def test_the_likelihood_says_what_is_drawn(likelihood: Any, binary: bool, draw: str) -> None:
    assert draw_of(config(likelihood).model.likelihood, binary) == draw


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_evaluation(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    model, rows = models[kind], dataset(KINDS[kind])
    settings = EvaluationConfig(samples=50, importance_samples=200, refinement=None, batch_size=16)
    *_, last = evaluate(model, settings, rows, tmp_path)
    assert isinstance(last, Metrics)
    summary = last.summary
    assert summary["elbo"] > summary["elbo_by_iteration"][0]["elbo"]
    if kind == "counts":
        figures = summary["perplexity"]
        assert 1 < figures["iwae"]["value"] < figures["elbo"]["value"] < WIDTH
    else:
        figures = summary["bits_per_dimension"]
        for name, bound in (("elbo", summary["elbo"]), ("iwae", summary["iwae"]["value"])):
            assert figures[name]["value"] == pytest.approx(-bound / (WIDTH * math.log(2)), rel=1e-9)
        assert figures["elbo"]["standard_error"] == pytest.approx(
            summary["elbo_standard_error"] / (WIDTH * math.log(2)), rel=1e-9
        )
        assert 4 < figures["iwae"]["value"] < figures["elbo"]["value"] < 8  # eight bits is what storing takes


def test_perplexity_is_the_mean_over_documents_of_a_word_s_log_likelihood(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """At the first iterate of a model whose decoder ignores z it is known in closed form."""
    model, rows = tmp_path / "model", dataset("multinomial")
    shutil.copytree(models["counts"], model)
    loaded = read_trained(model)
    for name, tensor in loaded.model.parameters().items():
        if name.startswith("decoder") and name.endswith("weight"):
            tensor.zero_()
    loaded.model.save(model / "weights.safetensors")
    settings = EvaluationConfig(samples=1, importance_samples=1000, refinement=None)
    *_, last = evaluate(model, settings, rows, tmp_path)
    assert isinstance(last, Metrics)
    log_pi = loaded.model.parameters()["decoder.1.1.bias"].double().log_softmax(-1).numpy()
    x = rows.test.rows.astype(np.float64)
    expected = math.exp(-float(((x @ log_pi) / x.sum(-1)).mean()))
    assert last.summary["perplexity"]["iwae"]["value"] == pytest.approx(expected, rel=0.02)
    assert last.summary["perplexity"]["elbo"]["value"] >= expected


def test_document_frequencies_are_part_of_the_model_and_stay(models: dict[str, Path]) -> None:
    frequency = (dataset("multinomial").train.rows > 0).sum(0)
    idf = np.log((1 + 160) / (1 + frequency)) + 1
    saved = read_trained(models["counts"]).model.parameters()[IDF]
    np.testing.assert_allclose(saved.numpy(), idf, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_ends_with_equal_weights(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    asked = iter(range(100))
    settings, rows = config(KINDS[kind]), dataset(KINDS[kind])
    list(fit(settings, rows, tmp_path / "again", stop=lambda: next(asked) == 13))
    list(fit(settings, rows, tmp_path / "again"))
    (tmp_path / "second").mkdir()
    finish(settings, rows, tmp_path / "again", tmp_path / "second")
    first, second = (
        read_trained(folder).model.parameters() for folder in (models[kind], tmp_path / "second")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_stored_rows_are_encoded_as_the_model_sees_them(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    model, rows = models[kind], dataset(KINDS[kind])
    (tmp_path / "exported").mkdir()
    list(export(model, ExportConfig(rows=20), rows, tmp_path / "exported"))
    path = tmp_path / "exported" / "encoder.onnx"
    encoder, stored = Encoder(path), rows.test.rows
    expected = encoder(fixed(encoder.info.draw, stored, 5))
    (tmp_path / "encoding").mkdir()
    *_, summary = encode_dataset(
        path,
        stored,
        rows.test.ids,
        tmp_path / "encoding",
        EncodeConfig(seed=5, shard_rows=7),
        {"model": "m"},
    )
    assert summary.metrics["elbo"] == pytest.approx(float(expected.elbo.mean()), rel=1e-5)
    wrong, what = stored.copy(), "word count" if kind == "counts" else "grey level"
    wrong[3, 2] = 0.5
    with pytest.raises(EncodeError, match=f"row 3, column 2 is 0.5; every value must be a {what}"):
        list(encode_dataset(path, wrong, rows.test.ids, tmp_path / "other", EncodeConfig(), {"model": "m"}))
    if kind == "bytes":
        with pytest.raises(EncodeError, match=r"must be in \[0, 1\]"):
            encoder(stored)
