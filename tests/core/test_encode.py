"""Encoding: rows checked by place, shards that survive kill -9, finished output equal byte for byte."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import torch

from closegap_core.config import DataConfig, EncodeConfig, ExportConfig, TrainConfig
from closegap_core.data import Dataset, binarise, load
from closegap_core.encode import Encoder, EncodingSummary, encode_dataset
from closegap_core.encode import store as store_module
from closegap_core.errors import EncodeError, StorageError
from closegap_core.export import export as export_module
from closegap_core.export.encoder import build
from closegap_core.export.recorded import fixed_noise
from closegap_core.model import Model
from closegap_core.progress import Progress
from closegap_core.trained import Trained

ROWS, WIDTH, LATENT, SHARD = 100, 64, 4, 16
IDENTITY = {"model": "sha256:" + "a" * 64, "data": "d" * 64}
CONFIG = EncodeConfig(shard_rows=SHARD, batch_size=5)


def encoder_file(path: Path, likelihood: str = "bernoulli", binary: bool = True, **inference: Any) -> Path:
    """An encoder of an untrained model of the 8x8 digits."""
    torch.set_num_threads(1)
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, "levels": [{"latent": LATENT, "decoder": {"hidden": [12]}}]},
            "inference": {
                "encoder": {"hidden": [10]},
                **(inference or {"method": "iterative", "iterations": 3}),
            },
        }
    )
    model, export = Model(config, WIDTH), ExportConfig()
    built = build(model, fixed_noise(export, LATENT), 3)
    trained = Trained(model, config, (8, 8), "d" * 64, binary, {})
    path.write_bytes(export_module._describe(built, trained, export).SerializeToString())
    return path


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_file(tmp_path_factory.mktemp("encoder") / "encoder.onnx")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataConfig(source="digits"), "bernoulli", [])


@pytest.fixture(scope="module")
def rows(digits: Dataset) -> np.ndarray:
    return digits.test.rows[:ROWS]


@pytest.fixture(scope="module")
def ids(digits: Dataset) -> np.ndarray:
    return digits.test.ids[:ROWS]


def encode(
    path: Path,
    rows: np.ndarray,
    ids: np.ndarray,
    folder: Path,
    config: EncodeConfig = CONFIG,
    **identity: Any,
) -> list[Any]:
    return list(encode_dataset(path, rows, ids, folder, config, IDENTITY | identity))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- one call ---


def test_encoder_says_what_it_is(encoder_path: Path) -> None:
    info = Encoder(encoder_path).info
    assert (info.width, info.latent, info.shape, info.iterations) == (WIDTH, LATENT, (8, 8), 3)
    assert info.binarise
    assert info.unit_interval
    assert info.metadata["config"]["inference"]["method"] == "iterative"


def test_encoding_has_the_shapes_it_says(encoder_path: Path, rows: np.ndarray) -> None:
    encoding = Encoder(encoder_path)(rows, batch_size=33)
    assert encoding.mean.shape == encoding.log_var.shape == (ROWS, LATENT)
    assert encoding.elbo.shape == encoding.iterations.shape == (ROWS,)
    assert [part.dtype for part in encoding] == [np.float32, np.float32, np.float32, np.int32]
    assert set(encoding.iterations) == {3}
    assert set(Encoder(encoder_path)(rows, iterations=7).iterations) == {7}


def test_threads_do_not_change_the_bits(encoder_path: Path, rows: np.ndarray) -> None:
    one, two = Encoder(encoder_path, threads=1)(rows), Encoder(encoder_path, threads=2)(rows)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def changed(rows: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    other = rows.copy()
    other[row, column] = value
    return other


def test_rows_that_do_not_fit_are_named(encoder_path: Path, rows: np.ndarray) -> None:
    encoder = Encoder(encoder_path)
    refused: list[tuple[Any, str]] = [
        (rows.astype(np.float64), r"float32 array, got float64; convert with `x\.astype\('float32'\)`"),
        (rows.tolist(), "got list"),
        (rows[:, :63], r"shape \(100, 63\); this encoder reads \(N, 64\)"),
        (rows.reshape(-1, 8, 8), r"shape \(100, 8, 8\)"),
        (rows[:0], r"no rows to encode: the shape is \(0, 64\)"),
        (changed(rows, 7, 3, np.nan), "row 7, column 3 is nan; every value must be a finite number"),
        (changed(rows, 99, 63, np.inf), "row 99, column 63 is inf"),
        (changed(rows, 8, 0, -0.5), r"row 8, column 0 is -0\.5; every value must be in \[0, 1\]"),
        (changed(rows, 8, 1, 1.5), r"row 8, column 1 is 1\.5"),
    ]
    for bad, message in refused:
        with pytest.raises(EncodeError, match=message):
            encoder(bad)


def test_iterations_that_mean_nothing(tmp_path: Path, encoder_path: Path, rows: np.ndarray) -> None:
    for count in (-1, 10_001):
        with pytest.raises(EncodeError, match=f"iterations is {count}; accepted are 0 to 10000"):
            Encoder(encoder_path)(rows, count)
    with pytest.raises(EncodeError, match="batch_size is 0"):
        Encoder(encoder_path)(rows, batch_size=0)
    path = encoder_file(tmp_path / "s.onnx", method="standard")
    standard = Encoder(path)
    assert set(standard(rows).iterations) == {1}
    with pytest.raises(EncodeError, match="iterations is 5, but a standard encoder is one pass"):
        standard(rows, 5)


def test_gaussian_rows_need_no_unit_interval(tmp_path: Path, rows: np.ndarray) -> None:
    encoder = Encoder(encoder_file(tmp_path / "g.onnx", "gaussian", binary=False))
    assert np.isfinite(encoder(rows * 5 - 2).elbo).all()


def test_damaged_files(tmp_path: Path, encoder_path: Path) -> None:
    content = encoder_path.read_bytes()
    path = tmp_path / "encoder.onnx"
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(EncodeError, match=r"encoder\.onnx (is damaged|has damaged|was not exported)"):
            Encoder(path)
    with pytest.raises(EncodeError, match=r"absent\.onnx cannot be read: No such file"):
        Encoder(tmp_path / "absent.onnx")
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    with pytest.raises(EncodeError, match="was not exported by closegap"):
        Encoder(model.SerializeToString())
    model.metadata_props.add(key="closegap.format_version", value="1")
    with pytest.raises(EncodeError, match="damaged metadata: 'preprocess'"):
        Encoder(model.SerializeToString())


# --- a data set ---


def test_shards_hold_every_row_once(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    *progress, summary = encode(encoder_path, rows, ids, tmp_path / "out")
    assert all(isinstance(p, Progress) for p in progress)
    assert (progress[-1].done, progress[-1].total, progress[-1].unit) == (ROWS, ROWS, "row")
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert [table.num_rows for table in tables] == [16] * 6 + [4]
    assert tables[0].column_names == ["row", "mean", "log_var", "elbo", "iterations", "model"]
    expected = Encoder(encoder_path)(binarise(rows, 0))
    got = {
        name: np.concatenate([t[name].to_numpy() for t in tables]) for name in ("row", "elbo", "iterations")
    }
    np.testing.assert_array_equal(got["row"], ids)
    np.testing.assert_allclose(got["elbo"], expected.elbo, rtol=1e-5)
    assert set(got["iterations"]) == {3}
    means = np.concatenate([np.stack(t["mean"].to_pylist()) for t in tables])
    np.testing.assert_allclose(means, expected.mean, atol=1e-5)
    assert set(tables[-1]["model"].to_pylist()) == {IDENTITY["model"]}
    assert isinstance(summary, EncodingSummary)
    assert summary.metrics["rows"] == ROWS
    assert summary.metrics["elbo"] == pytest.approx(expected.elbo.mean(), rel=1e-5)
    assert sum(summary.metrics["elbo_histogram"]["counts"]) == ROWS
    assert summary.rows_per_second is not None
    assert summary.rows_per_second > 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == summary.metrics
    ledger = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    assert [line["first"] for line in ledger] == list(range(0, ROWS, SHARD))


def test_rows_are_binarised_as_the_model_was_trained(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    plain = encoder_file(tmp_path / "plain.onnx", binary=False)
    seeds = [CONFIG, CONFIG.model_copy(update={"seed": 1})]
    a, b = (encode(encoder_path, rows, ids, tmp_path / str(i), c)[-1].metrics for i, c in enumerate(seeds))
    grey = encode(plain, rows, ids, tmp_path / "grey")[-1].metrics
    assert len({a["elbo"], b["elbo"], grey["elbo"]}) == 3
    assert grey["elbo"] == pytest.approx(Encoder(plain)(rows).elbo.mean(), rel=1e-5)


def test_a_finished_encoding_is_left_as_it_is(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    encode(encoder_path, rows, ids, tmp_path / "out")
    before = contents(tmp_path / "out")
    (summary,) = encode(encoder_path, rows, ids, tmp_path / "out")
    assert summary.rows_per_second is None
    assert contents(tmp_path / "out") == before


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from closegap_core.config import EncodeConfig
from closegap_core.encode import encode_dataset, store

window, shard, encoder, arrays, folder = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
append, write = store.append_line, store.write_bytes

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write_bytes(path, content):
    if path.name == f"shard-{shard:05d}.parquet" and window == "half a shard":
        path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 2])
        die()
    write(path, content)

def append_line(path, line):
    if f'"shard": {shard}' in line:
        if window == "shard without line":
            die()
        if window == "half a line":
            with path.open("ab") as stream:
                stream.write(line[: len(line) // 2].encode())
            die()
        append(path, line)
        if window == "whole line":
            die()
        if window == "waits":
            signal.pause()
    append(path, line)

store.append_line, store.write_bytes = append_line, write_bytes
loaded = np.load(arrays)
identity = {"model": "sha256:" + "a" * 64, "data": "d" * 64}
config = EncodeConfig(shard_rows=16, batch_size=5)
for event in encode_dataset(Path(encoder), loaded["rows"], loaded["ids"], Path(folder), config, identity):
    print(event.to_dict()["type"], flush=True)
"""


def run_and_die(window: str, shard: int, encoder_path: Path, arrays: Path, folder: Path) -> int:
    command = [sys.executable, "-c", KILLED, window, str(shard), str(encoder_path), str(arrays), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode


def test_killed_in_every_window_the_output_is_the_same(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    arrays, folder = tmp_path / "arrays.npz", tmp_path / "killed"
    np.savez(arrays, rows=rows, ids=ids)
    encode(encoder_path, rows, ids, tmp_path / "whole")
    windows = ["half a shard", "shard without line", "half a line", "whole line"]
    for shard, window in enumerate(windows, 1):
        assert run_and_die(window, shard, encoder_path, arrays, folder) == -signal.SIGKILL
        whole = {
            line
            for line in (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)
            if line[-1:] == b"\n"
        }
        recorded = [json.loads(line)["shard"] for line in whole]
        # At most the shard in flight is lost.
        assert sorted(recorded) == list(range(shard + (window == "whole line")))
    summary = encode(encoder_path, rows, ids, folder)[-1]
    assert contents(folder) == contents(tmp_path / "whole")
    assert summary.metrics["rows"] == ROWS


def test_killed_from_outside(tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray) -> None:
    """Anywhere from its third shard to its fortieth, where it waits for that."""
    arrays, folder = tmp_path / "arrays.npz", tmp_path / "killed"
    many, their_ids = np.tile(rows, (16, 1)), np.arange(16 * ROWS)
    np.savez(arrays, rows=many, ids=their_ids)
    command = [sys.executable, "-c", KILLED, "waits", "39", str(encoder_path), str(arrays), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(list(folder.glob("*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    encode(encoder_path, many, their_ids, folder)
    encode(encoder_path, many, their_ids, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_shard_that_is_not_as_recorded_is_made_again(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    encode(encoder_path, rows, ids, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "shard-00002.parquet").write_bytes(b"rotten")
    (tmp_path / "out" / "shard-00003.parquet").unlink()
    encode(encoder_path, rows, ids, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_another_encoding_is_refused_with_a_diff(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    folder = tmp_path / "out"
    encode(encoder_path, rows, ids, folder)
    before = contents(folder)
    other_data = changed(rows, 0, 0, 0.5)
    other_encoder = encoder_file(tmp_path / "other.onnx", method="iterative", update="additive")
    other_settings = CONFIG.model_copy(update={"iterations": 9})
    with pytest.raises(
        EncodeError, match=r"another encoding; it differs in\n  model: 'sha256:a+' -> 'sha256:b'$"
    ):
        encode(encoder_path, rows, ids, folder, model="sha256:b")
    with pytest.raises(EncodeError, match=r"differs in\n  rows_sha256: '\w+' -> '\w+'$"):
        encode(encoder_path, other_data, ids, folder)
    with pytest.raises(EncodeError, match=r"differs in\n  encoder_sha256: "):
        encode(other_encoder, rows, ids, folder)
    with pytest.raises(EncodeError, match=r"differs in\n  settings\.iterations: None -> 9$"):
        encode(encoder_path, rows, ids, folder, other_settings)
    with pytest.raises(EncodeError, match=r"differs in\n  rows: 100 -> 99\n  rows_sha256"):
        encode(encoder_path, rows[:99], ids[:99], folder)
    assert contents(folder) == before


def test_folders_that_are_not_ours(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"?")
    with pytest.raises(EncodeError, match=r"holds a\.parquet but no identity\.json"):
        encode(encoder_path, rows, ids, tmp_path)
    folder = tmp_path / "out"
    encode(encoder_path, rows, ids, folder)
    (folder / "ledger.jsonl").write_bytes(b'{"shard": "x"}\n')
    with pytest.raises(EncodeError, match=r"ledger\.jsonl is damaged"):
        encode(encoder_path, rows, ids, folder)
    (folder / "identity.json").write_bytes(b"{")
    with pytest.raises(EncodeError, match=r"identity\.json is damaged"):
        encode(encoder_path, rows, ids, folder)


def test_rows_in_are_rows_out(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EncodeError, match="100 rows came with 99 ids"):
        encode(encoder_path, rows, ids[:99], tmp_path / "a")
    real = store_module.EncodingStore.write

    def lose(self: Any, shard: int, first: int, table: Any) -> None:
        real(self, shard, first, table.slice(0, 3) if shard == 2 else table)

    monkeypatch.setattr(store_module.EncodingStore, "write", lose)
    with pytest.raises(EncodeError, match="100 rows went in, 87 came out"):
        encode(encoder_path, rows, ids, tmp_path / "b")
    assert not (tmp_path / "b" / "metrics.json").exists()


def test_bad_rows_begin_nothing(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray
) -> None:
    with pytest.raises(EncodeError, match="row 99, column 5 is nan"):
        encode(encoder_path, changed(rows, 99, 5, np.nan), ids, tmp_path / "out")
    standard = encoder_file(tmp_path / "s.onnx", method="standard")
    with pytest.raises(EncodeError, match="a standard encoder is one pass"):
        encode(standard, rows, ids, tmp_path / "out", EncodeConfig(iterations=5))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_half_file_and_is_taken_up_again(
    tmp_path: Path, encoder_path: Path, rows: np.ndarray, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "out", os.fsync

    def full(descriptor: int) -> None:
        if len(list(folder.glob("shard-*.parquet"))) == 3 and list(folder.glob(".shard-*.tmp")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("closegap_core.durable.os.fsync", full)
    with pytest.raises(
        StorageError, match=r"cannot write .*shard-00003\.parquet: No space left on device"
    ) as caught:
        encode(encoder_path, rows, ids, folder)
    assert caught.value.failure == "infrastructure"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("identity.json", "ledger.jsonl"),
        *(f"shard-0000{i}.parquet" for i in range(3)),
    ]
    monkeypatch.undo()
    encode(encoder_path, rows, ids, folder)
    encode(encoder_path, rows, ids, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")
