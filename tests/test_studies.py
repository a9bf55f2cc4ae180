"""Every study under examples/studies is valid at each of its scales, and compares what it trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from closegap.specs import spec

FILES = sorted((Path(__file__).parents[1] / "examples" / "studies").glob("*.yaml"))
CASES = [
    (path, scale) for path in FILES for scale in yaml.safe_load(path.read_text(encoding="utf-8"))["scales"]
]


@pytest.mark.parametrize(("path", "scale"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_a_study_is_valid_at_every_scale(path: Path, scale: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"examples/studies/{path.name} --scale seed_0" in text
    parsed = spec.parse(text, scale=scale)
    assert {"train", "evaluate"} <= {job.kind for job in parsed}
    assert parsed[-1].kind == "compare"


def test_seeds_differ_in_the_seed_alone() -> None:
    for path in FILES:
        scales = yaml.safe_load(path.read_text(encoding="utf-8"))["scales"]
        for seed in range(3):
            assert scales[f"seed_{seed}"] == {**scales["seed_0"], "seed": seed}
