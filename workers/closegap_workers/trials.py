"""The trials of a sweep on disk: one `trial.json` each, written once a second while it goes on, whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, final

from closegap_core.durable import make_folder, write_bytes
from closegap_core.errors import StorageError

TrialState = Literal["waiting", "running", "completed", "stopped", "failed"]
"""stopped: by the scheduler, before its last epoch."""
OVER = ("completed", "stopped", "failed")
CURVE = "curve.txt"
_LINE = re.compile(r"(\d+) (-?\d+(?:\.\d+)?(?:e[+-]\d+)?|-?inf|nan)")


@final
@dataclass(frozen=True)
class Trial:
    """One point and how far it came. value: validation ELBO in nats; once completed, of the weights kept."""

    id: int
    params: dict[str, Any]
    epochs: int
    epoch: int = 0
    value: float | None = None
    state: TrialState = "waiting"
    failure: dict[str, Any] | None = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Trial:
        """What `event` or `to_dict` gave."""
        return cls(**{name: value for name, value in event.items() if name != "type"})

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def event(self) -> dict[str, Any]:
        """As an event: {"type": "trial", …}."""
        return {"type": "trial", **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write `trial.json`. Raises StorageError."""
        make_folder(folder)
        write_bytes(folder / "trial.json", json.dumps(asdict(self)).encode())

    def read(self, folder: Path) -> Trial:
        """This trial as it was last written; itself when it never was."""
        try:
            return Trial.of(json.loads((folder / "trial.json").read_text()))
        except FileNotFoundError:
            return self


def folder_of(trials: Path, number: int) -> Path:
    """Where a trial keeps its record, its checkpoints and its model."""
    return trials / f"trial-{number:05d}"


def note(folder: Path, epoch: int, value: float) -> None:
    """Add an epoch's validation ELBO to the trial's curve, where the service reads it. Raises StorageError.

    Not flushed: what a crash takes of it is drawn with a gap, and nothing rests on it.
    """
    try:
        with (folder / CURVE).open("a") as stream:
            stream.write(f"{epoch} {value:.6g}\n")
    except OSError as error:
        raise StorageError(f"cannot write {folder / CURVE}: {error.strerror or error}") from error


def curve(folder: Path) -> list[tuple[int, float]]:
    """(epoch, validation ELBO in nats) by epoch; of one that was made twice the last."""
    try:
        lines = (folder / CURVE).read_text().splitlines()
    except FileNotFoundError:
        return []
    found = [_LINE.fullmatch(line) for line in lines]  # one that a full disk has cut is none
    return sorted({int(match[1]): float(match[2]) for match in found if match}.items())
