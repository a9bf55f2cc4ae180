"""Checkpoints: whole or passed over, whatever dies or is damaged, and of one training alone."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from closegap_core import checkpoint
from closegap_core.data import Dataset
from closegap_core.errors import CheckpointError
from closegap_core.fit import Note
from tests.core.training import assert_equal, config, prototypes, run, weights


@pytest.fixture
def dataset() -> Dataset:
    return prototypes()


def test_another_configuration_does_not_go_on_from_a_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    run(config(), dataset, tmp_path, stop_at=2)
    with pytest.raises(CheckpointError, match="another config"):
        run(config(learning_rate=1e-4), dataset, tmp_path)


def spoil(folder: Path, damage: str) -> None:
    tensors, state = folder / "tensors.safetensors", folder / "state.json"
    if damage == "flip":
        content = bytearray(tensors.read_bytes())
        content[-3] ^= 1
        tensors.write_bytes(content)
    elif damage == "truncate":
        tensors.write_bytes(tensors.read_bytes()[:-10])
    elif damage == "state":
        state.write_text(state.read_text()[:-5])
    elif damage == "half removed":
        tensors.unlink()
    else:
        state.write_text(json.dumps({**json.loads(state.read_text()), "format": 99}))


@pytest.mark.parametrize("damage", ["flip", "truncate", "state", "half removed", "format"])
def test_a_damaged_checkpoint_without_another_is_named(damage: str, dataset: Dataset, tmp_path: Path) -> None:
    run(config(), dataset, tmp_path, stop_at=2)
    [folder] = tmp_path.iterdir()
    spoil(folder, damage)
    with pytest.raises(CheckpointError, match="step-000000002") as caught:
        run(config(), dataset, tmp_path)
    assert (f"remove {tmp_path} to begin anew" in str(caught.value)) == (damage != "format")


@pytest.mark.parametrize("damage", ["flip", "truncate", "state", "half removed"])
def test_a_damaged_checkpoint_is_passed_over_and_said(damage: str, dataset: Dataset, tmp_path: Path) -> None:
    run(config(), dataset, tmp_path / "whole")
    run(config(), dataset, tmp_path / "parts", stop_at=7)
    assert [path.name for path in sorted((tmp_path / "parts").iterdir())][-1] == "step-000000007"
    spoil(tmp_path / "parts" / "step-000000007", damage)
    events = run(config(), dataset, tmp_path / "parts")
    [note] = [event for event in events if isinstance(event, Note)]
    assert note.to_dict()["type"] == "log"
    assert "step-000000007" in note.line
    assert note.line.endswith("training goes on from step 5 instead")
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("death", range(12))
def test_death_while_a_step_is_saved_again_leaves_a_whole_checkpoint(
    death: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies before the n-th thing that it does on the disk; nothing after that is done."""
    saved = {step: checkpoint.Checkpoint({"weight": torch.full((4,), float(step))}, {}) for step in (1, 2)}
    for step, content in saved.items():
        checkpoint.save(tmp_path, step, content)
    counted = itertools.count()

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **options: Any) -> Any:
            if next(counted) >= death:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return do

    for name in ("os.rename", "os.unlink", "os.rmdir", "os.fsync"):
        monkeypatch.setattr(name, mortal(getattr(os, name.removeprefix("os."))))
    with contextlib.suppress(KeyboardInterrupt):
        checkpoint.save(tmp_path, 2, saved[2])
    monkeypatch.undo()
    found = checkpoint.find(tmp_path)
    assert not found.damaged
    assert found.checkpoint is not None
    assert float(found.checkpoint.tensors["weight"][0]) in (1.0, 2.0)
    checkpoint.save(tmp_path, 2, saved[2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000002"]


def test_a_full_disk_leaves_the_checkpoint_before_it(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(), dataset, tmp_path, stop_at=2)
    before = weights(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("closegap_core.checkpoint.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        run(config(), dataset, tmp_path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002"]
    assert_equal(weights(tmp_path), before)
