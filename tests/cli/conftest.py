"""The command line against the real embedded store: one server, a namespace and a folder of its own for each test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from closegap.cli.app import build
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.embedded import EmbeddedStore
from closegap.store.store import connect


@dataclass(frozen=True)
class Said:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be exactly one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Said]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a running embedded store."""
    folder = tmp_path_factory.mktemp("home")
    with EmbeddedStore(folder):
        yield folder


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a user: the settings in the environment, an empty namespace."""
    for name in list(os.environ):
        if name.startswith("CLOSEGAP_") or name == "RAY_ADDRESS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOSEGAP_HOME", str(home))
    monkeypatch.setenv("CLOSEGAP_STORAGE", (tmp_path / "storage").as_uri())
    monkeypatch.setenv("CLOSEGAP_NAMESPACE", f"test-{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def closegap(place: Path) -> Command:
    """`closegap ARGUMENTS…` in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Said:
        result = CliRunner().invoke(build(), list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def queue(place: Path) -> Queue:
    """The queue that the commands of this test see."""
    settings = Settings.load()
    return Queue(connect(settings), settings.namespace)


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `closegap ARGUMENTS…` as a process of its own; killed at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from closegap.cli import main; main()", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


TRAIN = """\
kind: train
name: small
data: {source: digits, split: {train: 100, valid: 20, test: 20}}
model: {likelihood: bernoulli, levels: [{latent: 2, decoder: {hidden: [8]}}]}
inference: {method: standard, encoder: {hidden: [8]}}
training: {epochs: 2, batch_size: 50}
resources: {workers: 0}
"""
EVALUATE = """\
kind: evaluate
name: measure
needs: [small]
model: ${small.model}
evaluation: {importance_samples: 5, refinement: null}
resources: {workers: 0}
"""


@pytest.fixture
def train(place: Path) -> str:
    """A small train spec's file."""
    (place / "train.yaml").write_text(TRAIN)
    return "train.yaml"


@pytest.fixture
def pipeline(place: Path) -> str:
    """A train job and an evaluation that needs it."""
    (place / "pipeline.yaml").write_text(f"{TRAIN}---\n{EVALUATE}")
    return "pipeline.yaml"


SCALED = """\
title: Small things at two scales
scales:
  full: {epochs: 500}
  small: {epochs: 1}
pipeline:
  - kind: train
    name: small
    data: {source: digits, split: {train: 100, valid: 20, test: 20}}
    model: {likelihood: bernoulli, levels: [{latent: 2, decoder: {hidden: [8]}}]}
    inference: {method: standard, encoder: {hidden: [8]}}
    training: {epochs: "${scale.epochs}", batch_size: 50}
    resources: {workers: 0}
  - kind: evaluate
    name: measure
    model: ${small.model}
    evaluation: {importance_samples: 5, refinement: null}
    resources: {workers: 0}
  - kind: compare
    name: compare
    comparison:
      title: The small model
      scale: ${scale.name}
      columns: [elbo, kl]
      published_in: a thought
    reports: [{label: small, report: "${measure.report}", published: {elbo: -20}}]
"""


@pytest.fixture
def scaled(place: Path) -> str:
    """A pipeline at two scales, with a comparison at its end."""
    (place / "scaled.yaml").write_text(SCALED)
    return "scaled.yaml"
