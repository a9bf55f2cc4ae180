"""What an export says of its file's quality, and what an encoding makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from closegap_core.encode import Encoder, EncodingSummary, Quality, Validation, encode_dataset
from closegap_core.encode.quality import KEPT, QUALITY, knee, quality
from closegap_core.errors import EncodeError
from tests.core.test_encode import CONFIG, IDENTITY, WIDTH, encoder_file


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_file(tmp_path_factory.mktemp("encoder") / "encoder.onnx", binary=False)


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, WIDTH)).round().astype(np.float32)


def test_a_curve_says_elbo_and_price(encoder_path: Path, tmp_path: Path) -> None:
    encoder, x = Encoder(encoder_path), rows(40)
    found = quality(encoder, x, first=1)
    points = found.document["points"]
    assert [point["iterations"] for point in points] == list(range(7))  # twice its own three
    for point in points:
        elbo = encoder(x, point["iterations"]).elbo.astype(np.float64)
        assert point["elbo"] == pytest.approx(elbo.mean(), rel=1e-6)
        assert point["standard_error"] == pytest.approx(elbo.std(ddof=1) / np.sqrt(40), rel=1e-5)
    assert found.document["knee"] == knee([(point["iterations"], point["elbo"]) for point in points[1:]])
    assert set(found.rates) == set(range(7))
    assert all(rate > 0 for rate in found.rates.values())
    assert "rows_per_second" not in json.dumps(found.document)  # which would make equal exports differ
    assert found.to_dict()["points"][2]["rows_per_second"] == found.rates[2]
    found.write(tmp_path)
    read = Validation.read(tmp_path)
    assert read is not None
    assert read.iterations == 3
    assert read.elbo == pytest.approx(np.sort(encoder(x).elbo), abs=1e-4)


def test_of_many_rows_quantiles_are_kept(encoder_path: Path) -> None:
    found = quality(Encoder(encoder_path), rows(KEPT + 1)).document["validation"]["elbo"]
    assert len(found) == KEPT
    assert found == sorted(found)


def test_one_pass_has_one_point(tmp_path: Path) -> None:
    path = encoder_file(tmp_path / "standard.onnx", method="standard")
    found = quality(Encoder(path), rows(8))
    assert isinstance(found, Quality)
    assert [point["iterations"] for point in found.document["points"]] == [1]
    assert found.document["knee"] is None


def test_the_knee_is_where_nearly_all_is_gained() -> None:
    assert knee([(0, -100.0), (1, -20.0), (2, -4.9), (3, -1.0), (4, 0.0), (5, -3.0)]) == 2
    assert knee([(0, -1.0), (1, -2.0)]) == 0  # what only loses is best left alone
    assert knee([(1, -1.0)]) is None


def test_an_encoding_sets_its_rows_beside_those_of_the_validation(encoder_path: Path, tmp_path: Path) -> None:
    x, strange = rows(50), np.zeros((50, WIDTH), np.float32)
    strange[:, ::2] = 1.0
    quality(Encoder(encoder_path), rows(200, seed=1)).write(tmp_path)
    validation = Validation.read(tmp_path)
    assert validation is not None
    both, ids = np.concatenate([x, strange]), np.arange(100)
    *_, summary = encode_dataset(
        encoder_path, both, ids, tmp_path / "out", CONFIG, IDENTITY, validation=validation
    )
    assert isinstance(summary, EncodingSummary)
    histogram, beside = summary.metrics["elbo_histogram"], summary.metrics["validation"]
    assert sum(histogram["counts"]) == 100
    assert sum(beside["counts"]) == beside["rows"] == 200
    assert len(beside["counts"]) == len(histogram["counts"]) == len(histogram["edges"]) - 1
    lowest = np.quantile(validation.elbo, 0.01)
    assert beside["low_elbo"] == pytest.approx(lowest)
    elbo = Encoder(encoder_path)(both).elbo
    assert beside["below"] == pytest.approx(float((elbo < lowest).mean()), abs=1e-9)
    *_, plain = encode_dataset(encoder_path, both, ids, tmp_path / "plain", CONFIG, IDENTITY)
    assert isinstance(plain, EncodingSummary)
    assert "validation" not in plain.metrics


def test_what_an_export_left_is_checked(tmp_path: Path) -> None:
    assert Validation.read(tmp_path) is None
    (tmp_path / QUALITY).write_text('{"validation": {"elbo": ["x"]}}')
    with pytest.raises(EncodeError, match="is damaged"):
        Validation.read(tmp_path)
