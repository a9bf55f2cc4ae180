"""Published image data sets: small files of the real formats, what they read as, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from closegap_core.config import DataConfig
from closegap_core.data import (
    Dataset,
    binarised_mnist,
    cifar10,
    load,
    load_rows,
    mnist,
    omniglot,
    source,
    svhn,
)
from closegap_core.data.matlab import matrices
from closegap_core.data.opcodes import read_dictionary
from closegap_core.data.publication import File, Publication
from closegap_core.errors import DataError

SPLIT = {"train": 5, "valid": 2, "test": 3}


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def publish(
    monkeypatch: pytest.MonkeyPatch,
    publication: Publication,
    read: Any,
    contents: dict[str, tuple[int, bytes]],
) -> None:
    """Put other files in the place of the published ones: their names, rows and checksums."""
    files = tuple(
        File(name, rows, f"md5:{hashlib.md5(content).hexdigest()}")
        for name, (rows, content) in contents.items()
    )
    entries = tuple(
        (replace(publication, files=files), read) if known.source == publication.source else (known, other)
        for known, other in source.PUBLISHED
    )
    monkeypatch.setattr(source, "PUBLISHED", entries)


def place(folder: Path, contents: dict[str, tuple[int, bytes]], packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, content) in contents.items():
        (folder / (name + ".gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )


def read(root: Path, name: str, likelihood: str = "bernoulli", **fields: Any) -> Dataset:
    return load(DataConfig.model_validate({"source": name, **fields}), likelihood, [root])


# --- MNIST and Fashion-MNIST ---


def idx(images: np.ndarray) -> bytes:
    return struct.pack(">4I", 0x803, *images.shape) + images.tobytes()


def idx_files(train: int = 12, test: int = 4) -> dict[str, tuple[int, bytes]]:
    return {
        "train-images-idx3-ubyte": (train, idx(random_bytes(train, 28, 28))),
        "t10k-images-idx3-ubyte": (test, idx(random_bytes(test, 28, 28, seed=1))),
    }


@pytest.mark.parametrize("publication", [mnist.MNIST, mnist.FASHION], ids=lambda p: p.source)
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_plain_and_gzipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publication: Publication, packed: bool
) -> None:
    files = idx_files()
    publish(monkeypatch, publication, mnist.read, files)
    place(tmp_path / publication.source, files, packed)
    got, shape, _ = load_rows(publication.source, None, [tmp_path])
    images = np.concatenate([random_bytes(12, 28, 28), random_bytes(4, 28, 28, seed=1)])
    np.testing.assert_array_equal(got, images.reshape(16, 784).astype(np.float32) / np.float32(255))
    assert shape == (28, 28)


def test_the_published_division_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = idx_files(20, 4)
    publish(monkeypatch, mnist.MNIST, mnist.read, files)
    place(tmp_path / "elsewhere", files)
    default = read(tmp_path, "mnist", path="elsewhere")
    assert sorted(default.test.ids) == [20, 21, 22, 23]
    assert sorted([*default.train.ids, *default.valid.ids]) == list(range(20))
    assert len(default.valid.ids) == 2
    chosen = read(tmp_path, "mnist", path="elsewhere", split=SPLIT | {"seed": 3})
    assert set(chosen.test.ids) < set(default.test.ids)
    assert {*chosen.train.ids, *chosen.valid.ids} <= set(range(20))
    assert [len(part.ids) for part in (chosen.train, chosen.valid, chosen.test)] == [5, 2, 3]
    assert default.digest == chosen.digest
    with pytest.raises(DataError, match=r"asks for 19 \+ 2 = 21 published training rows, but 'mnist' has 20"):
        read(tmp_path, "mnist", path="elsewhere", split={"train": 19, "valid": 2, "test": 1})
    with pytest.raises(DataError, match=r"asks for 5 published test rows, but 'mnist' has 4"):
        read(tmp_path, "mnist", path="elsewhere", split={"train": 1, "valid": 2, "test": 5})


def test_bytes_are_delivered_as_the_likelihood_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = idx_files()
    publish(monkeypatch, mnist.MNIST, mnist.read, files)
    place(tmp_path / "mnist", files)
    parts = {kind: read(tmp_path, "mnist", kind) for kind in ("bernoulli", "gaussian", "dequantised")}
    assert {kind: part.values for kind, part in parts.items()} == {
        "bernoulli": "unit", "gaussian": "unit", "dequantised": "byte",
    }  # fmt: skip
    bytes_ = parts["dequantised"].train.rows
    assert bytes_.dtype == np.float32
    np.testing.assert_array_equal(
        bytes_, random_bytes(12, 28, 28).reshape(12, 784)[parts["gaussian"].train.ids]
    )
    np.testing.assert_array_equal(parts["gaussian"].train.rows, bytes_ / np.float32(255))
    assert parts["bernoulli"].binarise
    assert not parts["dequantised"].binarise
    with pytest.raises(DataError, match="'mnist' has byte values, but this likelihood needs count values"):
        read(tmp_path, "mnist", "multinomial")
    with pytest.raises(DataError, match="binarise is 'dynamic', but the dequantised likelihood"):
        read(tmp_path, "mnist", "dequantised", binarise="dynamic")


def test_absent_files_say_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    advice = r"download it from https://ossci-datasets\.s3.* put train-images-idx3-ubyte, t10k-images"
    with pytest.raises(DataError, match=rf"'mnist': there is no folder 'mnist' under .*{tmp_path}; {advice}"):
        read(tmp_path, "mnist")
    with pytest.raises(DataError, match=f"there is no folder 'x' .*{advice}"):
        read(tmp_path, "mnist", path="x")
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte is not in {tmp_path}/mnist; {advice}"):
        read(tmp_path, "mnist")
    for name in ("fashion-mnist", "binarised-mnist", "omniglot", "svhn", "cifar-10", "rcv1"):
        with pytest.raises(DataError, match=f"'{name}': there is no folder '{name}' .*download it from http"):
            read(tmp_path, name)


def test_files_other_than_published_are_refused(tmp_path: Path) -> None:
    """With the real publication: an own IDX file of the right size has another checksum."""
    place(
        tmp_path / "mnist", {"train-images-idx3-ubyte": (60_000, idx(np.zeros((60_000, 28, 28), np.uint8)))}
    )
    with pytest.raises(
        DataError, match=r"not the published file: its md5 is .* published is 6bbc9ace898e44ae57da4"
    ):
        read(tmp_path, "mnist")


def test_idx_headers_and_lengths_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = idx_files()
    train = good["train-images-idx3-ubyte"][1]
    bad = {
        "labels": struct.pack(">4I", 0x801, 12, 28, 28) + train[16:],
        "few": idx(random_bytes(11, 28, 28)),
        "short": train[:10],
        "cut": train[:-1],
        "wide": struct.pack(">4I", 0x803, 12, 27, 29) + train[16:],
    }
    for content in bad.values():
        files = good | {"train-images-idx3-ubyte": (12, content)}
        publish(monkeypatch, mnist.MNIST, mnist.read, files)
        place(tmp_path / "mnist", files)
        with pytest.raises(
            DataError, match=r"IDX header .* expected are 9424 bytes and \(2051, 12, 28, 28\)"
        ):
            read(tmp_path, "mnist")
    files = good | {"train-images-idx3-ubyte": (12, train + b"1")}
    publish(monkeypatch, mnist.MNIST, mnist.read, files)
    place(tmp_path / "mnist", files)
    with pytest.raises(DataError, match="longer than the 9424 bytes that 12 rows take"):
        read(tmp_path, "mnist")


def test_a_damaged_gzip_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = idx_files()
    publish(monkeypatch, mnist.MNIST, mnist.read, files)
    place(tmp_path / "mnist", files, packed=True)
    whole = (tmp_path / "mnist/train-images-idx3-ubyte.gz").read_bytes()
    for content in (whole[:-20], b"no gzip file", whole[:40] + bytes(60) + whole[100:]):
        (tmp_path / "mnist/train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged"):
            read(tmp_path, "mnist")


def test_no_way_out_of_the_roots_through_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = idx_files()
    publish(monkeypatch, mnist.MNIST, mnist.read, files)
    root, outside = tmp_path / "root", tmp_path / "outside"
    place(outside, files)
    root.mkdir()
    (root / "mnist").symlink_to(outside)
    with pytest.raises(DataError, match="outside the allowed data roots"):
        read(root, "mnist")
    (root / "mnist").unlink()
    (root / "mnist").mkdir()
    for name in files:
        (root / "mnist" / name).symlink_to(outside / name)
    with pytest.raises(DataError, match="outside the allowed data roots"):
        read(root, "mnist")
    with pytest.raises(DataError, match="outside the allowed data roots"):
        read(root, "mnist", path=str(outside))
    for name in files:
        (root / "mnist" / name).unlink()
        (root / "mnist" / name).hardlink_to(outside / name)
    with pytest.raises(DataError, match="has 2 names"):
        read(root, "mnist")


def test_path_and_array_belong_to_what_they_describe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'digits' is not read from a folder; leave data.path out"):
        read(tmp_path, "digits", path="x")
    with pytest.raises(DataError, match=r"data.array is 'x', but 'mnist' is no \.npz"):
        read(tmp_path, "mnist", array="x")


# --- static binarised MNIST ---


def amat(images: np.ndarray) -> bytes:
    return b"".join(b" ".join(b"%d" % value for value in row) + b"\n" for row in images)


def amat_files() -> dict[str, tuple[int, bytes]]:
    return {
        f"binarized_mnist_{part}.amat": (count, amat(random_bytes(count, 784, seed=count) & 1))
        for part, count in (("train", 9), ("valid", 3), ("test", 4))
    }


def test_binarised_mnist_keeps_its_three_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = amat_files()
    publish(monkeypatch, binarised_mnist.PUBLICATION, binarised_mnist.read, files)
    place(tmp_path / "binarised-mnist", files)
    dataset = read(tmp_path, "binarised-mnist")
    assert [sorted(part.ids) for part in (dataset.train, dataset.valid, dataset.test)] == [
        list(range(9)), list(range(9, 12)), list(range(12, 16)),
    ]  # fmt: skip
    order = np.argsort(dataset.valid.ids)
    np.testing.assert_array_equal(dataset.valid.rows[order], random_bytes(3, 784, seed=3) & 1)
    assert dataset.values == "binary"
    assert not dataset.binarise  # zeros and ones are their own draw
    with pytest.raises(DataError, match="has binary values, but this likelihood needs byte values"):
        read(tmp_path, "binarised-mnist", "dequantised")


def test_binarised_mnist_of_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = amat_files()
    name = "binarized_mnist_valid.amat"
    text = good[name][1]
    cases = {
        text[:-2]: "has 4702 bytes; 3 lines of 784 digits make 4704",
        text[:1568] + b"2" + text[1569:]: "line 2: digit 1 is not 0 or 1",
        text[:1570] + b"," + text[1571:]: "line 2: digit",
        text.replace(b"\n", b" "): "line 1: digit 784 is not 0 or 1, or no single blank follows",
    }
    for content, message in cases.items():
        files = good | {name: (3, content)}
        publish(monkeypatch, binarised_mnist.PUBLICATION, binarised_mnist.read, files)
        place(tmp_path / "binarised-mnist", files)
        with pytest.raises(DataError, match=message):
            read(tmp_path, "binarised-mnist")


# --- MATLAB: Omniglot and SVHN ---


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


# --- CIFAR-10 ---


def text(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


def pickled(images: np.ndarray, fortran: bool = False) -> bytes:
    """A batch as Python 2 pickled it: protocol 2, byte strings, a uint8 array."""
    count, width = images.shape
    values = images.tobytes(order="F" if fortran else "C")
    labels = b"".join(b"K" + bytes([i % 10]) for i in range(count))
    names = b"".join(text(f"image_{i}.png") + b"r" + struct.pack("<I", 300 + i) for i in range(count))
    numbers = b"M" + struct.pack("<H", count) + b"M" + struct.pack("<H", width)
    state = (
        b"(K\x01" + numbers + b"\x86q\x0d" + b"cnumpy\ndtype\nq\x0e" + text("u1") + b"q\x0fK\x00K\x01\x87q\x10Rq\x11"
        b"(K\x03" + text("|") + b"q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b"
        + (b"\x88" if fortran else b"\x89") + b"T" + struct.pack("<I", len(values)) + values + b"tq\x14b"
    )  # fmt: skip
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09" + text("b")
        + b"q\x0a\x87q\x0bRq\x0c" + state
    )  # fmt: skip
    return (
        b"\x80\x02}q\x01(" + text("batch_label") + b"q\x02" + text("training batch 1 of 5") + b"q\x03"
        + text("labels") + b"q\x04]q\x05(" + labels + b"e" + text("data") + b"q\x06" + array
        + text("filenames") + b"q\x15]q\x16(" + names + b"eu."
    )  # fmt: skip


NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def planes(seed: int) -> np.ndarray:
    return random_bytes(4, 3072, seed=seed)


def cifar_files(**other: bytes) -> dict[str, tuple[int, bytes]]:
    return {name: (4, other.get(name, pickled(planes(i), fortran=i == 2))) for i, name in enumerate(NAMES)}


def test_the_written_batches_are_real_pickles() -> None:
    import pickle

    for fortran in (False, True):
        batch = pickle.loads(
            pickled(planes(0), fortran).replace(b"numpy.core.", b"numpy._core."), encoding="latin1"
        )
        np.testing.assert_array_equal(batch["data"], planes(0))


@pytest.mark.parametrize("folder", ["cifar-10", "cifar-10/cifar-10-batches-py"])
def test_cifar_batches_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    files = cifar_files()
    publish(monkeypatch, cifar10.PUBLICATION, cifar10.read, files)
    place(tmp_path / folder, files)
    dataset = read(tmp_path, "cifar-10", "dequantised")
    assert dataset.shape == (32, 32, 3)
    assert sorted(dataset.test.ids) == [20, 21, 22, 23]
    everything = np.concatenate([planes(i) for i in range(6)])
    images = everything.reshape(24, 3, 32, 32).transpose(0, 2, 3, 1).reshape(24, -1)
    for part in (dataset.train, dataset.valid, dataset.test):
        np.testing.assert_array_equal(part.rows, images[part.ids])


def test_the_binary_version_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = cifar_files()
    publish(monkeypatch, cifar10.PUBLICATION, cifar10.read, files)
    place(tmp_path / "cifar-10", files)
    python = load_rows("cifar-10", None, [tmp_path])
    binary = tmp_path / "b" / "cifar-10-batches-bin"
    binary.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        labelled = np.concatenate([np.full((4, 1), 3, np.uint8), planes(i)], axis=1)
        (binary / f"{name}.bin").write_bytes(labelled.tobytes())
    got = load_rows("cifar-10", None, [tmp_path], "b")
    np.testing.assert_array_equal(got[0], python[0])
    assert got[2] == python[2]
    labelled[1, 0] = 10
    (binary / "test_batch.bin").write_bytes(labelled.tobytes())
    with pytest.raises(DataError, match=r"test_batch\.bin: image 1 has label 10; accepted are 0 to 9"):
        load_rows("cifar-10", None, [tmp_path], "b")
    (binary / "test_batch.bin").write_bytes(labelled.tobytes()[:-1])
    with pytest.raises(DataError, match="has 12291 bytes; 4 labelled images take 12292"):
        load_rows("cifar-10", None, [tmp_path], "b")


def evil(statement: bytes) -> bytes:
    return b"\x80\x02cposix\nsystem\n" + text(statement.decode()) + b"\x85R."


def test_no_pickle_is_ever_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = pickled(planes(0))
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\nq\x07"
    cases = {
        evil(b"touch trapped"): "it names 'posix system'",
        good.replace(reconstruct, b"cposix\nsystem\nq\x07"): "it names 'posix system'",
        good.replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"): "it calls what is neither an array",
        good.replace(text("u1"), text("O8")): "it calls what is neither an array",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.": "opcode SHORT_BINUNICODE is not read",
        b"\x80\x02(S'touch trapped'\niposix\nsystem\n.": "opcode STRING is not read",
        b"\x80\x02P1\n.": "opcode PERSID is not read",
        b"\x80\x02]q\x01h\x01a.": "refers back to a list",
        good[:-1]: "damaged",
        good[: len(good) // 2]: "damaged",
        b"": "damaged",
        b"\x80\x02].": "holds a list; expected is a dictionary",
        b"\x80\x02}].": "damaged",
        b"\x80\x02}u.": "damaged",
        b"\x80\x02}(]K\x01u.": "damaged",
        pickled(planes(0)[:3]): r"'data' is \(3, 3072\); expected is an array \(4, 3072\)",
        b"\x80\x02}U\x04dataK\x01s.": "'data' is int; expected is an array",
    }
    for content, message in cases.items():
        files = cifar_files(data_batch_3=content)
        publish(monkeypatch, cifar10.PUBLICATION, cifar10.read, files)
        place(tmp_path / "cifar-10", files)
        with pytest.raises(DataError, match=message):
            read(tmp_path, "cifar-10")
    assert not (tmp_path / "trapped").exists()


def test_damaged_batches_give_data_errors_only() -> None:
    whole = bytearray(pickled(random_bytes(2, 12)))
    head = len(whole) - 60
    generator, refused = np.random.default_rng(0), 0
    for _ in range(2000):
        content = bytearray(whole)
        for at in generator.integers(0, head, 2):
            content[at] = generator.integers(0, 256)
        try:
            read_dictionary(bytes(content), "fuzz")
        except DataError:
            refused += 1
    assert refused > 500


# --- image folders ---


def save_image(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_image_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    colour = [random_bytes(6, 5, 3, seed=i) for i in range(12)]
    for i, image in enumerate(colour):
        save_image(tmp_path / "photos" / ("b" if i % 2 else "a") / f"{i:02}.png", image)
    (tmp_path / "photos/notes.txt").write_text("no image")
    got, shape, _ = load_rows("images", None, [tmp_path], "photos", "dequantised")
    wanted = [colour[i] for i in (*range(0, 12, 2), *range(1, 12, 2))]
    np.testing.assert_array_equal(got, np.stack(wanted).reshape(12, -1))
    assert shape == (6, 5, 3)
    dataset = read(tmp_path, "images", "gaussian", path="photos")
    assert (dataset.values, float(dataset.train.rows.max()) <= 1) == ("unit", True)


def test_grey_images_and_jpeg(tmp_path: Path) -> None:
    for i in range(10):
        save_image(tmp_path / "grey" / f"{i}.jpg", np.full((8, 8), 20 * i, np.uint8), quality=95)
    got, shape, _ = load_rows("images", None, [tmp_path], "grey", "dequantised")
    assert shape == (8, 8)
    np.testing.assert_allclose(got, np.repeat(20.0 * np.arange(10), 64).reshape(10, 64), atol=2)


def test_refused_image_folders(tmp_path: Path) -> None:
    def folder(name: str, *images: np.ndarray) -> str:
        for i, image in enumerate((random_bytes(4, 4), *images)):
            save_image(tmp_path / name / f"{i}.png", image)
        return name

    (tmp_path / "empty").mkdir()
    (tmp_path / folder("broken") / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (tmp_path / folder("out") / "1.png").symlink_to(tmp_path.parent / "x.png")
    cut = tmp_path / folder("cut") / "0.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    cases = {
        "nothing": "there is no folder 'nothing'",
        "empty": r"holds no images; accepted are files ending in \.png",
        folder("sizes", random_bytes(4, 5)): r"'1.png' has shape \(4, 5\), but '0.png' has \(4, 4\)",
        folder("colours", random_bytes(4, 4, 3)): r"has shape \(4, 4, 3\), but '0.png' has \(4, 4\)",
        folder("alpha", random_bytes(4, 4, 4)): "'1.png' is of mode RGBA; accepted are L and RGB",
        folder("deep", np.zeros((4, 4), np.uint16)): "'1.png' is of mode I;16",
        "broken": "'0.png' is damaged or no PNG",
        "cut": "'0.png' is damaged or no PNG",
        "out": "outside the allowed data roots",
    }
    for path, message in cases.items():
        with pytest.raises(DataError, match=message):
            load_rows("images", None, [tmp_path], path)
    with pytest.raises(DataError, match=r"'images' needs data\.path"):
        load_rows("images", None, [tmp_path])


# --- patches ---


@pytest.mark.parametrize(("name", "side", "count"), [("patches", 8, 8480), ("patches-16", 16, 2080)])
def test_patches_are_the_photographs_cut_without_overlap(name: str, side: int, count: int) -> None:
    got, shape, _ = load_rows(name, None, [], likelihood="dequantised")
    assert (got.shape, shape) == ((count, side * side * 3), (side, side, 3))
    from importlib.util import find_spec

    origin = find_spec("sklearn")
    assert origin is not None
    assert origin.submodule_search_locations is not None
    with Image.open(Path(origin.submodule_search_locations[0], "datasets/images/flower.jpg")) as image:
        flower = np.asarray(image)
    columns = 640 // side
    place_ = count // 2 + 3 * columns + 5
    patch = flower[3 * side : 4 * side, 5 * side : 6 * side]
    np.testing.assert_array_equal(got[place_], patch.ravel())
    dataset = load(DataConfig(source=name), "dequantised", [])
    ids = np.concatenate([part.ids for part in (dataset.train, dataset.valid, dataset.test)])
    assert len(np.unique(ids)) == len(ids) == count
    assert dataset.values == "byte"
