"""Every file under examples/ is a spec that closegap accepts, and runs."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from closegap.cli import datacheck
from closegap.specs import spec
from closegap.specs.kinds import SPECS, CompareSpec, SweepSpec
from closegap.specs.pipeline import uses
from closegap_core.config import (
    DataConfig,
    EncodeConfig,
    EvaluationConfig,
    FigureConfig,
    InferenceConfig,
    IterativeStart,
    LikelihoodConfig,
)
from closegap_core.data import load
from closegap_core.data.draw import fixed
from closegap_core.encode import Encoder
from tests.core.combinations import members

Run = Callable[..., list[dict[str, Any]]]
EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
PAPERS = sorted((EXAMPLES / "paper").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_a_valid_spec_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert spec.parse(text)


def test_what_a_spec_to_begin_with_says_is_accepted_is_what_is() -> None:
    """`closegap example KIND` names the alternatives of a field behind its value: `a | b | c`."""
    unions = {
        "likelihood": (LikelihoodConfig, "kind"),
        "figure": (FigureConfig, "kind"),
        "method": (InferenceConfig, "method"),
    }
    fields = {"normalise": IterativeStart, "update": IterativeStart, "part": EvaluationConfig}
    offered = {
        name: {section.model_fields[tag].default for section in members(union)}
        for name, (union, tag) in unions.items()
    } | {name: set(get_args(section.model_fields[name].annotation)) for name, section in fields.items()}
    told = {
        name: set(words.split(" | "))
        for path in resources.files("closegap.specs.examples").iterdir()
        for name, words in re.findall(r"(\w+): \w+ +# (\w+(?: \| \w+)+)", path.read_text(encoding="utf-8"))
    }
    assert told == offered


@pytest.mark.parametrize("scale", ["full", "small"])
@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_an_experiment_of_a_paper_is_valid_at_both_scales_and_ends_with_a_comparison(
    path: Path, scale: str
) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"closegap run examples/paper/{path.name} --scale small" in text
    *others, last = spec.parse(text, scale)
    assert isinstance(last, CompareSpec)
    assert last.comparison.scale == scale
    needed = {name for job in [*others, last] for name in uses(job)}
    assert {job.name for job in others} <= needed, "a job that nothing needs"


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_small_experiments_run_on_data_from_packages(path: Path) -> None:
    assert datacheck.problems(spec.parse(path.read_text(encoding="utf-8"), "small")) == ()


def test_there_is_one_of_each_kind_and_a_pipeline() -> None:
    kinds = {path.stem: [parsed.kind for parsed in spec.parse(path.read_text())] for path in FILES}
    assert kinds.pop("pipeline") == ["train", "evaluate", "export", "encode"]
    assert kinds.pop("compare") == ["train", "train", "evaluate", "evaluate", "compare"]
    assert set(kinds) == set(SPECS) - {"compare"}
    assert all(found == [kind] for kind, found in kinds.items())


def test_the_sweep_is_nine_trials_over_encodings_and_iterations() -> None:
    (sweep,) = spec.parse((EXAMPLES / "sweep.yaml").read_text())
    assert isinstance(sweep, SweepSpec)
    assert set(sweep.space) == {"inference.encode", "inference.iterations"}
    assert math.prod(len(dimension.values or ()) for dimension in sweep.space.values()) == 9


def run_in(home: Path, name: str, *changes: str, scale: str | None = None) -> list[dict[str, Any]]:
    """What `closegap run --json` of an example says, line by line."""
    command = [
        str(Path(sys.executable).with_name("closegap")),
        "run",
        str(EXAMPLES / f"{name}.yaml"),
        "--json",
    ]
    for change in changes:
        command += ["--set", change]
    command += ["--scale", scale] if scale else []
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "CLOSEGAP_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run_in` one home, so that examples find what others registered."""
    return partial(run_in, tmp_path_factory.mktemp("examples"))


def outputs(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs of the jobs, in the order in which they ended."""
    return [line["outputs"] for line in lines if line.get("outputs")]


def test_train_evaluate_export_encode_run_in_turn(run: Run) -> None:
    (trained,) = outputs(run("train", "training.epochs=6"))
    (evaluated,) = outputs(run("evaluate", "evaluation.importance_samples=20"))
    (exported,) = outputs(run("export"))
    (encoded,) = outputs(run("encode"))
    assert trained["epochs"] == 6
    assert evaluated["elbo"] < evaluated["iwae"] < 0
    assert exported["model"] != trained["model"]
    assert encoded["rows"] == 179
    shards = sorted(Path(encoded["path"]).glob("*.parquet"))
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [64, 64, 51]


def test_the_pipeline_runs(run: Run) -> None:
    found = outputs(run("pipeline", "train:training.epochs=2", "evaluate:evaluation.importance_samples=20"))
    assert [sorted(job)[-1] for job in found].count("valid_elbo") == 1
    assert len(found) == 4


def test_refiner_steps_behind_a_standard_encoder_are_run_for_every_row(run: Run) -> None:
    """As examples/export.yaml says."""
    changes = (
        "train:inference={method: standard, encoder: {hidden: [64]}}",
        "train:training.epochs=4",
        "evaluate:evaluation.importance_samples=2",
        "export:export={refine: {steps: 8}}",
    )
    *_, exported, encoded = outputs(run("pipeline", *changes))
    folder = Path(encoded["path"])
    file = folder.parent / exported["model"].removeprefix("sha256:") / "encoder.onnx"
    encoder, rows = Encoder(file), load(DataConfig(source="digits"), "bernoulli", []).test.rows
    x = fixed(encoder.info.draw, rows, EncodeConfig().seed)
    table = pq.read_table(sorted(folder.glob("*.parquet")))
    assert set(table["iterations"].to_pylist()) == {8}
    np.testing.assert_allclose(table["elbo"], encoder(x, 8).elbo, rtol=1e-4)
    assert (np.array(table["elbo"]) > encoder(x, 0).elbo).mean() > 0.9
    assert "one step after 7" in encoder.info.metadata["parity"]["checks"]


def test_an_experiment_of_a_paper_runs_and_tells_its_scale(run: Run) -> None:
    changes = (
        "scale.data={source: digits, split: {train: 100, valid: 20, test: 20}}",
        "scale.training={epochs: 1, batch_size: 50}",
        "scale.step=1.0",
    )
    *_, compared = outputs(run("paper/fig3", *changes, scale="small"))
    folder = Path(compared["path"])
    table = json.loads((folder / "table.json").read_text())
    assert table["scale"] == "small"
    assert table["data"][0].startswith("digits, 20 test rows, binarised by one draw")
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_sweep_runs_and_keeps_the_best(tmp_path: Path) -> None:
    """Also the first command in a home that is not there yet, with a space in its path."""
    changes = ("train.training.epochs=2", "scheduler.grace_epochs=1", "train.training.learning_rate=0.003")
    (swept,) = outputs(run_in(tmp_path / "not yet" / "home", "sweep", *changes))
    assert {"sweep", "model", "best"} <= set(swept)
