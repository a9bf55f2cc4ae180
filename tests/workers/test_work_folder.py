"""What attempts of a job hand on, and that only the newest can touch it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from closegap_core.checkpoint import Checkpoint, save
from closegap_core.config import EncodeConfig
from closegap_core.encode import EncodingSummary, encode_dataset
from closegap_core.errors import CoreError, StorageError
from closegap_workers.work_folder import Superseded, log_file, taken_over, tidy
from tests.api.sealed import encoder


def test_the_next_attempt_has_what_the_last_one_left(tmp_path: Path) -> None:
    first = taken_over(tmp_path, 3)
    (first / "checkpoint").write_text("epoch 3")
    assert taken_over(tmp_path, 3) == first
    second = taken_over(tmp_path, 12)
    assert (second / "checkpoint").read_text() == "epoch 3"
    assert not first.exists()
    with pytest.raises(Superseded, match="a later attempt has taken over"):
        taken_over(tmp_path, 3)
    log_file(tmp_path, 1).write_text("said")
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_what_a_zombie_makes_anew_is_not_taken_up(tmp_path: Path) -> None:
    first = taken_over(tmp_path, 3)
    second = taken_over(tmp_path, 12)
    (second / "checkpoint").write_text("epoch 4")
    first.mkdir()
    (first / "checkpoint").write_text("epoch 3")
    assert (taken_over(tmp_path, 15) / "checkpoint").read_text() == "epoch 4"


def test_a_zombie_saves_no_checkpoint(tmp_path: Path) -> None:
    """Its folder would come back under the old name, with steps that the heir does not have."""
    first = taken_over(tmp_path, 3)
    state = Checkpoint({"x": torch.ones(2)}, {})
    save(first / "checkpoints", 4, state)
    second = taken_over(tmp_path, 12)
    with pytest.raises(StorageError, match=f"cannot make the folder {first}/checkpoints"):
        save(first / "checkpoints", 8, state)
    assert not first.exists()
    assert [path.name for path in (second / "checkpoints").iterdir()] == ["step-000000004"]


def test_an_encoding_of_an_attempt_that_woke_up_too_late_does_not_meet_its_successor(tmp_path: Path) -> None:
    """Both write the same shards, in turn: without the rename, one would find the files of the other half there."""
    file = tmp_path / "encoder.onnx"
    file.write_bytes(encoder())
    rows = np.random.default_rng(0).random((64, 4), np.float32)
    ids = np.arange(64, dtype=np.int64)
    config, identity = EncodeConfig(shard_rows=4, batch_size=4), {"model": "m"}

    work = tmp_path / "work"
    work.mkdir()
    zombie = encode_dataset(file, rows, ids, taken_over(work, 1) / "encoding", config, identity)
    next(zombie)
    folder = taken_over(work, 2) / "encoding"
    heir = encode_dataset(file, rows, ids, folder, config, identity)
    next(heir)
    with pytest.raises((CoreError, OSError)):
        list(zombie)
    *_, summary = heir
    assert isinstance(summary, EncodingSummary)
    alone = tmp_path / "alone"
    for _ in encode_dataset(file, rows, ids, alone, config, identity):
        continue
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in alone.iterdir()
    }
