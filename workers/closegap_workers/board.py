"""Where all the trials of a sweep stand, fed by their events; says how far the sweep is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import final

from closegap.job import Failure
from closegap_workers.channel import Channel, Event, Stream
from closegap_workers.runners.runner import Task
from closegap_workers.trials import OVER, Trial, folder_of


@final
class Board(Channel):
    """The attempt's channel of a sweep; `trial.json` of each trial is the truth, this is what was heard of it."""

    def __init__(self, stream: Stream, task: Task) -> None:
        self._stream, self._folder = stream, Path(task["folder"])
        fresh = [Trial(id=t["id"], params=t["params"], epochs=t["epochs"]) for t in task["trials"]]
        self._trials = [_taken_up(trial, folder_of(self._folder, trial.id)) for trial in fresh]
        self._total = sum(trial.epochs for trial in fresh)
        self._begun, self._first = time.monotonic(), self._done()

    def put(self, event: Event) -> None:
        self._stream.put(event)
        if event["type"] == "trial":
            trial = Trial.of(event)
            self._trials[trial.id] = trial
            self._stream.put(self._progress())

    def stopped(self) -> bool:
        return self._stream.stopped()

    def open(self) -> list[int]:
        """Trials that are not over."""
        return [trial.id for trial in self._trials if trial.state not in OVER]

    def running(self) -> int:
        """Trials in the middle of their work."""
        return sum(trial.state == "running" for trial in self._trials)

    def close(self, number: int) -> None:
        """Tune is done with a trial: if the trial itself does not say so, the scheduler has stopped it."""
        folder = folder_of(self._folder, number)
        trial = self._trials[number].read(folder)
        if trial.state not in OVER:
            trial = replace(trial, state="stopped")
            trial.write(folder)
            self.put(trial.event())

    def lose(self, number: int) -> None:
        """Tune gives a trial up: its process died more often than it is started again."""
        folder = folder_of(self._folder, number)
        trial = self._trials[number].read(folder)
        if trial.state not in OVER:
            lost = Failure(
                failure="infrastructure", message=f"the process of trial {number} died again and again"
            )
            trial = replace(trial, state="failed", failure=lost.model_dump(mode="json"))
            trial.write(folder)
            self.put(trial.event())

    def settle(self) -> list[Trial]:
        """After the end: every trial as it ended."""
        for number in range(len(self._trials)):
            self.close(number)
        return [trial.read(folder_of(self._folder, trial.id)) for trial in self._trials]

    def _done(self) -> int:
        return sum(trial.epochs if trial.state in OVER else trial.epoch for trial in self._trials)

    def _progress(self) -> Event:
        done, elapsed = self._done(), time.monotonic() - self._begun
        rate = (done - self._first) / elapsed if elapsed > 0 and done > self._first else None
        return {"type": "progress", "done": done, "total": self._total, "unit": "epoch", "rate": rate}


def _taken_up(fresh: Trial, folder: Path) -> Trial:
    """A trial as an earlier attempt left it; one that failed of the infrastructure (a full disk) is open again."""
    trial = fresh.read(folder)
    if trial.failure is None or trial.failure["failure"] != "infrastructure":
        return trial
    trial = replace(trial, state="waiting", failure=None)
    trial.write(folder)
    return trial
