"""Work on Ray: ranks, tasks and trials, killed and cancelled, and nothing of them left in the cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from closegap.job import Job, State
from closegap.queue.queue import Queue
from closegap.settings import Settings, environment
from closegap.specs import spec
from closegap.storage.artifacts import ArtifactStore
from closegap_workers.cluster import Cluster
from closegap_workers.outcome import RequestError
from closegap_workers.ray_cluster import check
from closegap_workers.tensorboard import recorded
from tests.workers.working import TRAIN, Epochs, Over, Start, Submit, alive, fitted, training, until

LONG = 20_000
SOON = 180.0
"""Seconds; a train run starts four processes, each of which imports torch."""

STATE = """
import json, sys
from closegap_workers.cluster import state_of
state = state_of(sys.argv[1])
actors = [a["ActorClassName"] for a in state.actor_table(None, None, None).values() if a["State"] != "DEAD"]
groups = [g["state"] for g in state.placement_group_table().values() if g["state"] != "REMOVED"]
json.dump({"actors": actors, "groups": groups, "cpus": state.available_resources().get("CPU", 0)}, sys.stdout)
"""


def left(cluster: Cluster) -> dict[str, Any]:
    """Actors, placement groups and free CPUs of the cluster, asked by a process that does not join it."""
    command = [sys.executable, "-c", STATE, cluster.address]
    done = subprocess.run(
        command, env=environment(**cluster.variables()), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_empty(cluster: Cluster) -> bool:
    """Whether nothing of any job is in the cluster."""
    return left(cluster) == {"actors": [], "groups": [], "cpus": cluster.cpus}


def ranks() -> list[psutil.Process]:
    """Ray Train's workers on this machine that are below this test session."""
    below = psutil.Process(os.getpid()).children(recursive=True)
    return [process for process in below if alive(process) and "RayTrainWorker" in process.cmdline()[0]]


def has_checkpoint(settings: Settings, job: Job) -> None:
    """Wait for a job's first; events are on their way for longer than a short training takes."""
    work = ArtifactStore(settings.storage).work(job.work)
    until(lambda: list(work.glob("*/checkpoints/step-*")), SOON, "a checkpoint", pause=0.005)


def test_two_ranks_of_which_one_is_killed_train_what_one_rank_does(
    start: Start,
    submit: Submit,
    over: Over,
    epochs: Epochs,
    cluster: Cluster,
    settings: Settings,
    tmp_path: Path,
) -> None:
    value = training(epochs=60, workers=2)
    job = submit(value)
    start("--until-idle")
    until(lambda: len(epochs(job)) >= 2, SOON)
    ranks()[-1].kill()
    done = over(job, State.SUCCEEDED, SOON)
    assert done.attempt == 1, "Ray starts the group again, not the queue the attempt"
    mine = fitted(value, tmp_path)
    reported = {epoch["epoch"]: epoch["valid"]["elbo"] for epoch in epochs(job)}
    assert list(reported.values()) == pytest.approx(
        [epoch["valid"]["elbo"] for epoch in mine.history], rel=1e-4
    )
    until(lambda: is_empty(cluster), 20)


def test_a_killed_driver_leaves_nothing_and_the_next_goes_on_to_the_very_same_weights(
    start: Start,
    submit: Submit,
    over: Over,
    epochs: Epochs,
    cluster: Cluster,
    settings: Settings,
    tmp_path: Path,
) -> None:
    value = training(epochs=40, workers=1)
    job = submit(value)
    worker = start("--jobs", "1")
    has_checkpoint(settings, job)
    worker.attempt().kill()
    assert worker.end(60) == 0
    assert not ranks()
    assert is_empty(cluster)
    start("--until-idle")
    done = over(job, State.SUCCEEDED, SOON)
    assert done.attempt == 2
    mine = fitted(value, tmp_path)
    store = ArtifactStore(settings.storage)
    assert store.open(done.outputs["model"]).file("weights.safetensors").read_bytes() == mine.weights
    inline = {epoch["epoch"]: epoch["valid"]["elbo"] for epoch in mine.history}
    kept = json.loads(store.open(done.outputs["model"]).file("metrics.json").read_text())["history"]
    assert {epoch["epoch"]: epoch["valid"]["elbo"] for epoch in kept} == inline, "not what inline gives"
    # The stream lacks what was on its way when the driver was killed; the model's history lacks nothing.
    reported = {epoch["epoch"]: epoch["valid"]["elbo"] for epoch in epochs(job)}
    assert reported.items() <= inline.items()
    assert len(reported) > len(inline) / 2
    assert max(reported) == max(inline)


def test_cancel_reaches_all_ranks(
    start: Start,
    submit: Submit,
    over: Over,
    epochs: Epochs,
    queue: Queue,
    cluster: Cluster,
    settings: Settings,
) -> None:
    job = submit(training(LONG, workers=2))
    start()
    until(lambda: len(epochs(job)) >= 2, SOON)
    asked = time.monotonic()
    queue.cancel(job.id)
    over(job, State.CANCELLED, 30)
    assert time.monotonic() - asked < settings.grace_seconds, "it was killed"
    assert list(ArtifactStore(settings.storage).work(job.work).glob("*/checkpoints/step-*"))
    assert not ranks()
    until(lambda: is_empty(cluster), 20)


def test_tasks_do_what_inline_work_does(
    start: Start, queue: Queue, over: Over, cluster: Cluster, settings: Settings
) -> None:
    evaluation = {"kind": "evaluate", "model": "${t.model}", "evaluation": {"importance_samples": 5}}
    one, none = {"resources": {"workers": 1}}, {"resources": {"workers": 0}}
    jobs = queue.submit(
        spec.parse(
            [
                {**TRAIN, "name": "t"},
                {**evaluation, "name": "here", **none},
                {**evaluation, "name": "there", **one},
                {"kind": "export", "name": "x", "model": "${t.model}", "export": {"rows": 33}, **one},
                {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}, **one},
                {"kind": "encode", "name": "bad", "model": "${t.model}", "data": {"part": "test"}, **one},
            ]
        )
    )
    start("--until-idle")
    _, here, there, _, encode = [over(job, State.SUCCEEDED) for job in jobs[:5]]
    store = ArtifactStore(settings.storage)
    files = [store.open(job.outputs["report"]).file("metrics.json").read_bytes() for job in (here, there)]
    assert files[0] == files[1]
    assert encode.outputs["rows"] == 128
    failed = over(jobs[5], State.FAILED)
    assert failed.error is not None
    assert failed.error.failure == "user"
    assert "encoder.onnx" in failed.error.message
    assert is_empty(cluster)


SWEEP: dict[str, Any] = {
    "kind": "sweep",
    "train": {name: TRAIN[name] for name in ("data", "model", "inference")} | {"training": {"epochs": 120}},
    "space": {"training.learning_rate": {"grid": [1e-3, 1e-2]}, "inference.iterations": {"grid": [1, 2]}},
    "scheduler": {"kind": "none"},
    "concurrent": 2,
    "register": "best",
}


def test_a_sweep_whose_driver_is_killed_and_then_drained_goes_on_with_its_trials(
    start: Start,
    submit: Submit,
    over: Over,
    queue: Queue,
    cluster: Cluster,
    settings: Settings,
    tmp_path: Path,
) -> None:
    def reached(attempt: int) -> list[int]:
        """Epochs that the first trial has trained since an attempt began; not what it began with."""
        events = queue.events(job.id, limit=10_000)
        begins = [n for n, e in enumerate(events) if e.type == "state" and e.data["to"] == "running"]
        if len(begins) < attempt:
            return []
        trials = [e.data for e in events[begins[attempt - 1] :] if e.type == "trial" and e.data["id"] == 0]
        return [trial["epoch"] for trial in trials][1:]

    job = submit(SWEEP)
    worker = start()
    until(lambda: max(reached(1), default=0) > 10, SOON)
    worker.attempt().kill()
    until(lambda: max(reached(2), default=0) >= 40, SOON)
    worker.kill(signal.SIGTERM)
    assert worker.end() == 0
    assert queue.get(job.id).state is State.QUEUED
    start("--until-idle")
    done = over(job, State.SUCCEEDED, SOON)
    assert done.attempt == 3
    assert done.retries_spent == {"infrastructure": 1, "preempted": 1}
    assert min(reached(2)) > 8, "the second attempt began the trial anew"
    assert min(reached(3), default=120) >= 40, "the third attempt began the trial anew"
    store = ArtifactStore(settings.storage)
    table = json.loads(store.open(done.outputs["sweep"]).file("trials.json").read_text())
    assert [trial["params"]["inference.iterations"] for trial in table] == [1, 1, 2, 2]
    assert all(trial["state"] == "completed" for trial in table)
    best = max(table, key=lambda trial: float(trial["value"]))
    assert done.outputs["best"]["params"] == best["params"]
    config = json.loads(store.open(done.outputs["model"]).file("config.json").read_text())["train"]
    assert config["training"]["learning_rate"] == best["params"]["training.learning_rate"]
    mine = fitted(config, tmp_path)
    assert store.open(done.outputs["model"]).file("weights.safetensors").read_bytes() == mine.weights
    assert done.progress is not None
    assert (done.progress.done, done.progress.total) == (480, 480)
    for trial in table:  # each is a run, of three attempts, with every epoch once
        folder = Path(done.outputs["tensorboard"]) / f"trial-{trial['id']:05d}"
        assert [step for _, step in recorded(folder)] == [8 * epoch for epoch in range(1, 121)]
    assert not (settings.home / "tune" / job.id).exists()
    assert is_empty(cluster)


def test_asha_stops_trials_and_a_trial_that_fails_is_only_recorded(
    start: Start, submit: Submit, over: Over, settings: Settings
) -> None:
    job = submit(
        {
            **SWEEP,
            "space": {
                "training.learning_rate": {"grid": [1e-2, 1e-5, 1e-6, 1e-7]},
                "training.batch_size": {"grid": [64, 10_000]},
            },
            "train": {**SWEEP["train"], "training": {"epochs": 8}},
            "scheduler": {"kind": "asha", "grace_epochs": 1, "reduction": 2},
            "concurrent": 1,
        }
    )
    start("--until-idle")
    done = over(job, State.SUCCEEDED, SOON)
    table = json.loads(
        ArtifactStore(settings.storage).open(done.outputs["sweep"]).file("trials.json").read_text()
    )
    states = [trial["state"] for trial in table]
    assert states[4:] == ["failed"] * 4
    assert "batch_size" in table[4]["failure"]["message"]
    assert states[0] == "completed"
    assert "stopped" in states
    assert done.outputs["best"]["trial"] == 0


def test_a_trial_whose_process_dies_again_and_again_has_failed_and_was_not_stopped(
    start: Start, submit: Submit, queue: Queue, over: Over
) -> None:
    """As where every trial takes more memory than there is: that is no fault of the spec."""

    def killed() -> Job:
        for process in psutil.Process(os.getpid()).children(recursive=True):
            if alive(process) and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                process.kill()
        return queue.get(job.id)

    training = {"training": {"epochs": 100_000}}
    space = {"training.learning_rate": {"grid": [1e-3]}}
    job = submit(
        {**SWEEP, "train": {**SWEEP["train"], **training}, "space": space, "retries": {"infrastructure": 0}}
    )
    start("--until-idle")
    until(lambda: killed().state.terminal, SOON, pause=0.5)
    failed = over(job, State.FAILED, SOON)
    assert failed.error is not None
    assert (failed.error.failure, failed.error.message) == (
        "infrastructure",
        "all of 1 trials failed; one of them: the process of trial 0 died again and again",
    )


NODE = {"Alive": True, "Resources": {"CPU": 2.0}}


def test_a_request_that_no_node_can_hold_is_refused_with_what_there_is() -> None:
    check([NODE, NODE], bundles=4, cpus=1, gpus=0)
    with pytest.raises(RequestError, match=r"asks? for 3 x .2 CPUs.*room for 2"):
        check([NODE, NODE], bundles=3, cpus=2, gpus=0)
    with pytest.raises(RequestError, match=r"1 GPUs.*2 CPUs, 0 GPUs"):
        check([NODE], bundles=1, cpus=1, gpus=1)
    with pytest.raises(RequestError, match="no node"):
        check([{**NODE, "Alive": False}], bundles=1, cpus=1, gpus=0)
