"""Word counts: the sparse matrix, its files, RCV1's tokens, the Reuters articles; and images for other likelihoods."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import dump_svmlight_file

from closegap_core.config import DataConfig
from closegap_core.data import Counts, Dataset, load, load_rows, rcv1, source
from closegap_core.data.counts import count_matrix, dense_counts
from closegap_core.data.publication import File
from closegap_core.errors import DataError


def counts(documents: int = 20, words: int = 7, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).poisson(0.8, (documents, words)).astype(np.float32)
    drawn[:, 0] += drawn.sum(1) == 0
    drawn[0, -1] = 3  # every word number is used by some file
    return drawn


def read(root: Path, name: str, likelihood: str = "multinomial", **fields: Any) -> Dataset:
    return load(DataConfig.model_validate({"source": name, **fields}), likelihood, [root])


def ldac(rows: np.ndarray) -> str:
    lines = (
        " ".join([str(np.count_nonzero(row)), *(f"{v}:{row[v]:.0f}" for v in np.flatnonzero(row))])
        for row in rows
    )
    return "\n".join(lines) + "\n"


# --- the matrix ---


def test_indexing_gives_what_the_dense_array_gives() -> None:
    dense = counts()
    sparse = dense_counts(dense)
    assert sparse.shape == dense.shape
    assert len(sparse) == 20
    some = np.array([3, 0, 3, 19])
    for index in (
        slice(None),
        slice(2, 9),
        slice(18, 99),
        slice(None, None, -3),
        slice(5, 5),
        some,
        some[:0],
    ):
        got = sparse[index]
        np.testing.assert_array_equal(got, dense[index])
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(sparse.take(index)[:], dense[index])
    np.testing.assert_array_equal(sparse.lengths, dense.sum(1))
    np.testing.assert_array_equal(sparse.statistics().frequencies, (dense > 0).sum(0))
    with pytest.raises(IndexError, match="rows 3 to 20 of 20 documents"):
        sparse[np.array([3, 20])]
    for index in (3, (slice(None), 2), np.array([[1]]), np.array([0.5])):
        with pytest.raises(TypeError, match="indexed by a slice or an array of row numbers"):
            sparse[index]  # type: ignore[index]


def test_repeated_unordered_and_zero_entries_become_one_matrix() -> None:
    got = count_matrix(
        np.array([0, 4, 4, 6]), np.array([2, 0, 2, 1, 0, 1]), np.array([1, 2, 3, 0, 0, 5]), 3, "x"
    )
    np.testing.assert_array_equal(got[:], [[2, 0, 4], [0, 0, 0], [0, 5, 0]])
    assert got.words.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("starts", "words", "values", "message"),
    [
        ([0, 1], [3], [1.0], "document 0 has 3 as a word number; accepted are 0 to 2"),
        ([0, 1], [-1], [1.0], "document 0 has -1 as a word number"),
        ([0, 0, 1], [1], [0.5], "document 1 has 0.5 as a count; accepted are whole numbers"),
        ([0, 1], [1], [-1.0], "document 0 has -1.0 as a count"),
        ([0, 1], [1], [np.nan], "document 0 has nan as a count"),
        ([0, 1], [1], [2.0**25], "as a count; accepted are whole numbers from 0 to 16777216"),
        ([0, 2], [1], [1.0], "the rows do not fit the 1 words and 1 counts"),
        ([1, 1], [1], [1.0], "the rows do not fit"),
        ([0, 2, 1], [1], [1.0], "the rows do not fit"),
        ([0], [], [], "no documents or no words: 0 by 3"),
    ],
)
def test_refused_matrices(starts: list[int], words: list[int], values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        count_matrix(np.array(starts), np.array(words, np.int64), np.array(values), 3, "x")


def test_tfidf_is_of_the_training_documents(tmp_path: Path) -> None:
    (tmp_path / "a.ldac").write_text(ldac(counts()))
    dataset = read(tmp_path, "a.ldac", split={"train": 9, "valid": 4, "test": 5})
    assert (dataset.values, dataset.binarise, dataset.shape) == ("count", False, (7,))
    frequencies = (counts()[dataset.train.ids] > 0).sum(0)
    for part in (dataset.train, dataset.valid, dataset.test):
        assert isinstance(part.rows, Counts)
        np.testing.assert_array_equal(part.rows[:], counts()[part.ids])
        assert part.rows.tfidf is not None
        assert part.rows.tfidf.documents == 9
        np.testing.assert_array_equal(part.rows.tfidf.frequencies, frequencies)
        np.testing.assert_allclose(part.rows.tfidf.weights, np.log(10 / (1 + frequencies)) + 1, rtol=1e-6)


# --- files ---


def test_every_format_reads_the_same_matrix(tmp_path: Path) -> None:
    dense = counts()
    (tmp_path / "a.ldac").write_text(ldac(dense))
    dump_svmlight_file(dense, np.arange(20), str(tmp_path / "zero.svmlight"), zero_based=True)
    dump_svmlight_file(
        dense, np.arange(20), str(tmp_path / "one.svmlight"), zero_based=False, comment="made here"
    )
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.csr_matrix(dense))
    scipy.sparse.save_npz(
        tmp_path / "b.npz", scipy.sparse.csr_array(dense.astype(np.int64)), compressed=False
    )
    np.save(tmp_path / "dense.npy", dense)
    names = ("a.ldac", "zero.svmlight", "one.svmlight", "a.npz", "b.npz")
    got = {
        name: load_rows(name, None, [tmp_path], likelihood="multinomial") for name in (*names, "dense.npy")
    }
    for rows, shape, _ in got.values():
        assert isinstance(rows, Counts)
        np.testing.assert_array_equal(rows[:], dense)
        assert shape == (7,)
    assert len({got[name][2] for name in names}) == 1


def test_counts_under_other_likelihoods(tmp_path: Path) -> None:
    (tmp_path / "a.ldac").write_text(ldac(counts()))
    (tmp_path / "b.ldac").write_text(ldac(np.minimum(counts(), 1)))
    assert read(tmp_path, "a.ldac", "gaussian").values == "count"
    assert read(tmp_path, "b.ldac", "bernoulli").train.rows[:].max() == 1
    with pytest.raises(DataError, match=r"has counts to \d, but every value must be in \[0, 1\]"):
        read(tmp_path, "a.ldac", "bernoulli")
    with pytest.raises(DataError, match="has count values, but this likelihood needs byte values"):
        read(tmp_path, "a.ldac", "dequantised")
    with pytest.raises(DataError, match="'digits' has unit values, but this likelihood needs count values"):
        read(tmp_path, "digits")


def test_array_files_under_other_likelihoods(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 4), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    dataset = read(tmp_path, "images.npy", "dequantised")
    assert dataset.values == "byte"
    np.testing.assert_array_equal(dataset.train.rows, images[dataset.train.ids])
    np.save(tmp_path / "unit.npy", images.astype(np.float32) / 255)
    with pytest.raises(DataError, match=r"must be an integer from 0 to 255, .* not divided by 255"):
        read(tmp_path, "unit.npy", "dequantised")
    with pytest.raises(DataError, match="must be a whole number of 0 or more"):
        read(tmp_path, "unit.npy")
    np.save(tmp_path / "flags.npy", images > 100)
    assert not read(tmp_path, "flags.npy", "bernoulli").binarise


def test_documents_without_words_are_refused(tmp_path: Path) -> None:
    dense = counts()
    dense[13] = 0
    (tmp_path / "a.ldac").write_text(ldac(dense))
    np.save(tmp_path / "a.npy", dense)
    for name in ("a.ldac", "a.npy"):
        with pytest.raises(DataError, match="document 13 has no words; leave empty ones out"):
            read(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.ldac", "2 0:1\n", "line 1 announces 2 words and has 1"),
        ("a.ldac", "1 0:1\n1 0:x\n", "line 2: invalid literal"),
        ("a.ldac", "1 0:1\n\n1 0:1\n", "line 2 is empty; a document without words is the line '0'"),
        ("a.ldac", "1 0 1\n", "line 1 announces 1 words and has 0"),
        ("a.ldac", "1 0:-3\n", "document 0 has -3.0 as a count"),
        ("a.ldac", "1 -1:3\n", "no documents or no words|as a word number"),
        ("a.ldac", f"1 0:{10**30}\n", "line 1: .*large"),
        ("a.ldac", "", "no documents or no words"),
        ("a.svmlight", "1 3:0.5\n", "document 0 has 0.5 as a count"),
        ("a.svmlight", "1 3:2\nx 3:2\n", "line 2: .* expected is `target word:count"),
        ("a.svmlight", "1 a:2\n", "line 1: .* expected is"),
        ("a.svmlight", "1 5\n", "line 1: .* expected is"),
        ("a.svmlight", f"1 {10**30}:2\n", "beyond 64 bits"),
        ("a.svmlight", "# nothing\n", "no documents or no words"),
    ],
)
def test_damaged_text_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load_rows(name, None, [tmp_path])


def test_damaged_sparse_files(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(counts())
    good = {
        "indices": matrix.indices, "indptr": matrix.indptr, "data": matrix.data,
        "shape": np.array(matrix.shape), "format": np.array(b"csr"),
    }  # fmt: skip
    cases: list[tuple[dict[str, Any], str]] = [
        ({"format": np.array(b"csc")}, "format 'csc'; accepted is 'csr'"),
        ({"format": np.array([1, 2])}, "format"),
        ({"shape": np.array([20])}, "no sparse matrix"),
        ({"shape": np.array([20.0, 7.0])}, "no sparse matrix"),
        ({"shape": np.array([21, 7])}, "does not fit 21 rows"),
        ({"shape": np.array([20, 6])}, "as a word number; accepted are 0 to 5"),
        ({"indptr": matrix.indptr + 1}, "the rows do not fit"),
        ({"data": matrix.data[:-1]}, "the rows do not fit"),
        ({"data": matrix.data / 2}, "as a count; accepted are whole numbers"),
        ({"indices": matrix.indices.astype(object)}, "pickled objects"),
        ({"data": matrix.data.astype(complex)}, "has dtype complex128"),
    ]
    for change, message in cases:
        np.savez(tmp_path / "a.npz", **(good | change))
        with pytest.raises(DataError, match=message):
            load_rows("a.npz", None, [tmp_path])


# --- RCV1 and Reuters ---


def tokens(documents: list[list[str]], first: int) -> bytes:
    """The LYRL2004 token format: a number, a mark, lines of a few tokens, an empty line."""
    text = ""
    for i, document in enumerate(documents):
        lines = [" ".join(document[at : at + 3]) for at in range(0, len(document), 3)]
        text += "\n".join([f".I {first + i}", ".W", *lines]) + "\n\n"
    return text.encode()


def rcv1_folder(monkeypatch: pytest.MonkeyPatch, folder: Path, parts: list[list[list[str]]]) -> None:
    names = [file.name for file in rcv1.PUBLICATION.files]
    files = tuple(File(name, len(part)) for name, part in zip(names, parts, strict=True))
    small = replace(rcv1.PUBLICATION, files=files)
    monkeypatch.setattr(source, "PUBLISHED", ((small, rcv1.read),))
    folder.mkdir(exist_ok=True)
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        (folder / name).write_bytes(tokens(part, 100 * number))


def test_rcv1_counts_the_most_frequent_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcv1, "VOCABULARY", 3)
    parts = [
        [["oil", "bank", "oil", "rare"], ["zinc", "bank"]],
        [["bank", "aid", "aid", "zinc", "oil"]],
        [["rare"]],  # without any of the three: left out
        [["aid", "oil"] * 3],
        [["bank"] * 5],
    ]
    rcv1_folder(monkeypatch, tmp_path / "rcv1", parts)
    got, shape, _ = load_rows("rcv1", None, [tmp_path])
    assert shape == (3,)  # bank 8, oil 6, aid 5, zinc 2, rare 2
    np.testing.assert_array_equal(got[:], [[1, 2, 0], [1, 0, 0], [1, 1, 2], [0, 3, 3], [5, 0, 0]])
    monkeypatch.setattr(rcv1, "VOCABULARY", 4)
    got, shape, _ = load_rows("rcv1", None, [tmp_path])
    assert shape == (4,)  # rare before zinc, equally common
    np.testing.assert_array_equal(got[:], [
        [1, 2, 0, 1], [1, 0, 0, 0], [1, 1, 2, 0], [0, 0, 0, 1], [0, 3, 3, 0], [5, 0, 0, 0],
    ])  # fmt: skip


def test_rcv1_of_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [[["oil"], ["bank"]], *([[["oil"]]] * 4)]
    rcv1_folder(monkeypatch, tmp_path / "rcv1", parts)
    file = tmp_path / "rcv1/lyrl2004_tokens_test_pt1.dat"
    for content, message in (
        (tokens([["oil"], ["oil"]], 0), r"pt1\.dat has 2 documents; published are 1"),
        (b"oil .I 3\n.W\noil\n", r"does not begin with '\.I '"),
        (b".I 3\noil\n", r"document 4 begins '\.I 3\s+oil'"),
        (b".I x\n.W\noil\n", r"document 4 begins '\.I x'"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_rows("rcv1", None, [tmp_path])


def test_reuters_is_what_lda_reads() -> None:
    import lda.datasets

    got, shape, digest = load_rows("reuters", None, [], likelihood="multinomial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file open
        wanted = lda.datasets.load_reuters()
    assert isinstance(got, Counts)
    np.testing.assert_array_equal(got[:], wanted)
    assert shape == (4258,)
    assert digest == "96641f95301e131163eccf8fe30ee70ef9168bed027ce5874e3703a18840343b"
