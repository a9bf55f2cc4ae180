"""Export: the file is the model, or there is no file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from closegap_core import bundle
from closegap_core.bundle import open_bundle
from closegap_core.config import ExportConfig, TrainConfig
from closegap_core.data import Dataset, Part
from closegap_core.data.draw import fixed
from closegap_core.encode import Encoder
from closegap_core.errors import BundleError, ExportError
from closegap_core.export import export as module
from closegap_core.export.encoder import build
from closegap_core.export.export import export
from closegap_core.export.gate import Gate, Judged
from closegap_core.export.recorded import fixed_noise
from closegap_core.model import Model
from closegap_core.trained import read_trained
from tests.core.exporting import (
    ALONE,
    CONVOLUTION,
    LADDER,
    LATENT,
    STANDARD,
    config_of,
    digits,
    exported,
    levels_of,
    trained,
)

FAMILY = {
    "default": config_of(),
    "standard": STANDARD,
    "normalised standard": config_of(
        encode=["data"],
        normalise="none",
        update="direct",
        iterations=1,
        encoder={"hidden": [20, 16], "batch_norm": True},
    ),
    "data only": config_of(encode=["data"]),
    "started": config_of(start={"method": "standard", "encoder": {"hidden": [12]}}),
    "started counts": config_of("multinomial", start="standard", encode=["gradient", "estimate"]),
    "gradient": config_of(encode=["gradient"], normalise="none", update="additive"),
    "error": config_of(
        {"kind": "gaussian", "mean": "sigmoid"}, encode=["error", "estimate"], update="direct"
    ),
    "everything": config_of(encode=["data", "gradient", "error", "estimate"]),
    "log sign": config_of(normalise="log_sign"),
    "gaussian": config_of("gaussian"),
    "a variance a dimension": config_of(
        {"kind": "gaussian", "variance": "dimension"}, encode=["data", "error"]
    ),
    "predicted variance": config_of({"kind": "gaussian", "variance": "predicted"}),
    "dequantised": config_of("dequantised"),
    "legacy": config_of({"kind": "dequantised", "variance": "global", "legacy": True}, encode=["error"]),
    "multinomial": config_of("multinomial"),
    "multinomial error": config_of("multinomial", encode=["data", "error", "estimate"]),
    "relu": config_of(decoder={"hidden": [24], "activation": "relu", "connection": "residual"}),
    "leaky": config_of(decoder={"hidden": [24, 24], "activation": "leaky_relu", "connection": "highway"}),
    "tanh": config_of(decoder={"hidden": [24], "activation": "tanh"}),
    "sigmoid": config_of(decoder={"hidden": [24], "activation": "sigmoid"}),
    "linear": config_of(decoder={"hidden": []}, encoder={"hidden": []}),
    "natural": config_of(update="natural", encode=["data", "estimate"]),
    "convolution": config_of(decoder=CONVOLUTION, encoder=CONVOLUTION),
    "convolution of everything": config_of(
        {"kind": "gaussian", "variance": "predicted"},
        decoder=CONVOLUTION | {"activation": "relu"},
        encoder=CONVOLUTION,
        encode=["data", "gradient", "error", "estimate"],
    ),
    "lstm": config_of(encoder={"kind": "lstm", "hidden": [20]}),
    "lstm of data only": config_of(encoder={"kind": "lstm", "hidden": [20, 16]}, encode=["data"]),
    "gru": config_of(encoder={"kind": "gru", "hidden": [20, 16]}, encode=["data", "error", "estimate"]),
    "recurrent levels": levels_of(encoder={"kind": "gru", "hidden": [16]}),
    "batch norm": config_of(encoder={"hidden": [20, 16], "batch_norm": True, "connection": "highway"}),
    "through iterations": config_of(backprop_through_iterations=True),
    "mean of iterates": config_of(average=True),
    "mean of recurrent iterates": config_of(average=True, encoder={"kind": "gru", "hidden": [20]}),
    "two levels": levels_of(),
    "skip": levels_of(skip=True, encode=["data", "gradient", "error"]),
    "started levels": levels_of(start={"method": "standard", "encoder": {"hidden": [12]}}),
    "ladder": levels_of(**ALONE),
    "ladder with skip": levels_of(skip=True, prior_variance="learned", **ALONE),
    "started by a ladder": levels_of(start=LADDER, encode=["data", "error", "estimate"]),
    "learned variance": levels_of(prior_variance="learned"),
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
    out = exported(tmp_path, config_of(average=True, samples=2), rows=64, samples=2)
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


def test_iterations_of_one_pass_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"iterations is 7, but an encoder of method 'standard' is one pass"
    ):
        exported(tmp_path, STANDARD, steps=0, iterations=7)
    assert list((tmp_path / "exported").iterdir()) == []


@pytest.mark.parametrize("likelihood", ["bernoulli", {"kind": "gaussian", "variance": "predicted"}], ids=str)
def test_convolutions_of_colours_pass_the_gate(likelihood: Any, tmp_path: Path) -> None:
    config = config_of(likelihood, decoder=CONVOLUTION, encoder=CONVOLUTION)
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
    first, second = exported(tmp_path / "a", config_of()), exported(tmp_path / "b", config_of())
    digests = [bundle.write(out, "model", {"parent": "x"}) for out in (first, second)]
    assert digests[0] == digests[1]
    assert set(open_bundle(first).files) == {
        *("config.json", "weights.safetensors", "metrics.json", "parity.json", "quality.json", "encoder.onnx")
    }
    source = tmp_path / "a" / "trained"
    for name in ("config.json", "weights.safetensors", "metrics.json"):
        assert (first / name).read_bytes() == (source / name).read_bytes()


def test_the_file_says_what_it_is_and_needs_only_x(tmp_path: Path) -> None:
    out = exported(tmp_path, config_of(), samples=4, elbo_samples=8, seed=3)
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
    config = config_of().model_dump()
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
    model = read_trained(trained(tmp_path / "trained", config_of(), dataset)).model
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
    encoder = Encoder(exported(tmp_path, config_of()) / "encoder.onnx")
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
    config = TrainConfig.model_validate(config_of().model_dump() | {"inference": {"method": "svi"}})
    svi = trained(tmp_path / "svi", config, dataset, steps=0)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError, match=r"'svi' has no encoder .*; accepted: standard, ladder"):
        list(export(svi, ExportConfig(), dataset, out))
    good = trained(tmp_path / "good", config_of(), dataset, steps=0)
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
