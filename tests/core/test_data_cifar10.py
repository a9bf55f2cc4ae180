"""CIFAR-10: the published batches are read, and no pickle is ever run."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from closegap_core.data import cifar10, load_rows
from closegap_core.data.opcodes import read_dictionary
from closegap_core.errors import DataError
from tests.core.publishing import place, publish, random_bytes, read


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
