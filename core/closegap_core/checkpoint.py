"""Checkpoints: tensors as safetensors, everything else as JSON, whole or not there.

A checkpoint is a folder `step-000000123` holding `tensors.safetensors` and `state.json`, which carries the tensors'
sha256, the digest of the configuration and of the data. It is written under a temporary name, flushed, and renamed.
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

from closegap_core.durable import flush_folder, write_bytes
from closegap_core.errors import CheckpointError

FORMAT = 1
KEPT = 2
"""Newest checkpoints kept; older ones are removed after a new one is in place."""


class Checkpoint(NamedTuple):
    """Tensors by name and a JSON-able state."""

    tensors: Mapping[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write one checkpoint and prune old ones; returns its path. Raises OSError when the disk is full."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:09d}"
    staging = folder / f".{target.name}.{os.getpid()}.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        payload = dump_tensors({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()})
        state = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), **checkpoint.state}
        write_bytes(staging / "tensors.safetensors", payload)
        write_bytes(staging / "state.json", json.dumps(state, sort_keys=True).encode())
        if (
            target.exists()
        ):  # the same step again, after a resume from an older checkpoint: the content is equal
            shutil.rmtree(target)
        os.rename(staging, target)
        flush_folder(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint, None when there is none; raises CheckpointError naming the file that is damaged."""
    found = _checkpoints(folder)
    return load(found[-1]) if found else None


def load(path: Path) -> Checkpoint:
    """Read and verify one checkpoint."""
    try:
        state = json.loads((path / "state.json").read_text())
        payload = (path / "tensors.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error}; remove it to go on from the checkpoint before it"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path / 'state.json'} is not of format {FORMAT}")
    digest = hashlib.sha256(payload).hexdigest()
    if digest != state["sha256"]:
        raise CheckpointError(
            f"checkpoint {path / 'tensors.safetensors'} is damaged: sha256 {digest}, expected {state['sha256']}; "
            f"remove {path} to go on from the checkpoint before it"
        )
    try:
        return Checkpoint(load_tensors(payload), state)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path / 'tensors.safetensors'} cannot be read: {error}") from error


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
