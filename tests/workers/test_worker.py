"""What a worker does with its attempts, when all goes well and when something is killed. Attempts run inline."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil

from closegap.job import Capacity, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap.store.embedded import EmbeddedStore
from closegap.store.store import connect
from tests.workers.working import (
    TRAIN,
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

LONG = 20_000
"""Epochs of a job that is not to end by itself."""


EPOCHS = 12


def test_a_pipeline_runs_to_its_end_and_tells_of_it(
    start: Start, queue: Queue, over: Over, settings: Settings
) -> None:
    inline = {"resources": {"workers": 0}}
    jobs = queue.submit(
        spec.parse(
            [
                {**TRAIN, "name": "t", "register": "tiny"},
                {"kind": "evaluate", "name": "e", "model": "${t.model}", **inline}
                | {"evaluation": {"importance_samples": 5, "refinement": None}},
                {"kind": "export", "name": "x", "model": "${t.model}", "export": {"rows": 33}, **inline},
                {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}, **inline},
                {"kind": "compare", "name": "b", "comparison": {"title": "One", "scale": "small"}}
                | {"reports": [{"label": "tiny", "report": "${e.report}"}]},
            ]
        )
    )
    start("--until-idle")
    train, evaluate, export, encode, compare = [over(job, State.SUCCEEDED) for job in jobs]
    store = ArtifactStore(settings.storage)
    assert store.open(evaluate.outputs["report"]).lineage["parent"] == train.outputs["model"]
    assert store.open(export.outputs["model"]).file("encoder.onnx").is_file()
    compared = store.open(compare.outputs["comparison"])
    assert compared.lineage["parents"] == [evaluate.outputs["report"]]
    assert set(compared.files) == {"table.json", "table.md", "figure.png", "report.html"}
    assert Path(compare.outputs["path"]) == compared.path
    assert encode.outputs["rows"] == 128
    assert Path(encode.outputs["path"]) == store.open(encode.outputs["encoding"]).path
    assert Registry(store).resolve("tiny").digest == train.outputs["model"]
    assert [path.name for path in store.work(train.work).iterdir()] == ["logs"]
    assert not list((store.root / "staging").iterdir())
    events = queue.events(train.id)
    assert [event.data["epoch"] for event in events if event.type == "epoch"] == [1, 2, 3]
    for job in (train, evaluate, export, encode):
        assert job.progress is not None
        assert job.progress.done == job.progress.total


def test_a_killed_attempt_is_run_again_from_its_checkpoint_to_the_very_same_weights(
    start: Start, submit: Submit, over: Over, epochs: Epochs, settings: Settings, tmp_path: Path
) -> None:
    value = training(EPOCHS)
    job = submit(value)
    worker = start()
    worker.held(work_of(settings, job)).kill()
    done = over(job, State.SUCCEEDED)
    assert done.attempt == 2
    assert done.retries_spent == {"infrastructure": 1}
    numbers = [epoch["epoch"] for epoch in epochs(job)]
    assert numbers[-1] == EPOCHS
    assert len(numbers) <= EPOCHS + 1, "the second attempt began at the first epoch again"
    assert weights(settings, done) == fitted(value, tmp_path).weights


def test_a_killed_attempt_says_how_it_died(start: Start, submit: Submit, over: Over, epochs: Epochs) -> None:
    job = submit(training(LONG, retries={"infrastructure": 0}))
    worker = start()
    until(lambda: epochs(job))
    worker.attempt().kill()
    failed = over(job, State.FAILED)
    assert failed.error is not None
    assert failed.error.failure == "infrastructure"
    assert "SIGKILL" in failed.error.message


def test_a_killed_worker_takes_its_attempt_along_and_another_goes_on(
    start: Start, submit: Submit, over: Over, settings: Settings, tmp_path: Path
) -> None:
    value = training(EPOCHS)
    job = submit(value)
    first = start()
    attempt = first.held(work_of(settings, job))
    first.kill(signal.SIGKILL)
    first.end()
    until(lambda: not alive(attempt), 5)
    killed = time.monotonic()
    start()
    done = over(job, State.SUCCEEDED)
    assert done.attempt == 2
    assert time.monotonic() - killed < 60
    assert weights(settings, done) == fitted(value, tmp_path).weights


def test_cancel_stops_an_attempt_with_a_checkpoint(
    start: Start, submit: Submit, over: Over, epochs: Epochs, queue: Queue, settings: Settings
) -> None:
    job = submit(training(LONG))
    worker = start()
    until(lambda: epochs(job))
    attempt = worker.attempt()
    queue.cancel(job.id, actor="ada")
    cancelled = over(job, State.CANCELLED)
    assert not alive(attempt)
    assert "ada" in cancelled.reason
    work = work_of(settings, job)
    assert list(work.glob("*/checkpoints/step-*"))
    said = (work / "logs" / "attempt-1.log").read_text()
    assert "it stops at its checkpoint, as it was asked to" in said, "it was killed"


def test_an_attempt_that_does_not_heed_is_killed_after_its_grace(
    start: Start, submit: Submit, over: Over, epochs: Epochs, queue: Queue
) -> None:
    job = submit(training(LONG))
    worker = start(grace_seconds=1.0)
    until(lambda: epochs(job))
    attempt = worker.attempt()
    attempt.suspend()  # a stopped process takes no SIGTERM
    queue.cancel(job.id)
    over(job, State.CANCELLED, 10)
    assert not alive(attempt)


def test_sigterm_drains_and_another_worker_goes_on(
    start: Start, submit: Submit, over: Over, queue: Queue, settings: Settings, tmp_path: Path
) -> None:
    value = training(EPOCHS)
    job = submit(value)
    first = start()
    attempt = first.held(work_of(settings, job))
    first.kill(signal.SIGTERM)
    goes_on_when_asked_to_stop(attempt)
    assert first.end() == 0
    assert not alive(attempt)
    given_back = queue.get(job.id)
    assert given_back.state is State.QUEUED
    assert given_back.retries_spent == {"preempted": 1}
    assert queue.workers() == []
    start("--until-idle")
    assert weights(settings, over(job, State.SUCCEEDED)) == fitted(value, tmp_path).weights


def test_a_second_signal_does_not_wait_for_grace(
    start: Start, submit: Submit, epochs: Epochs, queue: Queue
) -> None:
    job = submit(training(LONG))
    worker = start(grace_seconds=600)
    until(lambda: epochs(job))
    attempt = worker.attempt()
    attempt.suspend()
    worker.kill(signal.SIGINT)
    time.sleep(0.5)
    assert alive(attempt)
    worker.kill(signal.SIGINT)
    assert worker.end() == 0
    assert not alive(attempt)
    assert queue.get(job.id).state is State.QUEUED


def test_an_attempt_ends_when_its_lease_is_lost(
    start: Start, submit: Submit, epochs: Epochs, queue: Queue
) -> None:
    job = submit(training(LONG))
    worker = start(lease_seconds=2.0)
    until(lambda: epochs(job))
    attempt = worker.attempt()
    worker.kill(signal.SIGSTOP)  # as a machine that swaps for a while does
    claim = until(lambda: queue.claim("another", Capacity(cpus=1), 60), 10, "the job to be claimable")
    worker.kill(signal.SIGCONT)
    until(lambda: not alive(attempt), 10)
    assert queue.get(job.id).owner == "another"
    assert claim.attempt == 2


def test_a_job_outlasts_the_death_of_its_store(start: Start, settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"home": tmp_path / "own"})
    store = EmbeddedStore(own.home)
    store.start()
    try:
        client = connect(own)
        queue = Queue(client, own.namespace)
        job = queue.submit(spec.parse(training(EPOCHS)))[0]
        attempt = start(home=own.home, lease_seconds=15.0).held(work_of(own, job))  # longer than the outage
        kill_store(own)
        time.sleep(2)
        assert alive(attempt)
        attempt.resume()
        time.sleep(0.1)
        store.stop()
        store.start()
        until(lambda: queue.get(job.id).state.terminal, 150, "the end of the job")
        done = queue.get(job.id)
        assert (done.state, done.attempt) == (State.SUCCEEDED, 1)
        reported = [
            event.data["epoch"] for event in queue.events(job.id, limit=5000) if event.type == "epoch"
        ]
        assert sorted(set(reported)) == list(range(1, EPOCHS + 1)), "events of the outage are missing"
        client.close()
    finally:
        store.stop()


def kill_store(settings: Settings) -> None:
    """SIGKILL to the server of a home, found by the socket that it listens on."""
    client = connect(settings)
    pid = int(client.info("server")["process_id"])
    client.close()
    psutil.Process(pid).kill()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"data": {"source": "digits-9000"}}, "digits-9000"),
    ({"data": {"source": "/etc/passwd"}}, "/etc/passwd"),
    ({"training": {"epochs": 1, "batch_size": 100_000}}, "batch_size"),
]


def test_a_training_that_diverges_fails_once_as_numerical(start: Start, submit: Submit, over: Over) -> None:
    diverging = {
        "model": {
            "likelihood": {"kind": "gaussian", "variance": "predicted"},
            "levels": [{"latent": 4, "decoder": {"hidden": [32], "activation": "relu"}}],
        },
        "inference": {"method": "svi", "iterations": 3, "refiner": {"kind": "sgd", "learning_rate": 10.0}},
        "training": {"epochs": 3, "batch_size": 64, "learning_rate": 1.0},
    }
    job = submit({**TRAIN, **diverging})
    start("--until-idle")
    failed = over(job, State.FAILED)
    assert failed.attempt == 1
    assert failed.error is not None
    assert failed.error.failure == "numerical"
    assert "the gradient of theta is not finite at step" in failed.error.message


def test_bad_input_fails_once_with_its_reason(start: Start, submit: Submit, over: Over) -> None:
    jobs = [(submit({**TRAIN, **fields}), said) for fields, said in BAD]
    start("--until-idle")
    for job, said in jobs:
        failed = over(job, State.FAILED)
        assert failed.attempt == 1
        assert failed.error is not None
        assert failed.error.failure == "user"
        assert said in failed.error.message
