"""Workers as real processes, on the session's store and one Ray cluster for the whole session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from closegap.job import Job, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap_workers.cluster import Cluster, Keeper
from tests.workers.working import Working, alive, until

Start = Callable[..., Working]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One Ray head of two CPUs for the whole session, all its processes together."""
    if (
        "PYTEST_XDIST_WORKER" in os.environ
    ):  # a second one here: work is not given out as tests/conftest.py says
        (tmp_path_factory.getbasetemp().parent / "the only ray").mkdir()
    keeper = Keeper(tmp_path_factory.mktemp("ray"), None, 2)
    try:
        yield keeper.ready(lambda: False)
    finally:
        keeper.stop()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Short leases and graces."""
    return settings.model_copy(update={"lease_seconds": 3.0, "grace_seconds": 10.0})


@pytest.fixture
def start(settings: Settings, cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """Start a worker; at the end of the test it is drained, and everything below it must be gone."""
    started: list[Working] = []

    def make(*arguments: str, variables: Mapping[str, str] | None = None, **changes: Any) -> Working:
        log = tmp_path / f"worker-{len(started)}.log"
        changed = settings.model_copy(update=changes)
        started.append(Working(changed, cluster, log, *arguments, variables=variables))
        return started[-1]

    yield make
    for worker in started:
        sys.stdout.write(worker.log.read_text())
        if worker.process.poll() is None:
            below = psutil.Process(worker.process.pid).children(recursive=True)
            worker.kill(signal.SIGTERM)
            worker.kill(signal.SIGTERM)
            worker.end()
            assert not [process for process in below if alive(process)]


@pytest.fixture
def submit(queue: Queue) -> Callable[..., Job]:
    """Submit one spec; its job."""
    return lambda value: queue.submit(spec.parse(value))[0]


@pytest.fixture
def over(queue: Queue) -> Callable[..., Job]:
    """Wait until a job is over; the job."""

    def wait(job: Job, state: State, seconds: float = 90.0) -> Job:
        found: Job = until(
            lambda: (now := queue.get(job.id)).state.terminal and now, seconds, f"the end of {job.name}"
        )
        assert found.state is state, found.error or found.reason
        return found

    return wait


@pytest.fixture
def epochs(queue: Queue) -> Callable[[Job], list[dict[str, Any]]]:
    """The epochs that a job has reported."""
    return lambda job: [event.data for event in queue.events(job.id, limit=5000) if event.type == "epoch"]
