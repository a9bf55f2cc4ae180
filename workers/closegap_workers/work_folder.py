"""The folder that a job's attempts share: `logs/` stays, everything else goes when the job has succeeded.

    work/<job>/logs/attempt-<n>.log
    work/<job>/logs/tensorboard/, mlflow/
    work/<job>/held-<fence>/          checkpoints, trials, ledgers, held by the attempt of that fence alone

Each attempt takes over what the one before has left, by one rename. An attempt that was only thought to be dead (it
slept, or its machine was cut off) then writes to names that are no more, and cannot touch what its successor works on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar, final

from closegap.errors import ServiceError
from closegap.storage.artifacts import HELD
from closegap_core.durable import flush_folder
from closegap_core.errors import FailureClass

_LOGS = "logs"


@final
class Superseded(ServiceError):
    """A later attempt of the job has taken its work over already."""

    failure: ClassVar[FailureClass] = "infrastructure"


def taken_over(work: Path, fence: int) -> Path:
    """The part of a work folder that the attempt of this fence holds, with all that was there. Raises Superseded."""
    ours = work / f"held-{fence:015d}"
    while True:
        held = sorted(path for path in work.iterdir() if HELD.fullmatch(path.name))
        if not held:
            ours.mkdir(exist_ok=True)
        elif held[-1] > ours:
            raise Superseded(f"a later attempt has taken over {work}: it is held as {held[-1].name}")
        elif held[-1] != ours:
            try:
                held[-1].rename(ours)
            except FileNotFoundError:
                continue  # another attempt has taken it at this moment
        flush_folder(work)
        return ours


def logs_of(work: Path) -> Path:
    """What stays: logs and records; the folder is there afterwards. Raises OSError."""
    folder = work / _LOGS
    folder.mkdir(exist_ok=True)
    return folder


def log_file(work: Path, attempt: int) -> Path:
    """Where an attempt's log goes. Raises OSError."""
    return logs_of(work) / f"attempt-{attempt}.log"


def tidy(work: Path) -> None:
    """Remove checkpoints, ledgers and trials of a job that has succeeded."""
    for path in work.iterdir():
        if path.name != _LOGS:
            shutil.rmtree(path, ignore_errors=True)
