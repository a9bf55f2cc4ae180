"""Work interrupted on purpose — paused, preempted, drained — goes on from its checkpoint, to the same weights."""

from __future__ import annotations

import json
from pathlib import Path

from closegap.job import State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.storage.artifacts import ArtifactStore
from tests.workers.working import (
    Epochs,
    Over,
    Start,
    Submit,
    alive,
    fitted,
    goes_on_when_asked_to_stop,
    training,
    until,
    weights,
    work_of,
)

EPOCHS = 12
ABSENT = {"kind": "evaluate", "model": "sha256:" + "0" * 64, "resources": {"workers": 0}}


def test_a_paused_job_goes_on_from_its_checkpoint(
    start: Start,
    submit: Submit,
    over: Over,
    epochs: Epochs,
    queue: Queue,
    settings: Settings,
    tmp_path: Path,
) -> None:
    value = training(EPOCHS)
    job = submit(value)
    worker = start()
    attempt = worker.held(work_of(settings, job))
    assert queue.pause(job.id, actor="ada").state is State.RUNNING
    goes_on_when_asked_to_stop(attempt)
    paused = until(lambda: (now := queue.get(job.id)).state is State.PAUSED and now, 10, "the pause")
    assert (paused.reason, paused.retries_spent) == ("paused by ada", {})
    assert not alive(attempt)
    assert list(work_of(settings, job).glob("*/checkpoints/step-*"))
    done_before = len(epochs(job))
    assert done_before < EPOCHS
    over(submit(ABSENT), State.FAILED)  # the worker is free for others
    assert queue.get(job.id).state is State.PAUSED
    queue.resume(job.id)
    done = over(job, State.SUCCEEDED)
    assert done.attempt == 2
    assert len(epochs(job)) <= EPOCHS + 1, f"it began again after {done_before} epochs"
    assert weights(settings, done) == fitted(value, tmp_path).weights


def test_a_preempted_job_makes_way_and_goes_on_from_its_checkpoint(
    start: Start,
    submit: Submit,
    over: Over,
    epochs: Epochs,
    queue: Queue,
    settings: Settings,
    tmp_path: Path,
) -> None:
    value = training(EPOCHS, preemptible=True, priority=10)
    low = submit(value)
    attempt = start().held(work_of(settings, low))
    high = submit(training(epochs=2, priority=90))
    goes_on_when_asked_to_stop(attempt)
    over(high, State.SUCCEEDED)
    back = queue.get(low.id)
    assert not back.state.terminal
    assert back.retries_spent == {"preempted": 1}
    moves = [event.data["reason"] for event in queue.events(low.id) if event.type == "state"]
    assert any(f"preempted by {high.id} (priority 90)" in reason for reason in moves)
    done = over(low, State.SUCCEEDED)
    assert done.attempt == 2
    assert len(epochs(low)) <= EPOCHS + 1
    assert weights(settings, done) == fitted(value, tmp_path).weights


def test_a_worker_that_is_drained_now_gives_its_job_to_another(
    start: Start, submit: Submit, over: Over, queue: Queue, settings: Settings
) -> None:
    job = submit(training(EPOCHS))
    first = start()
    attempt = first.held(work_of(settings, job))
    [drained] = queue.workers()
    queue.drain(drained.id, now=True, actor="ada")
    goes_on_when_asked_to_stop(attempt)
    back = until(lambda: (now := queue.get(job.id)).state is State.QUEUED and now, 10, "the job to come back")
    assert f"worker {drained.id} was drained by ada" in back.reason
    until(lambda: "drained by ada" in first.log.read_text(), 5, "the worker to hear of it")
    assert first.process.poll() is None
    start()
    done = over(job, State.SUCCEEDED)
    assert (done.attempt, done.retries_spent) == (2, {"preempted": 1})
    owners = [event.data["actor"] for event in queue.events(job.id) if event.data.get("to") == "claimed"]
    assert owners[0] == drained.id != owners[1]
    queue.undrain(drained.id)
    until(lambda: "undrained" in first.log.read_text(), 5, "the worker to hear of it")


def test_the_id_of_the_request_is_in_the_attempts_log(
    start: Start, over: Over, queue: Queue, settings: Settings
) -> None:
    [job] = queue.submit(
        spec.parse({**training(1), "data": {"source": "no-such-data"}}), request_id="r-%s-17"
    )
    start("--until-idle")
    over(job, State.FAILED)
    log = ArtifactStore(settings.storage).work(job.work) / "logs" / "attempt-1.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["job"], line["attempt"], line["request_id"]) for line in lines} == {(job.id, 1, "r-%s-17")}
