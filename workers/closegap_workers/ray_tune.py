"""The trials of a sweep under Ray Tune: one point each, core's `fit` inside; goes on after the death of its driver.

What a trial has reached is in core's checkpoint and `trial.json`, not in a Tune checkpoint. Tune's own record, which
it pickles, is kept in the worker's private home only, to be restored after the driver was killed there.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from closegap.specs.kinds import SweepSpec
from closegap_core.durable import make_folder
from closegap_core.group import SINGLE
from closegap_workers.board import Board
from closegap_workers.channel import Channel, Event
from closegap_workers.outcome import failure_of
from closegap_workers.ray_channel import Remote
from closegap_workers.ray_cluster import joined
from closegap_workers.relay import relayed
from closegap_workers.runners import runner
from closegap_workers.runners.runner import Context, Task
from closegap_workers.spans import traced
from closegap_workers.trials import OVER, Trial, folder_of, note
from closegap_workers.tune_record import record_of

RESTARTS = 2
"""How often Ray starts a trial again after its process died."""
STOP_SECONDS = 20.0
"""How long trials may take over their checkpoints when the sweep is to stop."""
RECORD = 1.0
"""Seconds between two records of a trial that goes on; what it can lose is a number, its checkpoint is core's."""
_NAME = "sweep"
log = logging.getLogger("closegap.ray")
_BOARD: ContextVar[Board] = ContextVar("board")
"""For Tune's callback, which Tune pickles: a restored one could not hold on to the board of this attempt."""


class SweepStopped(Exception):
    """Leaves Tune's loop before it records its trials as done: the next attempt restores them."""


# --- the attempt's side -----------------------------------------------------------------------------------


def run(context: Context, task: Task) -> Task | None:
    """Run every trial that is not over yet; the table of all of them. None when asked to stop."""
    board = Board(context.stream, task)
    storage = record_of(context.home, context.job)
    if board.open():
        storage.mkdir(parents=True, exist_ok=True, mode=0o700)
        with joined(context, bundles=1, channel=board) as post:
            _BOARD.set(board)
            try:
                _tuner(context, task, storage, post.mailbox, board).fit()
            except Exception:
                if board.stopped():
                    return None  # whatever Tune makes of SweepStopped
                raise
    shutil.rmtree(storage, ignore_errors=True)
    return {"trials": [trial.to_dict() for trial in board.settle()]}


def _tuner(context: Context, task: Task, storage: Path, mailbox: Any, board: Board) -> tune.Tuner:
    spec = context.spec
    assert isinstance(spec, SweepSpec)
    work = partial(_trial, tasks=task["trials"], folder=task["folder"], mailbox=mailbox)
    resources = {"cpu": spec.resources.cpus, "gpu": spec.resources.gpus}
    trainable = tune.with_resources(work, resources)
    if tune.Tuner.can_restore(str(storage / _NAME)):
        return tune.Tuner.restore(
            str(storage / _NAME), trainable=trainable, resume_unfinished=True, resume_errored=True
        )
    return tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(board.open())},
        tune_config=tune.TuneConfig(
            metric="elbo",
            mode="max",
            scheduler=_scheduler(spec, task),
            max_concurrent_trials=spec.concurrent,
            reuse_actors=True,  # a further trial costs 0.2 s instead of a process's start
        ),
        run_config=tune.RunConfig(
            name=_NAME,
            storage_path=str(storage),
            verbose=0,
            callbacks=[_Watch()],
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
        ),
    )


def _scheduler(spec: SweepSpec, task: Task) -> TrialScheduler:
    if spec.scheduler.kind == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    longest = max(trial["epochs"] for trial in task["trials"])
    return ASHAScheduler(
        time_attr="epoch",
        # One more than there are: ASHA stops a trial at max_t, before it could write its model.
        max_t=longest + 1,
        grace_period=min(spec.scheduler.grace_epochs, longest),
        reduction_factor=spec.scheduler.reduction,
    )


@final
class _Watch(tune.Callback):
    """Called by Tune in the attempt's process. Has no state."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop when that is wished and every trial has its checkpoint, or has had the time for it."""
        board = _BOARD.get()
        if not board.stopped():
            return
        limit = time.monotonic() + STOP_SECONDS
        while board.running() and time.monotonic() < limit:
            time.sleep(0.1)
        raise SweepStopped

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune is done with a trial."""
        _BOARD.get().close(trial.config["trial"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune has given a trial up."""
        _BOARD.get().lose(trial.config["trial"])


# --- the trial's side -------------------------------------------------------------------------------------


@final
class TrialChannel(Channel):
    """Turns the epochs of a training into the progress of its trial, for the board, the disk and Tune."""

    def __init__(self, remote: Remote, trial: Trial, folder: Path) -> None:
        self._remote, self._trial, self._folder = remote, trial, folder
        self._written = -math.inf

    def put(self, event: Event) -> None:
        if event["type"] == "epoch":
            value = float(event["valid"]["elbo"])
            note(self._folder, event["epoch"], value)
            self.say(epoch=event["epoch"], value=value)
            tune.report({"epoch": event["epoch"], "elbo": value})
        elif event["type"] == "log":
            self._remote.put({**event, "trial": self._trial.id})
        elif event["type"] == "span":
            self._remote.put(event)

    def say(self, **changes: Any) -> None:
        """Record a change of the trial, then tell of it; epochs are recorded once a second, states at once."""
        self._trial = replace(self._trial, **changes)
        if "state" in changes or time.monotonic() > self._written + RECORD:
            self._trial.write(self._folder)
            self._written = time.monotonic()
        self._remote.put(self._trial.event())

    def stopped(self) -> bool:
        return self._remote.stopped()


def _trial(config: dict[str, Any], tasks: list[Task], folder: str, mailbox: Any) -> None:
    task = tasks[config["trial"]]
    place = folder_of(Path(folder), task["id"])
    trial = Trial(id=task["id"], params=task["params"], epochs=task["epochs"]).read(place)
    if trial.state in OVER:
        return
    remote = Remote(mailbox)
    channel = TrialChannel(remote, trial, place)
    channel.say(state="running")
    make_folder(place / "model")
    name, on = f"trial {trial.id}", bool(task["train"].get("traced"))
    with relayed(remote, trial=trial.id), traced(channel, on, name, name, trial=trial.id) as watched:
        _work_on(task, channel, watched)
    remote.flush()


def _work_on(task: Task, channel: TrialChannel, watched: Channel) -> None:
    try:
        answer = runner("train").work(task["train"], watched, SINGLE)
    except (ConnectionError, TimeoutError):
        raise  # Tune starts the trial again
    except Exception as error:
        log.exception("the trial failed")
        channel.say(state="failed", failure=failure_of(error).model_dump(mode="json"))
    else:
        if answer is None:
            channel.say(state="waiting")
            time.sleep(STOP_SECONDS * 2)  # until it is ended: a return would tell Tune that the trial is done
        else:
            channel.say(state="completed", value=answer["summary"]["valid_elbo"])
