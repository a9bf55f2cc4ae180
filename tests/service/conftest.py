"""Specs, stores that may be killed, and processes that may be killed with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from closegap.settings import Settings
from closegap.specs import spec
from closegap.specs.spec import Spec
from closegap.storage.artifacts import ArtifactStore
from closegap_core import bundle

TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": "standard",
}

Train = Callable[..., list[Spec]]
Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def train() -> Train:
    """One train spec with some fields changed."""
    return lambda **fields: spec.parse({**TRAIN, **fields})


@pytest.fixture
def chain() -> list[Spec]:
    """train -> evaluate, train -> export -> encode."""
    return spec.parse(
        [
            {**TRAIN, "name": "t"},
            {"kind": "evaluate", "name": "e", "model": "${t.model}"},
            {"kind": "export", "name": "x", "model": "${t.model}"},
            {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}},
        ]
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    """An empty artifact store."""
    return ArtifactStore((tmp_path / "storage").as_uri())


@pytest.fixture
def sealed() -> Callable[..., str]:
    """Stage, seal and publish a small model; its digest."""

    def seal(store: ArtifactStore, content: str = "weights", **lineage: str) -> str:
        with store.staged("train-1", 1) as folder:
            (folder / "weights.safetensors").write_text(content)
            bundle.write(folder, "model", dict(lineage))
            return store.publish(folder)

    return seal


@pytest.fixture
def script(settings: Settings) -> Iterator[Script]:
    """Start a process that has `queue`, `artifacts` and `settings`, runs some lines, and can be killed.

    `say(word)` prints a word at once; `hang()` waits to be killed.
    """
    started: list[subprocess.Popen[str]] = []
    prelude = """
import sys, time
from closegap.storage.artifacts import ArtifactStore
from closegap.job import Capacity, Failure
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.store import connect
settings = Settings.load()
queue = Queue(connect(settings), settings.namespace, settings.backoff_seconds)
artifacts = ArtifactStore(settings.storage)
say = lambda word: print(word, flush=True)
hang = lambda: time.sleep(600)
"""

    def start(lines: str) -> subprocess.Popen[str]:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "CLOSEGAP_HOME": str(settings.home),
            "CLOSEGAP_NAMESPACE": settings.namespace,
            "CLOSEGAP_STORAGE": settings.storage,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + lines], stdout=subprocess.PIPE, text=True, env=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def heard() -> Callable[[subprocess.Popen[str]], str]:
    """The next word that a script says."""

    def hear(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        word = process.stdout.readline().strip()
        assert word, f"the script ended with status {process.wait()}"
        return word

    return hear
