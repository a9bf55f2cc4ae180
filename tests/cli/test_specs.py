"""submit, validate, schema, example: what is accepted, what is refused and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from closegap.cli.demo import pipeline as pipeline_text
from closegap.job import Capacity, State
from closegap.queue.queue import Queue
from closegap.specs.spec import parse

from .conftest import TRAIN, Command


def test_submit_prints_ids_on_stdout_and_next_commands_on_stderr(
    closegap: Command, pipeline: str, queue: Queue
) -> None:
    said = closegap("submit", pipeline)
    assert said.code == 0
    ids = said.out.split()
    assert [queue.get(job).state for job in ids] == [State.QUEUED, State.BLOCKED]
    for command in ("closegap wait", "closegap logs -f", "closegap ps", "closegap show", "closegap cancel"):
        assert command in said.err


def test_submit_from_standard_input_as_json(closegap: Command) -> None:
    said = closegap("submit", "-", "--json", stdin=TRAIN)
    assert [job["name"] for job in said.json["jobs"]] == ["small"]


def test_the_same_key_gives_the_same_job_and_another_spec_is_a_conflict(
    closegap: Command, train: str
) -> None:
    first = closegap("submit", train, "--key", "k")
    assert closegap("submit", train, "--key", "k").out == first.out
    other = closegap("submit", train, "--key", "k", "--set", "training.epochs=3")
    assert other.code == 2
    assert "key" in other.err


def test_overrides_and_priority_reach_the_record(closegap: Command, pipeline: str) -> None:
    said = closegap(
        "submit", pipeline, "--set", "small:training.epochs=7", "--set", "small:model.levels.0.latent=3",
        "--set", "measure:evaluation={importance_samples: 9}", "--priority", "90", "--json",
    )  # fmt: skip
    train, measure = (job["spec"] for job in said.json["jobs"])
    assert train["training"]["epochs"] == 7
    assert train["model"]["levels"][0]["latent"] == 3
    assert measure["evaluation"]["importance_samples"] == 9
    assert {job["priority"] for job in said.json["jobs"]} == {90}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "write path=value"),
        ("training.epochs=3", "the pipeline has 2 jobs"),
        ("other:training.epochs=3", "no job is called 'other'"),
        ("small:model.levels.4.latent=3", "no index of a list of 1"),
        ("small:training.epochs.deep=3", "nothing below 2"),
        ("small:training.epochs=[", "not a YAML value"),
    ],
)
def test_a_wrong_override_is_told(closegap: Command, pipeline: str, override: str, message: str) -> None:
    said = closegap("submit", pipeline, "--set", override)
    assert said.code == 2
    assert message in said.err


def test_every_problem_is_told_with_line_value_and_what_is_accepted(closegap: Command, place: Path) -> None:
    text = (
        TRAIN.replace("epochs: 2", "epoch: 2")
        .replace("latent: 2", "latent: 0")
        .replace("standard", "standart")
    )
    (place / "bad.yaml").write_text(text)
    said = closegap("validate", "bad.yaml")
    assert said.code == 2
    assert said.out == ""
    assert "3 problems" in said.err
    assert "bad.yaml:4: model.levels[0].latent" in said.err
    assert "found `0`" in said.err
    assert "did you mean `standard`" in said.err
    assert "bad.yaml:6: training.epoch: unknown field" in said.err
    problems = closegap("validate", "bad.yaml", "--json").json["error"]["problems"]
    assert sorted(problem["line"] for problem in problems) == [4, 5, 6]


def test_problems_of_a_pipeline_name_the_line_of_the_right_document(closegap: Command, place: Path) -> None:
    (place / "two.yaml").write_text(
        f"{TRAIN}---\n{TRAIN.replace('small', 'other').replace('epochs: 2', 'epochs: 0')}"
    )
    said = closegap("validate", "two.yaml", "--json")
    (problem,) = said.json["error"]["problems"]
    assert (problem["path"], problem["line"]) == ("[1].training.epochs", 14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [train\n", "not valid YAML: line 2"),
        ("kind: train\nkind: sweep\n", "given twice"),
        ("", "there is no spec"),
        ("just words", "a spec is an object"),
        ("kind: trian\n", "did you mean `train`"),
    ],
)
def test_malformed_text_is_told(closegap: Command, text: str, message: str) -> None:
    said = closegap("submit", "-", stdin=text)
    assert said.code == 2
    assert message in said.err


def test_an_unreadable_spec_file_is_told(closegap: Command, place: Path) -> None:
    assert "No such file" in closegap("validate", "absent.yaml").err
    (place / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    said = closegap("validate", "bytes.yaml")
    assert (said.code, "not UTF-8" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnist-6k", "did you mean 'mnist-5k'"),
        ("/etc/rows.npy", "outside the allowed data roots"),
        ("../rows.npy", "outside the allowed data roots"),
        ("absent.npy", "does not exist"),
        ("cut.npy", "truncated"),
        ("text.npy", "no readable .npy header"),
        ("grey.npy", "in [0, 1]"),
        ("nan.npy", "finite"),
        ("flat.npy", "shape"),
        ("few.npy", "split"),
        ("complex.npy", "dtype"),
        ("empty.npy", "empty"),
    ],
)
def test_unfit_data_is_told_before_anything_is_sent(
    closegap: Command, place: Path, train: str, queue: Queue, source: str, message: str
) -> None:
    rows = np.zeros((140, 4), np.float32)
    np.save(place / "whole.npy", rows)
    (place / "cut.npy").write_bytes((place / "whole.npy").read_bytes()[:-100])
    (place / "text.npy").write_text("not numbers")
    np.save(place / "grey.npy", rows + 3)
    np.save(place / "nan.npy", rows * np.float32("nan"))
    np.save(place / "flat.npy", rows[0])
    np.save(place / "few.npy", rows[:10])
    np.save(place / "complex.npy", rows.astype(np.complex64))
    np.save(place / "empty.npy", rows[:0])
    for command in ("validate", "submit"):
        said = closegap(command, train, "--set", f"data.source={source}")
        assert said.code == 2
        assert "train.yaml:3: data.source" in said.err
        assert message in said.err
    assert queue.jobs().jobs == []


def test_a_batch_larger_than_the_data_is_told(closegap: Command, train: str) -> None:
    said = closegap("validate", train, "--set", "training.batch_size=101")
    assert said.code == 2
    assert "train.yaml:6: training.batch_size" in said.err
    assert "the 100 training rows" in said.err


def test_data_that_is_only_at_the_workers_need_not_be_here(closegap: Command, train: str) -> None:
    arguments = ("submit", train, "--set", "data.source=far.npy")
    assert closegap(*arguments).code == 2
    assert closegap(*arguments, "--skip-data-check").code == 0


def test_more_gpus_than_the_workers_have_is_refused_at_submit(
    closegap: Command, train: str, queue: Queue
) -> None:
    queue.heartbeat("w", Capacity(cpus=2, gpus=0))
    said = closegap("submit", train, "--set", "resources={workers: 1, gpus: 4}")
    assert said.code == 2
    assert "4 GPU" in said.err
    assert queue.jobs().jobs == []


def test_schema_and_example_of_every_kind(closegap: Command, place: Path) -> None:
    for kind in ("train", "sweep", "evaluate", "export", "encode", "compare"):
        assert closegap("schema", kind).json["properties"]["kind"]["const"] == kind
        text = closegap("example", kind).out
        assert closegap("validate", "-", stdin=text).code == 0, text
        assert closegap("example", kind, "--json").json["kind"] == kind
    assert closegap("schema", "tarin").code == 2


def test_validate_gives_the_normalised_specs(closegap: Command, train: str) -> None:
    assert closegap("validate", train).out == "small: valid train spec\n"
    (spec,) = closegap("validate", train, "--json").json["specs"]
    assert spec["inference"]["samples"] == 1
    assert json.loads(closegap("schema", "train").out)["additionalProperties"] is False


def test_the_demos_pipeline_is_valid_and_compares_equals() -> None:
    specs = {spec.name: spec for spec in parse(pipeline_text())}
    assert sorted(specs) == [
        "encode", "evaluate-iterative", "evaluate-standard", "export", "train-iterative", "train-standard",
    ]  # fmt: skip
    standard, iterative = (specs[f"train-{name}"].config for name in ("standard", "iterative"))  # type: ignore[union-attr]
    assert standard.model == iterative.model
    assert standard.data == iterative.data
    assert standard.inference.samples == iterative.inference.samples


def test_the_scale_of_a_file_is_chosen_and_its_values_are_overridden(closegap: Command, scaled: str) -> None:
    def epochs(*arguments: str) -> int:
        found: int = closegap("validate", scaled, "--json", *arguments).json["specs"][0]["training"]["epochs"]
        return found

    assert epochs() == 500
    assert epochs("--scale", "small") == 1
    assert epochs("--scale", "small", "--set", "scale.epochs=3") == 3
    assert epochs("--scale", "small", "--set", "small:training.epochs=4") == 4
    said = closegap("validate", scaled, "--set", "scale.epoch=3")
    assert (said.code, "scale `full` has no value `epoch` (did you mean `epochs`?)" in said.err) == (2, True)


def test_a_pipeline_is_submitted_at_the_scale_that_is_asked_for(
    closegap: Command, scaled: str, queue: Queue
) -> None:
    train, _, compare = (queue.get(job) for job in closegap("submit", scaled, "--scale", "small").out.split())
    assert (train.spec["training"]["epochs"], compare.spec["comparison"]["scale"]) == (1, "small")
    said = closegap("submit", scaled, "--scale", "smal")
    assert (said.code, said.out, "did you mean `small`?" in said.err) == (2, "", True), said.err


def test_a_problem_of_a_scaled_file_is_told_with_its_line(
    closegap: Command, scaled: str, place: Path
) -> None:
    (place / "bad.yaml").write_text((place / scaled).read_text().replace("{epochs: 1}", "{epochs: 0}"))
    said = closegap("validate", "bad.yaml", "--scale", "small")
    assert said.code == 2
    assert "[0].training.epochs" in said.err
    assert "bad.yaml:11:" in said.err, said.err


def test_plan_and_a_dry_run_say_what_would_happen_and_record_nothing(
    closegap: Command, pipeline: str, train: str, queue: Queue
) -> None:
    said = closegap("plan", pipeline, "--json")
    assert said.code == 0
    first, second = said.json["jobs"]
    assert (first["state"], first["reason"]) == ("queued", "no worker is alive")
    assert first["spec"]["training"]["learning_rate"] > 0
    assert (second["state"], second["reason"]) == ("blocked", "it would wait for small")
    assert closegap("submit", pipeline, "--dry-run", "--json").json == said.json
    text = closegap("plan", train).out
    assert "small  train, 1 CPU" in text
    assert "time: unknown, because no train job with the same model" in text
    queue.heartbeat("w", Capacity(cpus=1))
    large = closegap("plan", train, "--set", "resources.cpus=64")
    assert (large.code, "would be refused: small asks for 64 CPUs" in large.out) == (2, True)
    assert closegap("ps", "--json").json["jobs"] == []
