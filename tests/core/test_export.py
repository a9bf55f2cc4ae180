"""Export: the file is the model, or there is no file."""

from __future__ import annotations

import dataclasses
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

from closegap_core import bundle, seeds
from closegap_core.bundle import open_bundle
from closegap_core.config import ExportConfig, RefineConfig, TrainConfig
from closegap_core.data import Dataset, Part, load
from closegap_core.data.draw import draw_of, fixed
from closegap_core.encode import Encoder
from closegap_core.errors import BundleError, ExportError
from closegap_core.export import export as module
from closegap_core.export.encoder import build
from closegap_core.export.export import export
from closegap_core.export.gate import Gate, Judged
from closegap_core.export.recorded import FixedNoise, fixed_noise, recorded
from closegap_core.inference import refiners
from closegap_core.inference.refined import Refined
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.trained import read_trained, write_trained

LATENT = 6


def digits(likelihood: Any) -> Dataset:
    kind = likelihood if isinstance(likelihood, str) else likelihood["kind"]
    whole = {"dequantised": 255.0, "multinomial": 16.0}.get(kind)
    if whole is None:
        return load(_config(likelihood).data, kind, [])
    grey = load(_config(likelihood).data, "gaussian", [])
    parts = {
        name: Part((getattr(grey, name).rows * whole).round(), getattr(grey, name).ids)
        for name in ("train", "valid", "test")
    }
    return dataclasses.replace(grey, **parts)


def _config(likelihood: Any = "bernoulli", decoder: Any = None, **inference: Any) -> TrainConfig:
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


def _levels(skip: bool = False, prior_variance: str = "predicted", **inference: Any) -> TrainConfig:
    config = _config(**inference).model_dump()
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
FAMILY = {
    "default": _config(),
    "standard": TrainConfig.model_validate(
        _config().model_dump() | {"inference": {"method": "standard", "encoder": {"hidden": [20, 16]}}}
    ),
    "normalised standard": _config(
        encode=["data"],
        normalise="none",
        update="direct",
        iterations=1,
        encoder={"hidden": [20, 16], "batch_norm": True},
    ),
    "data only": _config(encode=["data"]),
    "started": _config(start={"method": "standard", "encoder": {"hidden": [12]}}),
    "started counts": _config("multinomial", start="standard", encode=["gradient", "estimate"]),
    "gradient": _config(encode=["gradient"], normalise="none", update="additive"),
    "error": _config({"kind": "gaussian", "mean": "sigmoid"}, encode=["error", "estimate"], update="direct"),
    "everything": _config(encode=["data", "gradient", "error", "estimate"]),
    "log sign": _config(normalise="log_sign"),
    "gaussian": _config("gaussian"),
    "a variance a dimension": _config(
        {"kind": "gaussian", "variance": "dimension"}, encode=["data", "error"]
    ),
    "predicted variance": _config({"kind": "gaussian", "variance": "predicted"}),
    "dequantised": _config("dequantised"),
    "legacy": _config({"kind": "dequantised", "variance": "global", "legacy": True}, encode=["error"]),
    "multinomial": _config("multinomial"),
    "multinomial error": _config("multinomial", encode=["data", "error", "estimate"]),
    "relu": _config(decoder={"hidden": [24], "activation": "relu", "connection": "residual"}),
    "leaky": _config(decoder={"hidden": [24, 24], "activation": "leaky_relu", "connection": "highway"}),
    "tanh": _config(decoder={"hidden": [24], "activation": "tanh"}),
    "sigmoid": _config(decoder={"hidden": [24], "activation": "sigmoid"}),
    "linear": _config(decoder={"hidden": []}, encoder={"hidden": []}),
    "natural": _config(update="natural", encode=["data", "estimate"]),
    "convolution": _config(decoder=CONVOLUTION, encoder=CONVOLUTION),
    "convolution of everything": _config(
        {"kind": "gaussian", "variance": "predicted"},
        decoder=CONVOLUTION | {"activation": "relu"},
        encoder=CONVOLUTION,
        encode=["data", "gradient", "error", "estimate"],
    ),
    "lstm": _config(encoder={"kind": "lstm", "hidden": [20]}),
    "lstm of data only": _config(encoder={"kind": "lstm", "hidden": [20, 16]}, encode=["data"]),
    "gru": _config(encoder={"kind": "gru", "hidden": [20, 16]}, encode=["data", "error", "estimate"]),
    "recurrent levels": _levels(encoder={"kind": "gru", "hidden": [16]}),
    "batch norm": _config(encoder={"hidden": [20, 16], "batch_norm": True, "connection": "highway"}),
    "through iterations": _config(backprop_through_iterations=True),
    "mean of iterates": _config(average=True),
    "mean of recurrent iterates": _config(average=True, encoder={"kind": "gru", "hidden": [20]}),
    "two levels": _levels(),
    "skip": _levels(skip=True, encode=["data", "gradient", "error"]),
    "started levels": _levels(start={"method": "standard", "encoder": {"hidden": [12]}}),
    "ladder": _levels(**ALONE),
    "ladder with skip": _levels(skip=True, prior_variance="learned", **ALONE),
    "started by a ladder": _levels(start=LADDER, encode=["data", "error", "estimate"]),
    "learned variance": _levels(prior_variance="learned"),
}


@pytest.mark.parametrize("name", FAMILY)
def test_every_method_and_network_passes_the_gate(name: str, tmp_path: Path) -> None:
    config = FAMILY[name]
    out = exported(tmp_path, config, rows=256)
    parity = json.loads((out / "parity.json").read_text())
    wanted = [1] if config.inference.method in ("standard", "ladder") else [0, 1, 3, 6]
    if config.inference.method == "iterative" and config.inference.iterations == 1:
        wanted = [0, 1, 2]
    assert parity["iterations"] == wanted
    assert parity["checks"]["run again"] == {"bitwise": True}
    for count in wanted:
        assert parity["checks"][f"{count} iterations"]["posterior"]["file_median"] < 1e-5
    encoder = Encoder(out / "encoder.onnx")
    encoding = encoder(fixed(encoder.info.draw, digits(config.model.likelihood.model_dump()).test.rows, 0))
    assert encoding.mean.shape == (64, LATENT)
    assert np.isfinite(encoding.elbo).all()


def test_a_file_gives_the_mean_of_late_iterates(tmp_path: Path) -> None:
    out = exported(tmp_path, _config(average=True, samples=2), rows=64, samples=2)
    rows = digits("bernoulli").test.rows
    models = [read_trained(tmp_path / "trained", dtype).model for dtype in (torch.float64, torch.float32)]
    draws = torch.from_numpy(fixed_noise(ExportConfig(samples=2), LATENT).iterations)
    exact, ours = (
        list(
            model.posteriors(torch.from_numpy(rows).to(model.dtype), lambda t, m=model: draws.to(m.dtype), 12)
        )
        for model in models
    )
    encoder = Encoder(out / "encoder.onnx")
    for count in (3, 4, 12):
        file = torch.from_numpy(encoder(rows, count).mean)
        best, same = exact[count].mean, ours[count].mean
        errors = [((found.double() - best).abs() / (1 + best.abs())).amax(-1) for found in (file, same)]
        assert float(errors[0].max()) <= max(1e-5, 4 * float(errors[1].max())), count


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
    return _levels(**alone) if start == "ladder" else _config(**alone)


def _further(method: str, start: str, kind: str) -> TrainConfig:
    """A method that has a refiner of its own."""
    own = {"method": method, "start": STARTS[start], "refiner": _refiner(kind), "iterations": 4, "samples": 2}
    return _levels(encoder=None, **own) if start == "ladder" else _config(encoder=None, **own)


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
    out = exported(tmp_path, FAMILY["standard"], steps=300, refine=RefineConfig(), elbo_samples=256)
    encoder, rows = Encoder(out / "encoder.onnx"), digits("bernoulli").test.rows
    assert encoder.info.iterations == 8
    encodings = [encoder(rows, count) for count in (0, 2, 8, 200)]
    alone, few, usual, many = (encoding.elbo.mean() for encoding in encodings)
    assert alone < few < usual
    assert usual - alone > 0.8 * (many - alone)
    assert (encodings[2].elbo > encodings[0].elbo).mean() > 0.9
    assert set(encodings[2].iterations) == {8}


def test_steps_have_draws_of_their_own_that_come_around(tmp_path: Path) -> None:
    out = exported(tmp_path, FAMILY["standard"], refine=RefineConfig(steps=3), samples=4, seed=5)
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
    out = exported(tmp_path, FAMILY["standard"], refine=RefineConfig())
    encoder, rows = Encoder(out / "encoder.onnx"), digits("bernoulli").test.rows
    whole, ragged, alone = encoder(rows), encoder(rows, batch_size=7), encoder(rows[5:6])
    np.testing.assert_allclose(whole.mean, ragged.mean, atol=1e-4)
    np.testing.assert_allclose(whole.mean[5:6], alone.mean, atol=1e-4)


@pytest.mark.parametrize("wrong", ["rate", "draws"])
def test_other_steps_than_asked_for_fail_the_gate(wrong: str, tmp_path: Path) -> None:
    dataset, refine = digits("bernoulli"), RefineConfig(steps=3)
    source = read_trained(trained(tmp_path / "trained", FAMILY["standard"], dataset))
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


@pytest.mark.parametrize("likelihood", ["bernoulli", {"kind": "gaussian", "variance": "predicted"}], ids=str)
def test_convolutions_of_colours_pass_the_gate(likelihood: Any, tmp_path: Path) -> None:
    config = _config(likelihood, decoder=CONVOLUTION, encoder=CONVOLUTION)
    dataset = dataclasses.replace(digits(likelihood), shape=(4, 4, 4))
    source = trained(tmp_path / "trained", config, dataset)
    (tmp_path / "exported").mkdir()
    for _ in export(source, ExportConfig(), dataset, tmp_path / "exported"):
        pass
    encoder = Encoder(tmp_path / "exported" / "encoder.onnx")
    assert encoder.info.shape == (4, 4, 4)


def test_the_bundle_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = exported(tmp_path / "a", _config()), exported(tmp_path / "b", _config())
    digests = [bundle.write(out, "model", {"parent": "x"}) for out in (first, second)]
    assert digests[0] == digests[1]
    assert set(open_bundle(first).files) == {
        *("config.json", "weights.safetensors", "metrics.json", "parity.json", "quality.json", "encoder.onnx")
    }
    source = tmp_path / "a" / "trained"
    for name in ("config.json", "weights.safetensors", "metrics.json"):
        assert (first / name).read_bytes() == (source / name).read_bytes()


def test_the_file_says_what_it_is_and_needs_only_x(tmp_path: Path) -> None:
    out = exported(tmp_path, _config(), samples=4, elbo_samples=8, seed=3)
    content = (out / "encoder.onnx").read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    defaults = {tensor.name for tensor in model.graph.initializer}
    assert [i.name for i in model.graph.input if i.name not in defaults] == ["x"]
    assert {i.name for i in model.graph.input if i.name in defaults} == {"iterations", "noise"}
    assert [output.name for output in model.graph.output] == ["mean", "log_var", "elbo"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    metadata = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert metadata["closegap.noise"]["samples"] == 4
    assert metadata["closegap.preprocess"]["range"] == [0, 1]
    assert metadata["closegap.parity"] == json.loads((out / "parity.json").read_text())
    assert str(tmp_path).encode() not in content
    noise = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "noise")
    assert noise.shape == (4, 1, LATENT)
    np.testing.assert_array_equal(noise[:2], -noise[2:])
    weights = read_trained(tmp_path / "trained").model.parameters()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), weights[tensor.name].numpy())
    assert set(weights) <= defaults


def test_a_path_of_the_data_does_not_get_into_the_file(tmp_path: Path) -> None:
    config = _config().model_dump()
    config["data"]["source"] = str(tmp_path / "secret" / "rows.npy")
    dataset = digits("bernoulli")
    source = trained(tmp_path / "trained", TrainConfig.model_validate(config), dataset, steps=0)
    out = tmp_path / "out"
    out.mkdir()
    list(export(source, ExportConfig(), dataset, out))
    content = (out / "encoder.onnx").read_bytes()
    assert b"secret" not in content
    assert b"rows.npy" in content


@pytest.mark.parametrize("name", ["default", "standard", "log sign", "relu"])
@pytest.mark.parametrize("weight", ["encoder", "decoder"])
def test_a_perturbed_weight_fails_the_gate_and_leaves_nothing(
    name: str, weight: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: Model, *args: Any) -> onnx.ModelProto:
        built = build(model, *args)
        tensor = next(t for t in built.graph.initializer if t.name.startswith(f"{weight}.1.1.weight"))
        values = numpy_helper.to_array(tensor).copy()
        values[0] += 0.05
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return built

    dataset = digits("bernoulli")
    source = trained(tmp_path / "trained", FAMILY[name], dataset)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(module, "build", wrong)
    with pytest.raises(ExportError, match="differs from the trained model"):
        list(export(source, ExportConfig(), dataset, out))
    assert list(out.iterdir()) == []


def test_the_gate_reports_what_differs(tmp_path: Path) -> None:
    dataset = digits("bernoulli")
    model = read_trained(trained(tmp_path / "trained", _config(), dataset)).model
    oracle = read_trained(tmp_path / "trained", torch.float64).model
    noise = fixed_noise(ExportConfig(), LATENT)
    content = module._describe(
        build(model, noise, 3), read_trained(tmp_path / "trained"), ExportConfig()
    ).SerializeToString()
    rows = dataset.valid.rows[:40]
    assert not any(check.failures for check in Gate(content, model, oracle, noise, rows).checks())
    model.phi.views["encoder.1.0.bias"][0] += 0.1
    oracle.phi.views["encoder.1.0.bias"][0] += 0.1
    failures = [f for check in Gate(content, model, oracle, noise, rows).checks() for f in check.failures]
    assert any(f.startswith("one step after 0: row error") for f in failures)
    assert any(f.startswith("3 iterations: row error") for f in failures)


def test_rows_do_not_depend_on_their_batch_and_more_iterations_are_run(tmp_path: Path) -> None:
    encoder = Encoder(exported(tmp_path, _config()) / "encoder.onnx")
    rows = digits("bernoulli").test.rows
    whole = encoder(rows)
    ragged = encoder(rows, batch_size=7)
    alone = encoder(rows[5:6])
    for a, b in ((whole, ragged), (encoder(rows[5:6]), alone)):
        np.testing.assert_allclose(a.mean, b.mean, atol=1e-5)
        np.testing.assert_allclose(a.elbo, b.elbo, atol=1e-3)
    np.testing.assert_array_equal(encoder(rows, 3).mean, whole.mean)
    prior = encoder(rows, 0)
    assert not prior.mean.any()
    assert not prior.log_var.any()
    assert not np.array_equal(encoder(rows, 8).mean, whole.mean)
    assert whole.elbo.mean() > prior.elbo.mean()


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    dataset = digits("bernoulli")
    config = TrainConfig.model_validate(_config().model_dump() | {"inference": {"method": "svi"}})
    svi = trained(tmp_path / "svi", config, dataset, steps=0)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match=r"'svi' has no encoder .*; accepted: standard, ladder"):
        list(export(svi, ExportConfig(), dataset, out))
    good = trained(tmp_path / "good", _config(), dataset, steps=0)
    narrow = Part(dataset.valid.rows[:, :10].copy(), dataset.valid.ids)
    other = Dataset("other", (10,), narrow, narrow, narrow, "0" * 64, False)
    with pytest.raises(ExportError, match="rows of 10 values"):
        list(export(good, ExportConfig(), other, out))
    (good / "weights.safetensors").write_bytes(b"x" * (good / "weights.safetensors").stat().st_size)
    with pytest.raises(BundleError, match=r"weights\.safetensors was altered"):
        list(export(good, ExportConfig(), dataset, out))
    assert list(out.iterdir()) == []


def test_what_the_gate_judges() -> None:
    fine, coarse = np.full(100, 1e-7), np.full(100, 1e-4)
    outlier, lost = fine.copy(), fine.copy()
    outlier[3], lost[3] = 1.0, np.nan
    assert not Judged(fine, fine).failures("", 1.0, 1e-5)
    assert Judged(coarse, fine).failures("", 0.5, 1e-5), "beyond the limit"
    assert not Judged(coarse, coarse).failures("", 0.5, 1e-5), "no worse than the model itself"
    assert Judged(coarse * 5, coarse).failures("", 0.5, 1e-5), "worse than the model itself"
    assert Judged(outlier, fine).failures("", 1.0, 1e-5), "one row is enough where the model is exact"
    assert not Judged(outlier, outlier).failures("", 1.0, 1e-5)
    assert Judged(lost, fine).failures("", 1.0, 1e-5), "not a number"
    assert Judged(lost, outlier).failures("", 1.0, 1e-5), "not a number, where the model itself is coarse"
