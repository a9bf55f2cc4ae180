"""What a measurement has found so far, on disk: a file a chunk, whole or not there, so that a kill costs one chunk."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from closegap_core.config import canonical
from closegap_core.durable import make_folder, write_bytes
from closegap_core.errors import CheckpointError
from closegap_core.measure.moments import Columns

IDENTITY = "measurement.json"
_NAME = re.compile(r"(.+)-(\d+)-(\d+)\.npz")


@final
class Ledger:
    """Chunks by stage and rows under one folder, which belongs to one model, data and settings."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Open or begin one. Raises CheckpointError when it was begun for something else, StorageError."""
        self.folder = folder
        make_folder(folder)
        path, mine = folder / IDENTITY, json.loads(canonical(identity))
        if not path.exists():
            write_bytes(path, canonical(identity).encode())
            return
        try:
            theirs = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}; remove {folder} to begin anew") from error
        if theirs != mine:
            names = [name for name in mine if not isinstance(theirs, dict) or theirs.get(name) != mine[name]]
            raise CheckpointError(
                f"{folder} was begun with another {', '.join(names)}; remove it to measure anew, or go on elsewhere"
            )

    def holds(self, stage: str, rows: range) -> bool:
        """Whether this chunk was measured."""
        return self._path(stage, rows).exists()

    def write(self, stage: str, rows: range, columns: Columns) -> None:
        """Keep one chunk. Raises StorageError."""
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **columns)
        write_bytes(self._path(stage, rows), content.getvalue())

    def parts(self, stage: str) -> Iterator[Columns]:
        """Every chunk of a stage by its first row, one at a time."""
        for _, path in self._files(stage):
            yield _read(path)

    def columns(self, stage: str, *names: str) -> dict[str, np.ndarray]:
        """Some figures of all rows; meant for those that are a number a row."""
        parts = [{name: part[name] for name in names} for part in self.parts(stage)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def found(self, stage: str, rows: range) -> Columns:
        """All figures of these rows, whatever chunks they were measured in."""
        pieces = []
        for span, path in self._files(stage):
            first, last = max(span.start, rows.start), min(span.stop, rows.stop)
            if first < last:
                inside = slice(first - span.start, last - span.start)
                pieces.append({name: values[inside] for name, values in _read(path).items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _files(self, stage: str) -> list[tuple[range, Path]]:
        matches = [(_NAME.fullmatch(path.name), path) for path in sorted(self.folder.glob("*.npz"))]
        return [
            (range(int(match[2]), int(match[3])), path)
            for match, path in matches
            if match and match[1] == stage
        ]

    def _path(self, stage: str, rows: range) -> Path:
        return self.folder / f"{stage}-{rows.start:09d}-{rows.stop:09d}.npz"


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged: {error}; remove it to measure its rows again") from error
