"""Bad input is refused where it enters, with its place, its value and what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap.errors import SpecError
from closegap.specs import spec
from closegap_core.config import DataConfig, TrainConfig
from closegap_core.data import load
from closegap_core.errors import ConfigError, DataError
from closegap_core.model import Model

TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": {"method": "iterative", "iterations": 3},
}


def rows(value: float, dtype: str = "float32") -> np.ndarray:
    """Thirty rows of six values, all fit for every likelihood but the one at row 7, column 2."""
    made = np.ones((30, 6), dtype)
    made[7, 2] = value
    return made


VALUES: list[tuple[str, np.ndarray, str]] = [
    ("bernoulli", rows(1.5), r"row 7, column 2 is 1\.5.*in \[0, 1\]"),
    ("bernoulli", rows(-0.5), r"row 7, column 2 is -0\.5.*in \[0, 1\]"),
    ("bernoulli", rows(200, "int64"), r"row 7, column 2 is 200.*images / 255"),
    ("bernoulli", rows(float("nan")), "row 7, column 2 is nan.*finite number"),
    ("gaussian", rows(float("inf")), "row 7, column 2 is inf.*finite number"),
    ("gaussian", rows(1e300, "float64"), "row 7, column 2 is inf.*range of float32"),
    ("dequantised", rows(0.5), r"row 7, column 2 is 0\.5.*integer from 0 to 255"),
    ("dequantised", rows(256), r"row 7, column 2 is 256.*integer from 0 to 255"),
    ("multinomial", rows(-1), r"row 7, column 2 is -1.*whole number of 0 or more"),
    ("multinomial", rows(0.5), r"row 7, column 2 is 0\.5.*whole number of 0 or more"),
    ("multinomial", np.concatenate([np.ones((29, 6)), np.zeros((1, 6))]), "document 29 has no words"),
    ("gaussian", np.array([["a"] * 6] * 30), "dtype|numbers"),
    ("gaussian", np.ones(30), "shape|dimension"),
    ("gaussian", np.ones((30, 0)), "0"),
    ("gaussian", np.ones((0, 6)), "0"),
]


@pytest.mark.parametrize(("likelihood", "values", "message"), VALUES)
def test_data_that_do_not_fit_the_likelihood(
    likelihood: str, values: np.ndarray, message: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", values)
    with pytest.raises(DataError, match=message) as caught:
        load(DataConfig(source=str(tmp_path / "rows.npy")), likelihood, [tmp_path])
    assert "rows.npy" in str(caught.value)


@pytest.mark.parametrize("where", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((16,), r"shape \(16,\).*network of kind mlp"), ((6, 6), r"6 x 6.*3 x 3|3 x 3.*6 x 6")],
)
def test_rows_whose_shape_no_convolution_fits(where: str, shape: tuple[int, ...], message: str) -> None:
    network = {"kind": "convolution", "channels": [2, 2], "hidden": [3]}
    value = {name: part for name, part in TRAIN.items() if name != "kind"}
    if where == "encoder":
        value |= {"inference": {"method": "standard", "encoder": network}}
    else:
        value |= {"model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": network}]}}
    with pytest.raises(ConfigError, match=message):
        Model(TrainConfig.model_validate(value), int(np.prod(shape)), shape=shape)


FIELDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("T is zero", {"inference": {"method": "iterative", "iterations": 0}}, "inference.iterations", "1"),
    ("S is zero", {"inference": {"method": "iterative", "samples": 0}}, "inference.samples", "1"),
    ("steps are zero", {"inference": {"method": "svi", "iterations": 0}}, "inference.iterations", "1"),
    ("an unknown block", {"inference": {"method": "iterative", "encode": ["pixels"]}}, "encode", "gradient"),
    ("no block", {"inference": {"method": "iterative", "encode": []}}, "encode", "1"),
    ("a block twice", {"inference": {"method": "iterative", "encode": ["data"] * 2}}, "inference", "twice"),
    (
        "only the estimate",
        {"inference": {"method": "iterative", "encode": ["estimate"]}},
        "inference",
        "data",
    ),
    ("an encoding of svi", {"inference": {"method": "svi", "encode": ["data"]}}, "encode", ""),
    ("an encoding of standard", {"inference": {"method": "standard", "encode": ["error"]}}, "encode", ""),
    ("no level", {"model": {"likelihood": "bernoulli", "levels": []}}, "model.levels", "1"),
    ("no latent", {"model": {"likelihood": "bernoulli", "levels": [{"latent": 0}]}}, "latent", "0"),
    (
        "units at the top",
        {"model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "units": 3}]}},
        "model",
        "top level cannot have deterministic units, it has 3",
    ),
    (
        "an image of latents",
        {
            "model": {
                "likelihood": "bernoulli",
                "levels": [{"latent": 2}, {"latent": 2, "decoder": {"kind": "convolution"}}],
            }
        },
        "model",
        "only that of level 1",
    ),
    (
        "one encoder for two levels",
        {
            "model": {"likelihood": "bernoulli", "levels": [{"latent": 2}, {"latent": 2}]},
            "inference": {"method": "iterative", "encoders": [{"hidden": [3]}]},
        },
        "",
        "1 networks for 2 levels",
    ),
]


@pytest.mark.parametrize(
    ("fields", "place", "message"), [case[1:] for case in FIELDS], ids=[c[0] for c in FIELDS]
)
def test_fields_that_cannot_be(fields: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec.parse({**TRAIN, **fields})
    [problem] = caught.value.problems
    assert place in str(problem.path)
    assert message in f"{problem.message} {problem.accepted} {problem.value}"
