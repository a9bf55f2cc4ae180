"""What a worker sees to after a death: nothing is left, and nobody else begins before that."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from closegap.job import Capacity, Job
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.store import connect
from closegap_workers.board import Board
from closegap_workers.channel import Stream
from closegap_workers.cluster import Cluster
from closegap_workers.execution import Ended
from closegap_workers.leftovers import remove
from closegap_workers.supervisor import Supervisor
from closegap_workers.trials import CURVE, Trial, curve, folder_of, note
from closegap_workers.tune_record import collect, record_of
from tests.workers.working import TRAIN, Working, alive, training, until

LEASE = 3.0


def test_the_lease_is_kept_while_the_cluster_is_looked_through(
    queue: Queue, settings: Settings, submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(TRAIN)
    claim = queue.claim("w", Capacity(cpus=1), LEASE)
    assert claim is not None
    supervisor = Supervisor(settings.model_copy(update={"lease_seconds": LEASE}))
    monkeypatch.setattr(supervisor, "_execute", lambda *_: Ended(None, "SIGKILL", True, "01000000", ""))
    over = threading.Event()

    def others() -> None:
        other = Queue(connect(settings), settings.namespace)
        while not over.wait(0.1):
            other.reap()

    thread = threading.Thread(target=others)
    thread.start()
    # Nobody answers there; to find that out takes longer than the lease.
    supervisor._attempt(claim, Cluster("127.0.0.1:9", 1, 0, None))
    over.set()
    thread.join()
    assert "the attempt's process died: SIGKILL" in queue.get(job.id).reason


def test_what_is_left_on_another_node_is_nobodys_here(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = shutil.which("sleep")
    both = [subprocess.Popen(["ray::Left", "600"], executable=sleep) for _ in range(2)]
    actors = [
        {"Pid": process.pid, "Address": {"IPAddress": address}, "ActorClassName": "Left"}
        for process, address in zip(both, ("127.0.0.1", "192.0.2.1"), strict=True)
    ]
    monkeypatch.setattr("closegap_workers.leftovers._alive", lambda *_: actors)
    monkeypatch.setattr("closegap_workers.leftovers.PATIENCE", 0.0)
    try:
        for process in both:  # a process that has just begun has no command line for a moment
            until(lambda process=process: psutil.Process(process.pid).cmdline()[:1] == ["ray::Left"])
        assert remove("address", "job") == {"killed": [both[0].pid], "left": ["Left"]}
        assert both[0].wait(10) == -signal.SIGKILL
        assert both[1].poll() is None
    finally:
        for process in both:
            process.kill()
            process.wait()


def test_a_store_that_lost_its_records_costs_the_attempt_and_not_the_worker(
    queue: Queue, settings: Settings, submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_STORAGE", settings.storage)
    job = submit(training(20_000))
    claim = queue.claim("w", Capacity(cpus=1), LEASE)
    assert claim is not None
    before = psutil.Process().children()
    client = connect(settings)
    for key in client.scan_iter(f"{{{settings.namespace}}}:*{job.id}"):
        client.delete(key)
    Supervisor(settings)._attempt(claim, Cluster("127.0.0.1:9", 1, 0, None))
    assert psutil.Process().children() == before


def test_tunes_record_of_a_sweep_goes_when_the_sweep_is_over(
    queue: Queue, submit: Callable[..., Job], tmp_path: Path
) -> None:
    collect(tmp_path, queue)  # nothing there yet
    waits, over = submit(TRAIN), submit(TRAIN)
    queue.cancel(over.id)
    for job in (waits.id, over.id, "sweep-0123abcd"):  # the last is of another queue
        (record_of(tmp_path, job) / "sweep").mkdir(parents=True)
    collect(tmp_path, queue)
    assert sorted(path.name for path in (tmp_path / "tune").iterdir()) == sorted([waits.id, "sweep-0123abcd"])
    queue.cancel(waits.id)


def test_a_trial_that_failed_of_the_infrastructure_is_open_to_the_next_attempt(tmp_path: Path) -> None:
    failures = ({"failure": "infrastructure", "message": "full"}, {"failure": "numerical", "message": "NaN"})
    for number, failure in enumerate(failures):
        failed = Trial(id=number, params={}, epochs=3, epoch=1, state="failed", failure=failure)
        failed.write(folder_of(tmp_path, number))
    trials = [{"id": number, "params": {}, "epochs": 3} for number in range(3)]
    board = Board(Stream(io.StringIO()), {"folder": str(tmp_path), "trials": trials})
    assert board.open() == [0, 2]
    found = Trial(id=0, params={}, epochs=3).read(folder_of(tmp_path, 0))
    assert (found.state, found.epoch) == ("waiting", 1)


def test_a_line_that_a_full_disk_has_cut_is_no_point_of_a_curve(tmp_path: Path) -> None:
    for number, value in ((1, -150.25), (2, float("nan")), (3, float("-inf")), (4, -1e-9), (4, -1.5e7)):
        note(tmp_path, number, value)
    with (tmp_path / CURVE).open("a") as stream:
        stream.write("5 -\n6 -8e\n7\n8 -1.2")
    found = curve(tmp_path)
    assert [epoch for epoch, _ in found] == [1, 2, 3, 4, 8]
    assert (found[0][1], found[2][1], found[3][1]) == (-150.25, float("-inf"), -1.5e7)


def test_a_killed_keeper_leaves_no_ray_behind(settings: Settings, tmp_path: Path) -> None:
    no_address = Cluster("", 0, 0, None)  # so it starts a Ray of its own
    worker = Working(settings, no_address, tmp_path / "worker.log")
    until(lambda: "has Cluster" in worker.log.read_text() or worker.process.poll() is not None, 90)
    below = psutil.Process(worker.process.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in below)
    [folder] = {part for process in below for part in process.cmdline() if part.startswith("--temp-dir=")}
    [keeper] = psutil.Process(worker.process.pid).children()
    keeper.kill()
    worker.kill(signal.SIGTERM)
    try:
        worker.end(60)
        assert not [process for process in below if alive(process)]
        assert not Path(folder.removeprefix("--temp-dir=")).parent.exists()
    finally:
        for process in filter(alive, below):
            process.kill()
