"""The preview of a training: what it says, how large it may be, and that it changes nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from closegap_core import preview
from closegap_core.data import Dataset
from closegap_core.fit import finish, fit
from closegap_core.group import SINGLE
from closegap_core.model import Model
from closegap_core.validation import Draws, batches, curve
from tests.core.training import assert_equal, config, prototypes, run, weights


@pytest.fixture
def dataset() -> Dataset:
    return prototypes()


def shown(method: str, dataset: Dataset, folder: Path) -> Path:
    file = folder / "shown.json"
    folder.mkdir(exist_ok=True)
    list(fit(config(method, epochs=2, keep="last"), dataset, folder / "c", shown=file))
    return file


@pytest.mark.parametrize("method", ["iterative", "ladder", "svi", "flow", "batch_norm"])
def test_a_training_that_is_watched_is_the_same_training(
    method: str, dataset: Dataset, tmp_path: Path
) -> None:
    run(config(method, epochs=2, keep="last"), dataset, tmp_path / "unseen")
    shown(method, dataset, tmp_path / "seen")
    assert_equal(weights(tmp_path / "seen" / "c"), weights(tmp_path / "unseen"))


def test_it_says_what_inference_does(dataset: Dataset, tmp_path: Path) -> None:
    found = json.loads(shown("iterative", dataset, tmp_path).read_bytes())
    assert (found["epoch"], found["rows"], found["shape"]) == (2, 8, [12])
    assert found["iterations"] == [0, 1, 2]
    finish(config("iterative", epochs=2, keep="last"), dataset, tmp_path / "c", _made(tmp_path / "m"))
    sealed = json.loads((tmp_path / "m" / preview.PREVIEW).read_bytes())
    assert sealed == found  # the last weights are those that are kept
    model = Model.load(config("iterative"), 12, tmp_path / "m" / "weights.safetensors")
    levels = np.frombuffer(base64.b64decode(found["originals"]), np.uint8).reshape(8, 12)
    x = found["low"] + levels / 255 * (found["high"] - found["low"])
    rows = torch.from_numpy(x).float()
    draws = Draws(1, 3, torch.float32, (5, 4))
    whole = dataset.valid.rows.shape[0]
    assert found["measured_rows"] == whole == 20
    # Draws are of a batch's shape: those of its first rows need the others, too.
    padded = torch.cat([rows, torch.zeros(whole - 8, 12)])
    [batch] = batches(padded, 250)
    for t, (q, bound) in enumerate(curve(model, batch, draws, draws, 2)):
        assert found["elbo"][t] == pytest.approx(bound.elbo[:8].tolist(), rel=1e-4)
        means = model.generative.reconstruct(model.theta.views, q.mean[:8])
        bytes_ = np.frombuffer(base64.b64decode(found["reconstructions"][t]), np.uint8).reshape(8, 12)
        assert np.abs(bytes_ / 255 - means.numpy()).max() < 0.51 / 255
    assert len(found["kl_by_dimension"]) == len(found["posterior_variance"]) == 3
    assert min(found["kl_by_dimension"]) >= 0


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_epochs_say_weight_gradient_and_active_units(dataset: Dataset, tmp_path: Path) -> None:
    settings = config("iterative", epochs=3, kl_warmup=1.5)
    epochs = [e.to_dict() for e in fit(settings, dataset, tmp_path, SINGLE) if e.to_dict()["type"] == "epoch"]
    steps = epochs[0]["step"]
    assert [e["kl_weight"] for e in epochs] == pytest.approx([(steps - 1) / steps / 1.5, 1.0, 1.0])
    assert all(set(e["gradient_norm"]) == {"theta", "phi"} for e in epochs)
    assert all(value > 0 for e in epochs for value in e["gradient_norm"].values())
    assert all(0 <= e["valid"]["active_units"] <= 3 for e in epochs)
    [last] = [e for e in fit(config("svi", epochs=1), dataset, tmp_path / "svi") if "valid" in e.to_dict()]
    assert set(last.to_dict()["gradient_norm"]) == {"theta"}  # it has no encoder
    [last] = [e for e in fit(config("online", epochs=1), dataset, tmp_path / "on") if "valid" in e.to_dict()]
    assert set(last.to_dict()["gradient_norm"]) == {
        "theta"
    }  # each iteration's gradient is gone after its step


def test_iterations_that_are_shown() -> None:
    assert preview.shown_iterations(0) == [0]
    assert preview.shown_iterations(5) == [0, 1, 2, 3, 4, 5]
    many = preview.shown_iterations(300)
    assert many[0] == 0
    assert many[-1] == 300
    assert len(many) <= preview.MOST_ITERATIONS


def test_large_rows_are_fewer(dataset: Dataset) -> None:
    model = Model(config("standard"), 100_000)
    found = preview.preview(model, torch.rand(9, 100_000).round(), (100_000,), 1, 1)
    assert found["rows"] == 1
    assert len(json.dumps(found)) < 2 * preview.MOST_BYTES
