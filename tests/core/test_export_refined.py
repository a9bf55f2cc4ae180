"""Refiner steps in an exported file: behind any encoder, and of methods that have their own."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from pydantic import ValidationError

from closegap_core.config import ExportConfig, RefineConfig, TrainConfig
from closegap_core.encode import Encoder
from closegap_core.errors import ExportError
from closegap_core.export import export as module
from closegap_core.export.encoder import build
from closegap_core.export.gate import Gate
from closegap_core.export.recorded import FixedNoise, fixed_noise, recorded
from closegap_core.inference import refiners
from closegap_core.inference.refined import Refined
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.trained import read_trained
from tests.core.exporting import (
    LADDER,
    LATENT,
    STANDARD,
    config_of,
    digits,
    exported,
    levels_of,
    trained,
)

REFINERS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.01, "clip": 5.0},
    "momentum": {"learning_rate": 0.01, "momentum": 0.5},
    "rmsprop": {"learning_rate": 0.02},
    "adam": {"learning_rate": 0.05},
    "natural": {"learning_rate": 0.3, "draws": "antithetic"},
    "newton": {"learning_rate": 0.66, "anneal": 2.75, "trust": 7.0, "draws": "signs"},
}
STARTS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard", "encoder": {"hidden": [20, 16]}},
    "ladder": LADDER,
    "iterative": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [20, 16]}},
}


def _refiner(kind: str) -> dict[str, Any]:
    return {"kind": kind} | REFINERS[kind]


def _started(start: str, **inference: Any) -> TrainConfig:
    """Of two levels behind a ladder, whose prior a refiner has to follow."""
    alone = {"iterations": None} | STARTS[start] | inference
    return levels_of(**alone) if start == "ladder" else config_of(**alone)


def _further(method: str, start: str, kind: str) -> TrainConfig:
    """A method that has a refiner of its own."""
    own = {"method": method, "start": STARTS[start], "refiner": _refiner(kind), "iterations": 4, "samples": 2}
    return levels_of(encoder=None, **own) if start == "ladder" else config_of(encoder=None, **own)


def _walked(model: Model, x: np.ndarray, noise: FixedNoise, refine: RefineConfig | None) -> list[Posterior]:
    """q before and after each step of the refiner, by the functions that training and evaluation use."""
    rows, draws, steps = (
        torch.from_numpy(array).to(model.dtype) for array in (x, noise.iterations, noise.steps)
    )
    method = model.method
    if isinstance(method, Refined):
        first, taken = method.start.iterations, method.start.draws
        walk = model.posteriors(
            rows, lambda t: draws if t < taken else steps[(t - taken) % len(steps)], first + 2 * 4
        )
        return list(walk)[first:]
    if refine is None:
        raise TypeError("there is nothing to refine by")
    q, theta = model.infer(rows, lambda t: draws), model.theta.views
    further = refiners.refine(
        model.generative, theta, rows, q, lambda t: steps[t % len(steps)], refine.refiner
    )
    with torch.no_grad():
        return list(itertools.islice(further, 2 * refine.steps + 1))


def _takes_the_steps_of_inference(tmp_path: Path, config: TrainConfig, refine: RefineConfig | None) -> None:
    """The gate passes, and the file is where inference itself arrives, in float32 and float64, step by step."""
    out = exported(tmp_path, config, rows=64, refine=refine, samples=2)
    parity = json.loads((out / "parity.json").read_text())
    assert parity["iterations"] == [0, 1, 4, 8]
    assert {"one step after 0", "one step after 3", "one step after 7"} <= set(parity["checks"])
    encoder, rows = Encoder(out / "encoder.onnx"), digits("bernoulli").test.rows
    models = [read_trained(tmp_path / "trained", dtype).model for dtype in (torch.float64, torch.float32)]
    latent = models[0].generative.latent
    noise = fixed_noise(ExportConfig(), latent, recorded(models[0], refine).refine)
    exact, ours = (_walked(model, rows, noise, refine) for model in models)
    kind = encoder.info.metadata["refine"]["refiner"]["kind"]
    for count in range(9):
        got = encoder(rows, count)
        for mine, best, same in zip((got.mean, got.log_var), exact[count], ours[count], strict=True):
            scale = 1 + best.abs()
            file, model = (
                ((found.double() - best).abs() / scale).amax(-1) for found in (torch.from_numpy(mine), same)
            )
            assert float(file.median()) <= max(1e-5, 4 * float(model.median())), count
            if kind not in ("rmsprop", "adam"):
                assert float(file.max()) <= max(1e-4, 4 * float(model.max())), count
    np.testing.assert_array_equal(encoder(rows).mean, encoder(rows, 4).mean)
    assert not np.array_equal(encoder(rows, 4).mean, encoder(rows, 0).mean)


@pytest.mark.parametrize("kind", REFINERS)
@pytest.mark.parametrize("start", STARTS)
def test_every_refiner_follows_every_encoder(start: str, kind: str, tmp_path: Path) -> None:
    refine = RefineConfig.model_validate({"steps": 4, "refiner": _refiner(kind)})
    _takes_the_steps_of_inference(tmp_path, _started(start), refine)


@pytest.mark.parametrize(
    ("method", "start", "kind"),
    [
        *(("hybrid", "standard", kind) for kind in REFINERS),
        ("hybrid", "ladder", "natural"),
        ("hybrid", "iterative", "newton"),
        ("semi_amortized", "standard", "momentum"),
        ("semi_amortized", "ladder", "newton"),
        ("semi_amortized", "iterative", "adam"),
    ],
)
def test_a_method_with_a_refiner_is_exported_with_its_steps(
    method: str, start: str, kind: str, tmp_path: Path
) -> None:
    _takes_the_steps_of_inference(tmp_path, _further(method, start, kind), None)


def test_refiner_steps_close_the_gap_that_an_encoder_leaves(tmp_path: Path) -> None:
    """Of a model that has learned; each row reports its own ELBO, by draws that the steps did not see."""
    out = exported(tmp_path, STANDARD, steps=300, refine=RefineConfig(), elbo_samples=256)
    encoder, rows = Encoder(out / "encoder.onnx"), digits("bernoulli").test.rows
    assert encoder.info.iterations == 8
    encodings = [encoder(rows, count) for count in (0, 2, 8, 200)]
    alone, few, usual, many = (encoding.elbo.mean() for encoding in encodings)
    assert alone < few < usual
    assert usual - alone > 0.8 * (many - alone)
    assert (encodings[2].elbo > encodings[0].elbo).mean() > 0.9
    assert set(encodings[2].iterations) == {8}


def test_steps_have_draws_of_their_own_that_come_around(tmp_path: Path) -> None:
    out = exported(tmp_path, STANDARD, refine=RefineConfig(steps=3), samples=4, seed=5)
    model = onnx.load(out / "encoder.onnx")
    defaults = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = [i.name for i in model.graph.input]
    assert inputs == ["x", "step_noise", "iterations"]
    steps = defaults["step_noise"]
    assert steps.shape == (3, 4, 1, LATENT)
    assert set(np.unique(steps)) == {-1.0, 1.0}
    np.testing.assert_array_equal(steps[:, :2], -steps[:, 2:])
    assert not np.array_equal(steps[0], steps[1])
    assert defaults["iterations"] == 3
    metadata = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert metadata["closegap.refine"]["refiner"]["kind"] == "newton"
    assert metadata["closegap.noise"]["refiner"]["steps"] == 3
    assert metadata["closegap.noise"]["samples"] == 0
    more = fixed_noise(ExportConfig(seed=5, samples=4), LATENT, RefineConfig(steps=1000)).steps
    assert len(more) == 64
    np.testing.assert_array_equal(more[:3], steps)


def test_a_refined_row_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    out = exported(tmp_path, STANDARD, refine=RefineConfig())
    encoder, rows = Encoder(out / "encoder.onnx"), digits("bernoulli").test.rows
    whole, ragged, alone = encoder(rows), encoder(rows, batch_size=7), encoder(rows[5:6])
    np.testing.assert_allclose(whole.mean, ragged.mean, atol=1e-4)
    np.testing.assert_allclose(whole.mean[5:6], alone.mean, atol=1e-4)


@pytest.mark.parametrize("wrong", ["rate", "draws"])
def test_other_steps_than_asked_for_fail_the_gate(wrong: str, tmp_path: Path) -> None:
    dataset, refine = digits("bernoulli"), RefineConfig(steps=3)
    source = read_trained(trained(tmp_path / "trained", STANDARD, dataset))
    oracle, config = read_trained(tmp_path / "trained", torch.float64).model, ExportConfig(refine=refine)
    noise = fixed_noise(config, LATENT, refine)
    built, asked = build(source.model, noise, 3, refine), refine
    if wrong == "draws":
        noise = noise._replace(steps=noise.steps[::-1].copy())
    else:
        rate = refine.refiner.model_copy(update={"learning_rate": 0.6})
        asked = refine.model_copy(update={"refiner": rate})
    content = module._describe(built, source, config).SerializeToString()
    gate = Gate(content, source.model, oracle, noise, dataset.valid.rows[:40], asked)
    failures = [failure for check in gate.checks() for failure in check.failures]
    assert any(failure.startswith("one step after 0: row error") for failure in failures)
    assert any(failure.startswith("3 iterations: row error") for failure in failures)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"iterations": 5, "refine": {"steps": 3}},
            "iterations is 5, but with refine .* leave iterations out",
        ),
        ({"refine": {"steps": 0}}, "greater than or equal to 1"),
        ({"refine": {"refiner": {"kind": "lbfgs"}}}, "sgd"),
        ({"samples": 3, "refine": {}}, "must be even"),
    ],
)
def test_settings_of_refinement_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExportConfig.model_validate(fields)


def test_a_second_refiner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'hybrid' has a refiner of its own, .*; leave refine out"):
        exported(tmp_path, _further("hybrid", "standard", "sgd"), steps=0, refine=RefineConfig())
