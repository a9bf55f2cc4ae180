"""Spec files with scales: values in their places, and every way in which such a file can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from closegap.errors import SpecError
from closegap.specs import spec
from closegap.specs.kinds import TrainSpec

FILE = """
title: A small thing at two scales
scales:
  full: {epochs: 9, data: {source: mnist}, widths: [64, 64]}
  small: {epochs: 2, data: {source: digits}, widths: [8]}
pipeline:
  - kind: train
    name: train-${scale.name}
    data: ${scale.data}
    model: {likelihood: bernoulli, levels: [{latent: 2, decoder: {hidden: "${scale.widths}"}}]}
    inference: standard
    training: {epochs: "${scale.epochs}"}
    labels: {what: "${scale.epochs} epochs at scale ${scale.name}"}
  - {kind: evaluate, name: measure, model: "${train-small.model}"}
"""


def told(text: str, scale: str | None = None) -> list[str]:
    with pytest.raises(SpecError) as raised:
        spec.parse(text, scale)
    return [str(problem) for problem in raised.value.problems]


def test_a_scale_gives_its_values_and_its_name() -> None:
    train, _ = spec.parse(FILE, "small")
    assert isinstance(train, TrainSpec)
    assert (train.name, train.data.source, train.training.epochs) == ("train-small", "digits", 2)
    assert train.config.model.levels[0].decoder.hidden == (8,)  # type: ignore[union-attr]
    assert train.labels == {"what": "2 epochs at scale small"}


def test_the_scale_is_full_unless_another_is_named() -> None:
    train, measure = spec.parse(FILE.replace("train-small", "train-full"))
    assert isinstance(train, TrainSpec)
    assert (train.name, train.training.epochs, measure.name) == ("train-full", 9, "measure")


def test_what_a_value_makes_wrong_is_told_where_it_stands() -> None:
    assert told(FILE.replace("epochs: 2", "epochs: 0"), "small") == [
        "[0].training.epochs: should be greater than 0; found `0`; accepted: integer > 0"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("epochs: 9,", "", "scales.full: `epochs` is missing, which another scale has; accepted: a value for epochs"),
        (
            "${scale.epochs} epochs", "${scale.epoch} epochs",
            "[0].labels.what: the scales have no value `epoch` (did you mean `epochs`?); "
            "accepted: one of epochs, data, widths, name",
        ),
        (
            "{epochs: 2,", "{name: it, epochs: 2,",
            "scales.small.name: the name is the scale's own; accepted: another word",
        ),
        ("pipeline:", "pipelines:", "pipeline: this field is required; accepted: a list"),
        ("title:", "titel:", "title: this field is required; accepted: string"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong(old: str, new: str, problem: str) -> None:
    assert problem in told(FILE.replace(old, new), "small")


def test_a_scale_that_is_not_there() -> None:
    assert told(FILE, "smal") == [
        "scales: there is no scale `smal` (did you mean `small`?); accepted: one of full, small"
    ]


def test_a_scale_of_a_file_that_has_none() -> None:
    (problem,) = told("kind: export\nmodel: m", "small")
    assert "there is no scale `small`: this file has none" in problem


def test_a_list_of_specs_is_no_file_with_scales() -> None:
    plain: list[Any] = [{"kind": "export", "model": "m"}]
    assert [made.kind for made in spec.parse(plain)] == ["export"]
