"""What trainings leave for TensorBoard and MLflow, and that a training is the same with and without."""

from __future__ import annotations

import io
import json
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.crc32c import _crc32c
from tensorboardX.proto.event_pb2 import Event as Recorded

from closegap.job import Job, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.specs.kinds import TrainSpec
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core.config import TrainConfig
from closegap_core.data import load
from closegap_core.fit import EpochMetrics, fit
from closegap_workers.attempt import _end_runs
from closegap_workers.channel import Channel, Event, Stream
from closegap_workers.mlflow_run import MlflowRun, client_of, link
from closegap_workers.recorder import Recorder, scalars
from closegap_workers.recorders import Recorders, recorders
from closegap_workers.runners.runner import Context, Result
from closegap_workers.runners.train import past, run_file, tensorboard_output, train_task
from closegap_workers.tensorboard import PATTERN, TensorBoard, _masked, _records, framed, recorded
from tests.workers.working import Over, Start, Submit, fitted, training, until

TRIALS = ("trial-00000", "trial-00001", "trial-00002")


def epoch(number: int) -> Event:
    """As `fit` says it."""
    bound = {"elbo": -30.5 - number, "log_likelihood": -25.0, "kl": 5.5 + number}
    valid = {**bound, "elbo_by_iteration": [-40.0, -35.0, bound["elbo"]]}
    return {
        "type": "epoch", "epoch": number, "epochs": 9, "step": 8 * number, "train": bound, "valid": valid,
        "learning_rate": 2e-4, "seconds": 0.5, "kl_weight": 0.25 * number, "gradient_norm": {"phi": 2.0},
    }  # fmt: skip


def read(folder: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard's own message type makes of the files: scalars by step. A step comes once."""
    found: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob(PATTERN)):
        version, *events = [Recorded.FromString(data) for data in _records(path.read_bytes())]
        assert version.file_version == "brain.Event:2"
        for event in events:
            assert event.step not in found
            assert abs(event.wall_time - time.time()) < 600
            found[event.step] = {value.tag: value.simple_value for value in event.summary.value}
    return found


class Told(Channel):
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put(self, event: Event) -> None:
        assert event["type"] == "log"
        assert event["level"] == "warning"
        self.lines.append(event["line"])

    def stopped(self) -> bool:
        return False


# --- TensorBoard ------------------------------------------------------------------------------------------


def test_event_files_are_those_that_tensorboard_reads(tmp_path: Path) -> None:
    board = TensorBoard(str(tmp_path))
    for number in (1, 2):
        board.epoch(epoch(number))
    board.close()
    found = read(tmp_path)
    assert set(found) == {8, 16}
    assert found[8] == pytest.approx(
        {
            "elbo/train": -31.5, "elbo/valid": -31.5, "kl/train": 6.5, "kl/valid": 6.5, "epoch": 1.0,
            "log_likelihood/train": -25.0, "log_likelihood/valid": -25.0, "kl_weight": 0.25,
            "learning_rate": 2e-4, "gradient_norm/phi": 2.0, "seconds_per_epoch": 0.5, "elbo_by_iteration/00": -40.0,
            "elbo_by_iteration/01": -35.0, "elbo_by_iteration/02": -31.5,
        }
    )  # fmt: skip
    for data in (b"", b"123456789", bytes(range(256))):
        crc = _crc32c(data)
        assert _masked(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert list(_records(framed(data))) == [data]


def test_a_later_attempt_goes_on_after_the_last_whole_epoch(tmp_path: Path) -> None:
    first = TensorBoard(str(tmp_path))
    for number in (1, 2, 3):
        first.epoch(epoch(number))
    first.close()
    [file] = tmp_path.glob(PATTERN)
    whole = file.read_bytes()
    for cut in (1, 7, 40):  # the writer was killed in the middle of the third
        file.write_bytes(whole[:-cut])
        assert [step for _, step in recorded(tmp_path)] == [8, 16]
    second = TensorBoard(str(tmp_path))
    for number in (2, 3, 4):  # from the checkpoint of the first epoch
        second.epoch(epoch(number))
    second.close()
    assert sorted(read(tmp_path)) == [8, 16, 24, 32]
    third = TensorBoard(str(tmp_path))
    third.epoch(epoch(4))
    third.close()
    assert len(list(tmp_path.glob(PATTERN))) == 2  # nothing new, no file


def test_a_recorder_that_fails_says_so_once_and_harms_nobody() -> None:
    class Broken(Recorder):
        name = "Broken"

        def epoch(self, event: Event) -> None:
            raise OSError("disk full")

        def close(self) -> None:
            raise AssertionError("it is gone")

    class Sound(Recorder):
        name = "Sound"

        def __init__(self) -> None:
            self.seen: list[int] = []

        def epoch(self, event: Event) -> None:
            self.seen.append(event["epoch"])

        def close(self) -> None:
            self.seen.append(-1)

    said: list[str] = []
    sound = Sound()
    with Recorders([Broken(), sound], said.append) as all_of_them:
        for number in (1, 2):
            all_of_them.epoch(epoch(number))
    assert said == ["Broken records nothing more: OSError: disk full"]
    assert sound.seen == [1, 2, -1]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told, run = Told(), order((tmp_path / "runs").as_uri(), tmp_path / "run.json")
    with recorders({"tensorboard": {"folder": str(tmp_path / "file" / "x")}, "mlflow": run}, told) as records:
        records.epoch(epoch(1))
    assert len(told.lines) == 1
    assert "epochs are not recorded for TensorBoard" in told.lines[0]
    assert (tmp_path / "run.json").exists(), "the other one has nothing to do with it"


def test_a_training_is_the_same_recorded_and_not_and_after_a_kill(
    start: Start, queue: Queue, submit: Submit, over: Over, settings: Settings, tmp_path: Path
) -> None:
    """A job with everything on, whose attempt is killed, against the same training in this process with nothing."""
    uri = (tmp_path / "runs").as_uri()
    job = submit(training(epochs=40, name="recorded"))
    worker = start("--jobs", "2", variables={"CLOSEGAP_MLFLOW_URI": uri})
    until(lambda: len([e for e in queue.events(job.id) if e.type == "epoch"]) >= 4)
    worker.attempt().send_signal(signal.SIGKILL)
    done = over(job, State.SUCCEEDED)
    assert done.attempt == 2
    store = ArtifactStore(settings.storage)
    folder = store.work(job.work) / "logs" / "tensorboard"
    assert done.outputs["tensorboard"] == str(folder)
    metrics = json.loads(store.open(done.outputs["model"]).file("metrics.json").read_text())
    found = read(folder)
    assert sorted(found) == [entry["step"] for entry in metrics["history"]]
    for entry in metrics["history"]:
        assert found[entry["step"]]["elbo/valid"] == pytest.approx(entry["valid"]["elbo"], rel=1e-6)
    _check_run(tmp_path / "runs", done, metrics["history"])

    plain = fitted(training(epochs=40), tmp_path)  # of core alone, undisturbed
    assert store.open(done.outputs["model"]).file("weights.safetensors").read_bytes() == plain.weights


def test_an_operator_may_want_no_records(settings: Settings, tmp_path: Path) -> None:
    [train] = spec.parse(training(epochs=1))
    assert isinstance(train, TrainSpec)
    context = Context(
        job="train-1", attempt=1, spec=train, roots=(), work=tmp_path, logs=tmp_path / "logs", home=tmp_path,
        stage=lambda: tmp_path, registry=Registry(ArtifactStore(settings.storage)),
        stream=Stream(io.StringIO()), ray_address=None,
    )  # fmt: skip
    on = replace(context, tensorboard=True, mlflow={"uri": "file:///x", "experiment": "e"})
    assert set(train_task(on, train.config, tmp_path, tmp_path, "trial-00001")["records"]) == {
        "tensorboard",
        "mlflow",
    }
    assert tensorboard_output(on) == {"tensorboard": str(tmp_path / "logs" / "tensorboard")}
    assert train_task(context, train.config, tmp_path, tmp_path)["records"] == {}
    assert tensorboard_output(context) == {}
    with recorders({}, context.stream) as none:
        none.epoch(epoch(1))
    assert Settings.load().tensorboard
    assert not Settings.load(tensorboard="false").tensorboard


def _check_run(runs: Path, job: Job, history: list[Mapping[str, Any]]) -> None:
    """One run of both attempts, with every epoch once, its parameters, tags and the link to its model."""
    [meta] = [path for path in runs.glob("*/*/meta.yaml") if path.parent.name != "models"]
    run = meta.parent
    assert (run / "tags" / "closegap.job").read_text() == job.id
    assert (run / "tags" / "closegap.output.model").read_text() == job.outputs["model"]
    assert (run / "tags" / "closegap.digest").read_text() == job.digest
    assert (run / "params" / "training.epochs").read_text() == "40"
    lines = [line.split() for line in (run / "metrics" / "elbo" / "valid").read_text().splitlines()]
    assert [int(step) for _, _, step in lines] == [entry["step"] for entry in history]
    assert [float(value) for _, value, _ in lines] == [entry["valid"]["elbo"] for entry in history]
    assert "status: 3" in meta.read_text()  # FINISHED


# --- MLflow -----------------------------------------------------------------------------------------------


def order(uri: str, file: Path) -> dict[str, Any]:
    """Of one run."""
    config = {"training": {"epochs": 3}}
    return {
        "uri": uri, "experiment": "closegap", "name": "train-1", "file": str(file), "tags": {}, "config": config
    }  # fmt: skip


def test_a_tracking_server_that_is_away_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    monkeypatch.setattr("closegap_workers.mlflow_run.CLOSE_SECONDS", 120.0)
    told: list[str] = []
    run = MlflowRun(order("http://127.0.0.1:9", tmp_path / "run.json"), told.append)
    begun = time.monotonic()
    for number in (1, 2, 3):
        run.epoch(epoch(number))
    assert time.monotonic() - begun < 0.5  # a training does not wait for it
    run.close()
    assert len(told) == 1
    assert told[0].startswith("MLflow records nothing more: ")
    with pytest.raises(FileNotFoundError):
        link("http://127.0.0.1:9", tmp_path / "run.json", {}, "FINISHED")


def test_an_epoch_that_was_half_recorded_is_made_whole_and_none_comes_twice(tmp_path: Path) -> None:
    """As after a kill between two of its metrics."""
    told: list[str] = []
    uri, file = (tmp_path / "runs").as_uri(), tmp_path / "run.json"
    run = MlflowRun(order(uri, file), told.append)
    run.epoch(epoch(1))
    run.close()
    client, run_id = client_of(uri), json.loads(file.read_text())["run"]
    half = dict(list(scalars(epoch(2)).items())[:5])
    for name, value in half.items():
        client.log_metric(run_id, name, value, step=16)
    again = MlflowRun(order(uri, file), told.append)
    for number in (1, 2, 3):
        again.epoch(epoch(number))
    again.close()
    assert not told
    for name in scalars(epoch(1)):
        found = client.get_metric_history(run_id, name)
        assert [(metric.step, metric.value) for metric in found] == [
            (8 * number, scalars(epoch(number))[name]) for number in (1, 2, 3)
        ]
    assert client.get_run(run_id).data.params == {"training.epochs": "3"}


def test_only_the_best_trials_run_has_the_model_and_one_that_failed_has_failed(
    settings: Settings, tmp_path: Path
) -> None:
    uri, told = (tmp_path / "runs").as_uri(), []
    [train] = spec.parse(training(epochs=1))
    context = Context(
        job="sweep-1", attempt=1, spec=train, roots=(), work=tmp_path, logs=tmp_path / "logs", home=tmp_path,
        stage=lambda: tmp_path, registry=Registry(ArtifactStore(settings.storage)),
        stream=Stream(io.StringIO()), ray_address=None, mlflow={"uri": uri, "experiment": "closegap"},
    )  # fmt: skip
    for trial in TRIALS:
        run = MlflowRun(order(uri, run_file(context.logs, trial)), told.append)
        run.close()
    assert not told
    _end_runs(
        context,
        Result({}, trial=TRIALS[1], failed=frozenset(TRIALS[2:])),
        {"model": "m", "best": {"trial": 1}},
    )
    client = client_of(uri)
    runs = [client.get_run(json.loads(run_file(context.logs, trial).read_text())["run"]) for trial in TRIALS]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED", "FAILED"]
    outputs = [{name: tag for name, tag in run.data.tags.items() if "output" in name} for run in runs]
    assert outputs == [{}, {"closegap.output.model": "m", "closegap.output.best": '{"trial": 1}'}, {}]
    _end_runs(context)
    assert client.get_run(runs[0].info.run_id).info.status == "FAILED"


def test_trials_that_begin_together_share_one_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri, told = (tmp_path / "runs").as_uri(), []
    experiment = client_of(uri).create_experiment("closegap")
    ask, answers = MlflowClient.get_experiment_by_name, iter([None])  # asked before the other had made it
    monkeypatch.setattr(
        MlflowClient, "get_experiment_by_name", lambda client, name: next(answers, ask(client, name))
    )
    run = MlflowRun(order(uri, tmp_path / "run.json"), told.append)
    run.close()
    assert not told
    assert [run.info.experiment_id for run in client_of(uri).search_runs([experiment])] == [experiment]


@pytest.mark.parametrize(
    "uri", ["runs", "s3://bucket", "file://", "http://bob:pw@host", "databricks", "ftp://x"]
)
def test_only_places_that_an_operator_may_mean_are_taken(uri: str) -> None:
    from closegap.errors import SettingsError

    with pytest.raises(SettingsError, match="MLFLOW_URI") as caught:
        Settings.load(mlflow_uri=uri)
    assert "pw" not in str(caught.value)


def test_an_epoch_that_was_saved_and_not_recorded_is_recorded_by_the_next_attempt(tmp_path: Path) -> None:
    value = training(epochs=3)
    config = TrainConfig.model_validate({name: value[name] for name in TrainConfig.model_fields})
    dataset = load(config.data, config.model.likelihood.kind, [])
    board = TensorBoard(str(tmp_path / "board"))
    for event in fit(config, dataset, tmp_path / "checkpoints"):
        if isinstance(event, EpochMetrics) and event.epoch == 2:
            break  # as a kill between the checkpoint and the record
        if isinstance(event, EpochMetrics):
            board.epoch(event.to_dict())
    board.close()
    later = TensorBoard(str(tmp_path / "board"))
    for entry in past(tmp_path / "checkpoints"):
        later.epoch({"type": "epoch", **entry})
    later.close()
    assert sorted(read(tmp_path / "board")) == [8, 16]
    assert past(tmp_path / "none") == []
