"""Every file under examples/ is a spec that closegap accepts, and runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from closegap import spec
from closegap.kinds import SPECS, SweepSpec

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_a_valid_spec_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert spec.parse(text)


def test_there_is_one_of_each_kind_and_a_pipeline() -> None:
    kinds = {path.stem: [parsed.kind for parsed in spec.parse(path.read_text())] for path in FILES}
    assert kinds.pop("pipeline") == ["train", "evaluate", "export", "encode"]
    assert kinds == {kind: [kind] for kind in SPECS}


def test_the_sweep_is_nine_trials_over_encodings_and_iterations() -> None:
    (sweep,) = spec.parse((EXAMPLES / "sweep.yaml").read_text())
    assert isinstance(sweep, SweepSpec)
    assert set(sweep.space) == {"inference.encode", "inference.iterations"}
    assert math.prod(len(dimension.grid) for dimension in sweep.space.values()) == 9
