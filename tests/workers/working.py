"""A worker as a test sees it, a job that takes tenths of seconds, and waiting."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import psutil

from closegap.job import Job
from closegap.settings import Settings, environment
from closegap.storage.artifacts import ArtifactStore
from closegap_core.config import TrainConfig
from closegap_core.data import load
from closegap_core.fit import finish, fit
from closegap_workers.cluster import Cluster

TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits", "split": {"train": 512, "valid": 128, "test": 128}},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4, "decoder": {"hidden": [32]}}]},
    "inference": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [32]}},
    "training": {"epochs": 3, "batch_size": 64},
    "resources": {"workers": 0},
}
"""A model that takes a tenth of a second an epoch."""


def training(epochs: int, workers: int = 0, **fields: Any) -> dict[str, Any]:
    """`TRAIN` for so many epochs."""
    resources = {**TRAIN["resources"], "workers": workers}
    return {**TRAIN, "training": {"epochs": epochs, "batch_size": 64}, "resources": resources, **fields}


def until(true: Callable[[], Any], seconds: float = 60.0, what: str = "", pause: float = 0.05) -> Any:
    """Wait for something to be true; what it was."""
    limit = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < limit, f"still waiting after {seconds:g} s: {what or true}"
        time.sleep(pause)
    return value


@final
class Working:
    """A worker's process."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        log: Path,
        *arguments: str,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        known = cluster.variables() | {
            "CLOSEGAP_HOME": str(settings.home),
            "CLOSEGAP_NAMESPACE": settings.namespace,
            "CLOSEGAP_STORAGE": settings.storage,
            "CLOSEGAP_LEASE_SECONDS": str(settings.lease_seconds),
            "CLOSEGAP_GRACE_SECONDS": str(settings.grace_seconds),
            "CLOSEGAP_BACKOFF_SECONDS": "0.05",
        }
        command = [sys.executable, "-m", "closegap_workers", "worker", *arguments]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(**known, **(variables or {})),
            )

    def attempt(self) -> psutil.Process:
        """The attempt's process, once it is there."""

        def find() -> psutil.Process | None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                if alive(child) and "attempt" in child.cmdline():
                    return child
            return None

        found: psutil.Process = until(find, what="an attempt's process")
        return found

    def held(self, work: Path, made: str = "checkpoints/step-*") -> psutil.Process:
        """The attempt's process, suspended once it has made something in its work folder, however fast it is."""
        until(lambda: list(work.glob(f"held-*/{made}")), what=made, pause=0.005)
        found = self.attempt()
        found.suspend()
        return found

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = 30.0) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(seconds)


Start = Callable[..., Working]
Submit = Callable[..., Job]
Over = Callable[..., Job]
Epochs = Callable[[Job], list[dict[str, Any]]]
"""What the fixtures of these names give."""


def alive(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def goes_on_when_asked_to_stop(process: psutil.Process) -> None:
    """Let a suspended process go on as soon as a SIGTERM waits for it."""

    def waits() -> bool:
        pending = re.search(r"ShdPnd:\s*([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text())
        assert pending is not None
        return bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)

    until(waits, 15, "the attempt to be asked to stop")
    process.resume()


def work_of(settings: Settings, job: Job) -> Path:
    """Its work folder."""
    return ArtifactStore(settings.storage).work(job.work)


def weights(settings: Settings, job: Job) -> bytes:
    """Of a trained model."""
    return ArtifactStore(settings.storage).open(job.outputs["model"]).file("weights.safetensors").read_bytes()


class Fitted(NamedTuple):
    """What a training gives: its weights file, and the history of its epochs."""

    weights: bytes
    history: list[dict[str, Any]]


def fitted(value: Mapping[str, Any], folder: Path) -> Fitted:
    """The training of a train spec, done in this process, at once and undisturbed."""
    config = TrainConfig.model_validate({name: value[name] for name in TrainConfig.model_fields})
    dataset = load(config.data, config.model.likelihood.kind, [])
    for _ in fit(config, dataset, folder / "checkpoints"):
        pass
    (folder / "model").mkdir()
    finish(config, dataset, folder / "checkpoints", folder / "model")
    history = json.loads((folder / "model" / "metrics.json").read_text())["history"]
    return Fitted((folder / "model" / "weights.safetensors").read_bytes(), history)
