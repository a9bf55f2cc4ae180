"""Checkpoints: tensors as safetensors, everything else as JSON, whole or not there.

A checkpoint is a folder `step-000000123` holding `tensors.safetensors` and `state.json`, which carries the tensors'
sha256, the digest of the configuration and of the data. It is written under a temporary name, flushed, and renamed.
One that is damaged all the same is passed over: the run before it goes on to the very same result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from closegap_core.durable import flush_folder, make_folder, write_bytes
from closegap_core.errors import CheckpointError

FORMAT = 1
KEPT = 2
"""Newest checkpoints kept; older ones are removed after a new one is in place."""


class Checkpoint(NamedTuple):
    """Tensors by name and a JSON-able state."""

    tensors: Mapping[str, Tensor]
    state: dict[str, Any]


class Found(NamedTuple):
    """The newest checkpoint that is whole, None when there is none, and what is wrong with newer ones."""

    checkpoint: Checkpoint | None
    damaged: tuple[str, ...] = ()


class Damaged(CheckpointError):
    """A checkpoint that is not what was written; one before it will do."""


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write one checkpoint and prune old ones; returns its path.

    Raises OSError when the disk is full, StorageError when the folder around `folder` is gone.
    """
    make_folder(folder)
    target = folder / f"step-{step:09d}"
    staging = folder / f".{target.name}.{os.getpid()}.tmp"
    aside = staging.with_suffix(".old")
    for leftover in (staging, aside):
        shutil.rmtree(leftover, ignore_errors=True)
    staging.mkdir()
    try:
        payload = dump_tensors({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()})
        state = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), **checkpoint.state}
        write_bytes(staging / "tensors.safetensors", payload)
        write_bytes(staging / "state.json", json.dumps(state, sort_keys=True).encode())
        # The same step may be there, after a resume from an older checkpoint: aside in one move, never half removed.
        if target.exists():
            os.rename(target, aside)
        os.rename(staging, target)
        flush_folder(folder)
    finally:
        for leftover in (staging, aside):
            shutil.rmtree(leftover, ignore_errors=True)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def find(folder: Path) -> Found:
    """The newest whole checkpoint. Raises CheckpointError when every one there is damaged, or of another format."""
    damaged: list[str] = []
    for path in reversed(_checkpoints(folder)):
        try:
            return Found(load(path), tuple(damaged))
        except Damaged as error:
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(f"{damaged[0]}; no other is whole: remove {folder} to begin anew")
    return Found(None)


def newest(folder: Path) -> Checkpoint | None:
    """That of `find`."""
    return find(folder).checkpoint


def load(path: Path) -> Checkpoint:
    """Read and verify one checkpoint. Raises Damaged, naming the file, or CheckpointError for another format."""
    try:
        state = json.loads((path / "state.json").read_text())
        payload = (path / "tensors.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise Damaged(f"checkpoint {path} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path / 'state.json'} is not of format {FORMAT}")
    digest = hashlib.sha256(payload).hexdigest()
    if digest != state["sha256"]:
        raise Damaged(
            f"checkpoint {path / 'tensors.safetensors'} is damaged: sha256 {digest}, expected {state['sha256']}"
        )
    try:
        return Checkpoint(load_tensors(payload), state)
    except SafetensorError as error:
        raise Damaged(f"checkpoint {path / 'tensors.safetensors'} cannot be read: {error}") from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
