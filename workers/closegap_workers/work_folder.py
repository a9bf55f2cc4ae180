"""The folder that a job's attempts share: `logs/` stays, everything else goes when the job has succeeded."""

from __future__ import annotations

import shutil
from pathlib import Path

_LOGS = "logs"


def log_file(work: Path, attempt: int) -> Path:
    """Where an attempt's log goes; its folder is there afterwards. Raises OSError."""
    folder = work / _LOGS
    folder.mkdir(exist_ok=True)
    return folder / f"attempt-{attempt}.log"


def tidy(work: Path) -> None:
    """Remove checkpoints, ledgers and trials of a job that has succeeded."""
    for path in work.iterdir():
        if path.name != _LOGS:
            shutil.rmtree(path, ignore_errors=True)
