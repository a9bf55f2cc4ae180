"""Published images in IDX and text files, and what holds for every published data set: its place, its checksums."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from closegap_core.data import binarised_mnist, load_rows, mnist
from closegap_core.data.publication import Publication
from closegap_core.errors import DataError
from tests.core.publishing import place, publish, random_bytes, read

SPLIT = {"train": 5, "valid": 2, "test": 3}


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
