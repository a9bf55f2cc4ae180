"""Evaluation of a small trained model: figures that must agree with one another, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap_core.config import EvaluationConfig, TrainConfig
from closegap_core.data import Dataset, load
from closegap_core.errors import DataError, NumericalError
from closegap_core.fit import finish, fit
from closegap_core.measure.evaluate import Metrics, evaluate
from closegap_core.trained import read_trained

METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard", "encoder": {"hidden": [24]}},
    "iterative": {
        "method": "iterative",
        "iterations": 3,
        "encoder": {"hidden": [24], "connection": "highway"},
    },
}


def config(method: str) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": "bernoulli", "levels": [{"latent": 6, "decoder": {"hidden": [24]}}]},
            "inference": METHODS[method],
            "training": {"epochs": 12, "learning_rate": 3e-3},
        }
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load(config("standard").data, "bernoulli", [])


@pytest.fixture(scope="module")
def bundles(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for method in METHODS:
        root = tmp_path_factory.mktemp(method)
        for _ in fit(config(method), dataset, root / "checkpoints"):
            pass
        folders[method] = root / "model"
        folders[method].mkdir()
        finish(config(method), dataset, root / "checkpoints", folders[method])
    return folders


def measure(bundle: Path, dataset: Dataset, folder: Path, **fields: Any) -> dict[str, Any]:
    *_, last = evaluate(bundle, EvaluationConfig(**fields), dataset, folder)
    assert isinstance(last, Metrics)
    return last.summary


@pytest.mark.parametrize("method", METHODS)
def test_figures_agree(method: str, bundles: dict[str, Path], dataset: Dataset, tmp_path: Path) -> None:
    summary = measure(bundles[method], dataset, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == summary
    assert summary["elbo"] == pytest.approx(summary["log_likelihood"] - summary["kl"], abs=1e-6)
    curve = [point["elbo"] for point in summary["elbo_by_iteration"]]
    assert len(curve) == (2 if method == "standard" else 7)
    assert curve[summary["iterations"]] == summary["elbo"]
    assert summary["elbo"] > curve[0] + 1
    # A bound is a bound: more importance samples are tighter, and Adam on q closes part of the gap.
    assert summary["iwae"]["value"] > summary["elbo"]
    assert summary["refinement"]["amortization_gap"] > 0
    assert summary["refinement"]["best"] <= summary["iwae"]["value"] + 3 * summary["iwae"]["standard_error"]


def test_what_the_dimensions_carry(bundles: dict[str, Path], dataset: Dataset, tmp_path: Path) -> None:
    summary = measure(bundles["iterative"], dataset, tmp_path, refinement=None)
    assert len(summary["kl_by_dimension"]) == 6
    assert sum(summary["kl_by_dimension"]) == pytest.approx(summary["kl"], rel=1e-5)
    [level] = summary["kl_by_level"]
    assert level["kl"] == pytest.approx(summary["kl"], rel=1e-5)
    units = summary["active_units"]
    assert units["count"] == level["active_units"] == sum(v > units["threshold"] for v in units["variance"])
    gradients = summary["gradient_by_iteration"]
    assert [point["iteration"] for point in gradients] == list(range(7))
    assert gradients[3]["mean"] < gradients[0]["mean"]


def test_the_identity_says_what_is_comparable(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    found = measure(bundles["standard"], dataset, tmp_path, refinement=None, rows=20, seed=3)["identity"]
    assert found.pop("rows_digest") != measure(
        bundles["standard"], dataset, tmp_path, refinement=None, rows=21, seed=3
    )["identity"].pop("rows_digest")
    assert found == {
        "likelihood": "bernoulli",
        "source": dataset.source,
        "data_digest": dataset.digest,
        "draw": "binarise",
        "part": "test",
        "rows": 20,
        "samples": 10,
        "importance_samples": 500,
        "seed": 3,
    }


def test_the_iterative_model_needs_fewer_nats(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    gaps = {m: measure(b, dataset, tmp_path)["refinement"]["amortization_gap"] for m, b in bundles.items()}
    assert gaps["iterative"] < gaps["standard"]


def test_batches_do_not_change_the_estimate_beyond_its_error(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    one = measure(bundles["iterative"], dataset, tmp_path, batch_size=50, refinement=None)
    other = measure(bundles["iterative"], dataset, tmp_path, batch_size=179, refinement=None)
    assert abs(one["elbo"] - other["elbo"]) < 3 * one["elbo_standard_error"]
    assert one["refinement"] is None


def test_pictures_hold_every_iteration(bundles: dict[str, Path], dataset: Dataset, tmp_path: Path) -> None:
    measure(bundles["iterative"], dataset, tmp_path, refinement=None)
    arrays = np.load(tmp_path / "arrays.npz")
    assert arrays["originals"].shape == (10, 64)
    assert arrays["reconstructions"].shape == (4, 10, 64)
    assert arrays["prior_samples"].shape == (64, 64)
    assert tuple(arrays["shape"]) == (8, 8)
    error = ((arrays["reconstructions"] - arrays["originals"]) ** 2).mean((1, 2))
    assert error[-1] < error[0]


def test_the_gap_report_is_written_for_each_part(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    gaps = {
        "rows": 20,
        "elbo_samples": 400,
        "importance_samples": 1000,
        "ais": {"chains": 4, "temperatures": 200, "leapfrogs": 5},
        "certificate_rows": 5,
    }
    found = {m: measure(b, dataset, tmp_path, refinement=None, gaps=gaps)["gaps"] for m, b in bundles.items()}
    for method in METHODS:
        assert set(found[method]) == {"train", "test"}
        for report in found[method].values():
            assert report["rows"] == 20
            assert report["amortization_gap"]["value"] > 0
            assert report["approximation_gap"]["value"] > -3 * report["approximation_gap"]["estimator_error"]
            total = report["approximation_gap"]["value"] + report["amortization_gap"]["value"]
            assert total == pytest.approx(report["inference_gap"]["value"], abs=1e-9)
            assert report["verdict"]
    assert (
        found["iterative"]["test"]["amortization_gap"]["value"]
        < found["standard"]["test"]["amortization_gap"]["value"]
    )


def test_other_data_are_refused(bundles: dict[str, Path], dataset: Dataset, tmp_path: Path) -> None:
    part = type(dataset.test)(dataset.test.rows[:, :60].copy(), dataset.test.ids)
    narrow = Dataset(**{**dataset.__dict__, "test": part, "shape": (60,)})
    with pytest.raises(DataError, match=r"rows of 60 values .* trained on rows of 64"):
        measure(bundles["standard"], narrow, tmp_path)


def test_a_bound_that_is_not_finite_is_an_error(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    rows = dataset.test.rows.copy()
    rows[7, 3] = np.inf
    broken = Dataset(
        **{**dataset.__dict__, "test": type(dataset.test)(rows, dataset.test.ids), "binarise": False}
    )
    with pytest.raises(NumericalError, match="row 7"):
        measure(bundles["standard"], broken, tmp_path, refinement=None)
    assert not list(tmp_path.iterdir())


def test_weights_survive_the_disk(bundles: dict[str, Path]) -> None:
    first, second = read_trained(bundles["iterative"]), read_trained(bundles["iterative"])
    for name, tensor in first.model.parameters().items():
        assert np.array_equal(tensor.numpy(), second.model.parameters()[name].numpy())
    assert first.shape == (8, 8)
