"""The published JSON schemas against what reads specs: what people write is valid to both, also in few words."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from closegap.errors import SpecError
from closegap.specs import document, scales, spec
from closegap.specs.kinds import SPECS

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("service/closegap/specs/examples/*.yaml")])
VALIDATORS = {kind: Draft202012Validator(spec.schema(kind)) for kind in SPECS}
Place = tuple[str | int, ...]


def written(file: Path) -> Iterator[dict[str, Any]]:
    """Every spec of a file at every scale, as it is written."""
    documents = document.read(file.read_text())
    for scale in documents[0].get("scales", [None]) if isinstance(documents[0], dict) else [None]:
        for found in scales.filled(documents, scale):
            yield from found if isinstance(found, list) else [found]


def valid(value: Mapping[str, Any]) -> bool:
    """To the schema."""
    return VALIDATORS[value["kind"]].is_valid(value)


def read(value: Any) -> bool:
    """Whether it is read; needs are of others."""
    try:
        spec.parse(value)
    except SpecError:
        return False
    return True


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_written_and_what_it_means_are_valid(file: Path) -> None:
    for value in written(file):
        VALIDATORS[value["kind"]].validate(value)
        VALIDATORS[value["kind"]].validate(spec.dump(spec.load(value)))


TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": {"kind": "bernoulli"}, "levels": [{"latent": 4}]},
    "inference": {"method": "standard"},
}
FRONTIER = {"kind": "evaluate", "model": "m", "evaluation": {"frontier": {"refiners": [{"kind": "adam"}]}}}
COMPARE = {"kind": "compare", "comparison": {"title": "a", "figure": {"kind": "bars"}}}
HYBRID = {"method": "hybrid", "start": {"method": "standard"}, "refiner": {"kind": "adam"}}


def at(value: Any, place: Place, put: Any) -> Any:
    """A copy with something else at a place."""
    value = copy.deepcopy(value)
    node = value
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = put
    return value


@pytest.mark.parametrize(
    ("value", "place", "words"),
    [
        (TRAIN, ("model", "likelihood"), "bernoulli gaussian dequantised multinomial"),
        (TRAIN, ("inference",), "standard ladder iterative svi hybrid semi_amortized flow"),
        ({**TRAIN, "inference": HYBRID}, ("inference", "start"), "standard ladder iterative"),
        (
            {**TRAIN, "inference": HYBRID},
            ("inference", "refiner"),
            "sgd momentum rmsprop adam natural newton",
        ),
        (FRONTIER, ("evaluation", "frontier", "refiners", 0), "sgd momentum rmsprop adam natural newton"),
        (
            {**COMPARE, "reports": [{"label": "a", "report": "${e.report}"}]},
            ("comparison", "figure"),
            "bars lines iterations frontier gradients gaps reconstructions surface",
        ),
    ],
)
def test_a_word_stands_for_a_section(value: dict[str, Any], place: Place, words: str) -> None:
    for word in words.split():
        assert valid(at(value, place, word)), word
        assert read(at(value, place, word)), word
    for other in ("elephant", "", 3, ["adam"]):
        assert not valid(at(value, place, other)), other
        assert not read(at(value, place, other)), other


@pytest.mark.parametrize(
    ("decoder", "good"),
    [
        ({"hidden": [3]}, True),
        ({"kind": "mlp", "hidden": [3]}, True),
        ({"kind": "convolution", "channels": [2]}, True),
        ({"channels": [2]}, False),
        ({"kind": "lstm"}, False),
        ("mlp", False),
    ],
)
def test_a_network_that_does_not_say_its_kind_is_fully_connected(decoder: Any, good: bool) -> None:
    value = at(TRAIN, ("model", "levels", 0, "decoder"), decoder)
    assert (valid(value), read(value)) == (good, good)


def test_only_a_network_may_leave_its_kind_out() -> None:
    for value in ({}, {"latent": 3}):
        assert not valid(at(TRAIN, ("inference",), value))
        assert not read(at(TRAIN, ("inference",), value))
    without = {name: item for name, item in TRAIN.items() if name != "kind"}
    assert not VALIDATORS["train"].is_valid(without)
    assert not read(without)
