"""MATLAB files, and the images published in them: Omniglot and SVHN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from closegap_core.data import omniglot, svhn
from closegap_core.data.matlab import matrices
from closegap_core.errors import DataError
from tests.core.publishing import place, publish, random_bytes, read


def test_omniglot_is_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omniglot, "TRAIN", 11)
    monkeypatch.setattr(omniglot, "TEST", 3)
    images = np.random.default_rng(0).random((14, 28, 28))
    columns = images.transpose(0, 2, 1).reshape(14, 784).T
    (tmp_path / "omniglot").mkdir()
    file = tmp_path / "omniglot/chardata.mat"
    savemat(file, {"data": columns[:, :11], "testdata": columns[:, 11:], "target": np.zeros((50, 11))})
    dataset = read(tmp_path, "omniglot")
    np.testing.assert_array_equal(
        dataset.train.rows, images[dataset.train.ids].reshape(-1, 784).astype(np.float32)
    )
    assert sorted(dataset.test.ids) == [11, 12, 13]
    assert (dataset.values, dataset.binarise, dataset.shape) == ("unit", True, (28, 28))
    savemat(file, {"data": columns[:, :11] * 255, "testdata": columns[:, 11:]}, do_compression=True)
    with pytest.raises(DataError, match=r"expected are grey levels in \[0, 1\]"):
        read(tmp_path, "omniglot")
    savemat(file, {"data": columns[:, :10], "testdata": columns[:, 10:]})
    with pytest.raises(DataError, match=r"'data' has shape \(784, 10\); expected is \(784, 11\)"):
        read(tmp_path, "omniglot")
    savemat(file, {"data": columns[:, :10]})
    with pytest.raises(DataError, match="has no matrix of numbers called 'testdata'"):
        read(tmp_path, "omniglot")


def svhn_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    folder.mkdir(exist_ok=True)
    files = {}
    for name, count in (("train_32x32.mat", 10), ("test_32x32.mat", 4)):
        images = random_bytes(count, 32, 32, 3, seed=count)
        savemat(folder / name, {"X": images.transpose(1, 2, 3, 0), "y": np.ones((count, 1), np.uint8)})
        files[name] = (count, (folder / name).read_bytes())
    return files


def test_svhn_has_rows_of_height_width_and_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, svhn.PUBLICATION, svhn.read, svhn_files(tmp_path / "svhn"))
    dataset = read(tmp_path, "svhn", "dequantised")
    assert dataset.shape == (32, 32, 3)
    images = random_bytes(10, 32, 32, 3, seed=10).reshape(10, -1)
    np.testing.assert_array_equal(dataset.train.rows, images[dataset.train.ids])
    assert sorted(dataset.test.ids) == [10, 11, 12, 13]


def test_damaged_matlab_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = svhn_files(tmp_path / "svhn")
    whole = good["test_32x32.mat"][1]
    for content in (
        whole[:60],
        whole[:200],
        whole[:-100],
        b"",
        b"\x89HDF\r\n\x1a\n" + bytes(200),
        bytes(300),
    ):
        files = good | {"test_32x32.mat": (4, content)}
        publish(monkeypatch, svhn.PUBLICATION, svhn.read, files)
        place(tmp_path / "svhn", files)
        with pytest.raises(DataError, match=r"no MATLAB file of version 5|has no matrix|has shape"):
            read(tmp_path, "svhn")


def test_no_damage_to_a_matlab_file_gives_another_error(tmp_path: Path) -> None:
    whole = svhn_files(tmp_path)["test_32x32.mat"][1]
    generator, refused = np.random.default_rng(0), 0
    for _ in range(1000):
        content = bytearray(whole)
        for at in generator.integers(124, 220, 2):
            content[at] = generator.integers(0, 256)
        try:
            matrices(bytes(content), ["X"], "fuzz")
        except DataError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("packed", [False, True])
def test_matrices_are_what_scipy_reads(tmp_path: Path, packed: bool) -> None:
    values = np.random.default_rng(0).normal(0, 50, (3, 4, 5))
    wanted = {kind: values.astype(kind) for kind in ("f8", "f4", "i1", "i2", "i4", "i8", "u2", "u4", "u8")}
    other = {"name": "text", "cells": np.array([1, "a"], object), "z": values * 1j, "table": {"a": 1.0}}
    savemat(tmp_path / "a.mat", other | wanted | {"long_name_of_a_matrix": values}, do_compression=packed)
    content = (tmp_path / "a.mat").read_bytes()
    names = [*wanted, "long_name_of_a_matrix"]
    read_back = loadmat(tmp_path / "a.mat")
    for name, matrix in zip(names, matrices(content, names, "a.mat"), strict=True):
        np.testing.assert_array_equal(matrix, read_back[name])
        assert matrix.dtype == read_back[name].dtype
    for name in ("name", "cells", "z", "table", "nothing"):
        with pytest.raises(DataError, match=f"has no matrix of numbers called '{name}'"):
            matrices(content, [name], "a.mat")
