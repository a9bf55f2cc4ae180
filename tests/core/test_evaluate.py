"""Evaluation of a small trained model: figures that must agree with one another, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from pydantic import ValidationError

from closegap_core.config import EvaluationConfig, TrainConfig
from closegap_core.data import Counts, Dataset, load
from closegap_core.errors import CheckpointError, ConfigError, DataError, NumericalError
from closegap_core.fit import finish, fit
from closegap_core.measure.evaluate import Metrics, evaluate
from closegap_core.model import Model
from closegap_core.progress import Progress
from closegap_core.trained import read_trained, write_trained

METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard", "encoder": {"hidden": [24]}},
    "flow": {"method": "flow", "encoder": {"hidden": [24]}, "network": {"hidden": [16]}},
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
    assert len(curve) == (7 if method == "iterative" else 2)
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
    for method in METHODS:
        (tmp_path / method).mkdir()
    found = {
        m: measure(b, dataset, tmp_path / m, refinement=None, gaps=gaps)["gaps"] for m, b in bundles.items()
    }
    for method in METHODS:
        assert set(found[method]) == {"train", "test"}
        with np.load(tmp_path / method / "arrays.npz") as arrays:  # by which two models are compared
            for part, report in found[method].items():
                for name in ("log_evidence", "optimal_elbo", "approximation_gap", "amortization_gap"):
                    rows = arrays[f"rows_{part}_{name}"]
                    assert rows.shape == (20,)
                    assert rows.mean() == pytest.approx(report[name]["value"])
        for report in found[method].values():
            assert report["rows"] == 20
            assert {report[name]["samples"] for name in ("elbo", "optimal_elbo")} == {400}
            assert report["log_evidence"]["iwae"]["samples"] == 1000
            assert report["log_evidence"]["ais"]["temperatures"] == 200
            assert report["amortization_gap"]["value"] > 0
            assert report["approximation_gap"]["value"] > -3 * report["approximation_gap"]["estimator_error"]
            total = report["approximation_gap"]["value"] + report["amortization_gap"]["value"]
            assert total == pytest.approx(report["inference_gap"]["value"], abs=1e-9)
            assert report["verdict"]
    assert (
        found["iterative"]["test"]["amortization_gap"]["value"]
        < found["standard"]["test"]["amortization_gap"]["value"]
    )


LINES = {"passes": 6, "rows": 40, "samples": 200, "starts": ["prior", 1, "model"]}


@pytest.mark.parametrize("method", METHODS)
def test_the_frontier_has_a_line_for_every_start_and_refiner(
    method: str, bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    refiners = [{"kind": "adam", "samples": 2}, "natural"]
    fields = {"refinement": None, "frontier": {**LINES, "refiners": refiners}, "batch_size": 25}
    found = measure(bundles[method], dataset, tmp_path, **fields)["frontier"]
    lines = {(line["start"], (line["refiner"] or {}).get("kind")): line["points"] for line in found["lines"]}
    assert set(lines) == {("model", None)} | {
        (start, kind) for start in ("prior", 1, "model") for kind in ("adam", "natural")
    }
    first = 3 if method == "iterative" else 0
    assert [point["passes"] for point in lines["prior", "adam"]] == [0, 2, 4, 6]
    assert [point["passes"] for point in lines["model", "natural"]] == list(range(first, 7))
    for points in lines.values():
        seconds = [point["seconds"] for point in points]
        assert seconds == sorted(seconds)
        for point in points:
            assert point["elbo"] + point["gap"] == pytest.approx(found["optimal_elbo"]["value"], abs=1e-5)
            assert point["gap"] > -3 * point["gap_standard_error"]
    if method != "flow":  # A refiner begins where the model's own iterations are; of a flow at its moments.
        own = {point["step"]: point for point in lines["model", None]}
        assert lines["model", "natural"][0]["elbo"] == own[first or 1]["elbo"]
    assert lines["prior", "adam"][-1]["gap"] < lines["prior", "adam"][0]["gap"]


def test_a_start_beyond_the_budget_has_no_line(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    fields = {"refinement": None, "frontier": {**LINES, "passes": 2, "starts": ["model"]}}
    [own] = measure(bundles["iterative"], dataset, tmp_path, **fields)["frontier"]["lines"]
    assert [point["passes"] for point in own["points"]] == [0, 1, 2]


@pytest.mark.parametrize("objective", ["elbo", "log_joint"])
def test_the_surface_peaks_where_inference_arrives(
    objective: str, bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    surface = {
        "dimensions": [2, 0],
        "step": 0.25,
        "objective": objective,
        "steps": 60,
        "refiners": [{"kind": "adam", "samples": 4}],
    }
    found = measure(bundles["iterative"], dataset, tmp_path, refinement=None, rows=20, surface=surface)
    assert found["surface"]["paths"][0] is None
    arrays = np.load(tmp_path / "arrays.npz")
    axis, heights, best = (arrays[f"surface_{name}"] for name in ("axis", "heights", "optimum"))
    assert axis.shape == (41,)
    assert heights.shape == (2, 41, 41)
    own, adam = arrays["surface_path_0"], arrays["surface_path_1"]
    assert own.shape == (2, 7, 2)
    assert adam.shape == (2, 61, 2)
    for row in range(2):
        second, first = np.unravel_index(heights[row].argmax(), heights[row].shape)
        peak = np.array([axis[first], axis[second]])
        # The most probable z is not the mean of q*, only near it.
        assert np.abs(peak - best[row]).max() < (0.3 if objective == "elbo" else 0.8)
        assert (own[row, 0] == 0).all()
        assert np.linalg.norm(own[row, 3] - best[row]) < np.linalg.norm(best[row])
        assert np.linalg.norm(adam[row, -1] - best[row]) < 0.5 * np.linalg.norm(best[row])


def test_a_plane_that_the_model_has_not_is_refused(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"dimensions are \[0, 6\], but z has 6"):
        measure(bundles["standard"], dataset, tmp_path, surface={"dimensions": [0, 6]})
    with pytest.raises(ValidationError, match="two different ones make a plane"):
        EvaluationConfig(surface={"dimensions": [1, 1]})
    with pytest.raises(ValidationError, match="make no grid of 2 to 1000 points"):
        EvaluationConfig(surface={"step": 20})


EVERYTHING: dict[str, Any] = {
    "batch_size": 40,
    "importance_samples": 50,
    "refinement": {"iterations": 12},
    "frontier": {**LINES, "samples": 20, "starts": ["prior"]},
    "surface": {"step": 2.0, "steps": 3},
    "gaps": {
        "rows": 60,
        "elbo_samples": 50,
        "importance_samples": 50,
        "optimum": {"learning_rates": [0.05], "window": 10},
        "flow": {
            "hidden": 4,
            "couplings": 1,
            "optimum": {"learning_rates": [0.02], "window": 5, "max_steps": 10},
        },
        "ais": {"chains": 2, "temperatures": 20, "leapfrogs": 2},
        "certificate_rows": 30,
    },
}


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    """All but what the clock says."""
    copy: dict[str, Any] = json.loads(json.dumps(summary))
    for line in copy["frontier"]["lines"]:
        for point in line["points"]:
            point.pop("seconds")
    return copy


def killed_after(chunks: int, bundle: Path, folder: Path, work: Path) -> int:
    """Evaluate in a process that dies without warning once so many chunks are kept; its exit status."""
    code = f"""
import os, signal
from pathlib import Path
from closegap_core.config import EvaluationConfig
from closegap_core.data import load
from closegap_core.measure.evaluate import evaluate
from closegap_core.measure.ledger import Ledger
from closegap_core.model import Model
from closegap_core.progress import Progress
from closegap_core.trained import read_trained, write_trained

write, kept = Ledger.write, []
def dying(*arguments):
    if len(kept) == {chunks}:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments)
    kept.append(1)
Ledger.write = dying
bundle = Path({str(bundle)!r})
data = load(read_trained(bundle).config.data, "bernoulli", [])
for _ in evaluate(bundle, EvaluationConfig(**{EVERYTHING!r}), data, Path({str(folder)!r}), Path({str(work)!r})):
    pass
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_killed_at_any_chunk_it_goes_on_to_the_same_figures(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    bundle, settings = bundles["iterative"], EvaluationConfig(**EVERYTHING)
    (tmp_path / "whole").mkdir()
    whole = measure(bundle, dataset, tmp_path / "whole", **EVERYTHING)
    (tmp_path / "cut").mkdir()
    work = tmp_path / "work"
    for chunks in (3, 15):
        assert killed_after(chunks, bundle, tmp_path / "cut", work) == -signal.SIGKILL
        assert not list((tmp_path / "cut").iterdir())
    held = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert len(held) == 18
    first, *_, last = evaluate(bundle, settings, dataset, tmp_path / "cut", work)
    assert isinstance(first, Progress)
    assert 0 < first.done < first.total
    assert isinstance(last, Metrics)
    assert figures(last.summary) == figures(whole)
    assert {name: (work / name).stat().st_mtime_ns for name in held} == held, (
        "a kept chunk was measured again"
    )
    arrays = [np.load(tmp_path / place / "arrays.npz") for place in ("whole", "cut")]
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0].files)


def test_chunks_of_another_measurement_are_refused(
    bundles: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    def run(bundle: str, **fields: Any) -> None:
        settings = EvaluationConfig(refinement=None, importance_samples=5, **fields)
        for _ in evaluate(bundles[bundle], settings, dataset, tmp_path, tmp_path / "work"):
            pass

    run("standard")
    run("standard", threads=1)
    with pytest.raises(CheckpointError, match="begun with another data, evaluation; remove it"):
        run("standard", seed=1)
    with pytest.raises(CheckpointError, match="begun with another model"):
        run("iterative")
    [chunk] = (tmp_path / "work").glob("iterations-*.npz")
    chunk.write_bytes(chunk.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match=f"{chunk.name} is damaged"):
        run("standard")


def test_sparse_rows_are_made_dense_a_batch_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = np.random.default_rng(0).poisson(0.5, (120, 30)) + np.eye(120, 30, k=-5, dtype=np.int64)
    counts[:, 0] += 1
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_matrix(counts))
    settings = TrainConfig.model_validate(
        {
            "data": {"source": "x.npz", "split": {"train": 40, "valid": 10, "test": 70}},
            "model": {"likelihood": "multinomial", "levels": [{"latent": 3, "decoder": {"hidden": [8]}}]},
            "inference": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [8]}},
        }
    )
    data = load(settings.data, "multinomial", [tmp_path])
    model = Model(settings, 30)
    model.prepare(data.train.rows)
    (tmp_path / "model").mkdir()
    write_trained(tmp_path / "model", model, data, {})
    dense, read = Counts.__getitem__, []

    def watched(self: Counts, index: slice | np.ndarray) -> np.ndarray:
        rows = dense(self, index)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Counts, "__getitem__", watched)
    fields = {"batch_size": 16, "importance_samples": 20, "refinement": {"iterations": 2}}
    summary = measure(tmp_path / "model", data, tmp_path, **fields)
    assert summary["rows"] == 70
    assert summary["perplexity"]["iwae"]["value"] < summary["perplexity"]["elbo"]["value"]
    assert max(read) == 16


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
