"""The parts of a worker that need no job: processes, the embedded cluster, logs, points, classes of failure."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from closegap.settings import environment
from closegap.specs import spec
from closegap.specs.kinds import SweepSpec
from closegap_core.errors import DataError, NumericalError
from closegap_workers.cluster import ClusterError, Keeper, token_file
from closegap_workers.logs import LINE, RATE, Tail
from closegap_workers.outcome import failure_of
from closegap_workers.points import points
from tests.workers.test_ray import SWEEP
from tests.workers.working import TRAIN, alive, training, until

NEVER = lambda: False  # noqa: E731


# --- processes --------------------------------------------------------------------------------------------

DAEMON = """
import os, sys, time
ready, said = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {ignore}
        print(os.getpid(), flush=True)
        os.close(1)
        os.write(said, b".")
        time.sleep(600)
    os._exit(0)
os.wait()
os.read(ready, 1)
"""

ANSWERABLE = """
import subprocess, sys
from closegap_workers.process import adopt_orphans, children, end, strangers
adopt_orphans()
kept = subprocess.Popen(["sleep", "600"])
known = children()
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
end(lambda: strangers(known), grace=0.5)
print(kept.poll(), flush=True)
kept.kill()
kept.wait()
"""


@pytest.mark.parametrize("ignore", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_what_forked_twice_and_opened_its_own_session_is_ended_and_nothing_else(ignore: str) -> None:
    daemon = DAEMON.format(ignore=ignore)
    done = subprocess.run(
        [sys.executable, "-c", ANSWERABLE, daemon], stdout=subprocess.PIPE, text=True, check=True, timeout=30
    )
    pid, kept = done.stdout.split()
    assert not psutil.pid_exists(int(pid))
    assert kept == "None", "the process that was there before was ended, too"


# --- the embedded cluster ---------------------------------------------------------------------------------

OWNER = """
import sys, time
from pathlib import Path
from closegap_workers.cluster import Keeper
print(Keeper(Path(sys.argv[1]), None, 1).ready(lambda: False).address, flush=True)
time.sleep(600)
"""


def test_the_embedded_ray_dies_with_its_owner_and_wants_its_token(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    address = owner.stdout.readline().strip()
    token = tmp_path / "ray-token"
    assert token.stat().st_mode & 0o777 == 0o600
    below = psutil.Process(owner.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in below)
    assert not any(token.read_text() in " ".join(process.cmdline()) for process in below)
    [folder] = {part for process in below for part in process.cmdline() if part.startswith("--temp-dir=")}
    private = Path(folder.removeprefix("--temp-dir=")).parent
    assert private.stat().st_mode & 0o777 == 0o700
    stranger = Keeper(tmp_path, address)
    with pytest.raises(ClusterError, match=address):
        stranger.ready(NEVER)
    stranger.stop()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until(lambda: not [process for process in below if alive(process)], 20)
    until(lambda: not private.exists(), 20)


def test_a_token_is_whole_whoever_asks_for_it_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, link, found = threading.Barrier(4), os.link, []

    def late(source: str, target: str) -> None:
        together.wait(10)  # all have written one before any of them is there
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    asking = [
        threading.Thread(target=lambda: found.append(token_file(tmp_path).read_text())) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(found[0]) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["ray-token"]


def test_waiting_for_a_cluster_can_be_abandoned(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(ClusterError, match="told to stop"):
        keeper.ready(lambda: True)
    assert time.monotonic() - begun < 5


# --- logs -------------------------------------------------------------------------------------------------


def test_a_log_is_passed_on_within_bounds(tmp_path: Path) -> None:
    heard: list[str] = []
    lock = threading.Lock()

    def hear(event: dict[str, Any]) -> None:
        with lock:
            heard.append(event["line"])

    file = tmp_path / "log"
    with file.open("wb") as output:
        tail = Tail(file, hear)
        output.write(b"first\n\xff\n" + b"x" * 10_000 + b"\n")
        output.flush()
        until(lambda: len(heard) == 3, 5)
        output.write(b"".join(b"%d\n" % number for number in range(1000)) + b"end")
    end = tail.close()
    assert heard[0] == "first"
    assert heard[1] == "\ufffd"
    assert len(heard[2]) == LINE
    assert len(heard) < 2 * RATE
    assert "left out" in heard[-1]
    assert end.endswith("999\nend")


# --- classes of failure -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "failure", "said"),
    [
        (DataError("no such rows"), "user", "no such rows"),
        (NumericalError("nan"), "numerical", "nan"),
        (OSError(errno.ENOSPC, "No space left on device", "/results/x"), "infrastructure", "/results/x"),
        (ConnectionResetError("gone"), "infrastructure", "gone"),
        (ZeroDivisionError("division by zero"), "user", "ZeroDivisionError"),
    ],
)
def test_an_error_has_a_class(error: Exception, failure: str, said: str) -> None:
    found = failure_of(error)
    assert found.failure == failure
    assert said in found.message
    assert type(error).__name__ in found.traceback


# --- points of a sweep ------------------------------------------------------------------------------------


def sweep(**fields: Any) -> SweepSpec:
    """The sweep of `test_ray` with some fields changed."""
    made = spec.parse({**SWEEP, **fields})[0]
    assert isinstance(made, SweepSpec)
    return made


def test_a_grid_is_every_point_once_in_order() -> None:
    found = points(sweep())
    assert [tuple(point.values()) for point in found] == [(1, 1e-3), (1, 1e-2), (2, 1e-3), (2, 1e-2)]


def test_random_points_follow_the_seed_and_keep_their_bounds() -> None:
    space = {
        "training.learning_rate": {"log_uniform": [1e-5, 1e-2]},
        "inference.iterations": {"randint": [1, 4]},
        "training.learning_rate_decay": {"uniform": [0.5, 1.0]},
        "training.batch_size": {"choice": [32, 64]},
    }

    def draw(seed: int) -> list[dict[str, Any]]:
        return points(sweep(space=space, search={"algorithm": "random", "trials": 200, "seed": seed}))

    first = draw(0)
    assert first == draw(0)
    assert first != draw(1)
    assert first[:10] == points(sweep(space=space, search={"algorithm": "random", "trials": 10, "seed": 0}))
    rates = sorted(point["training.learning_rate"] for point in first)
    assert rates[0] >= 1e-5
    assert rates[-1] <= 1e-2
    assert 1e-4 < rates[100] < 1e-3, "the median of a log-uniform draw is the geometric mean of its ends"
    assert {point["inference.iterations"] for point in first} == {1, 2, 3}
    assert {point["training.batch_size"] for point in first} == {32, 64}


# --- run, without a queue ---------------------------------------------------------------------------------


def started(home: Path, specs: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """`run` with specs on its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "closegap_workers", "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(CLOSEGAP_HOME=str(home)),
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(specs))
    process.stdin.close()
    process.stdin = None  # `communicate` would flush it
    return process


def test_run_needs_no_queue_and_no_ray_and_says_all_in_lines_of_json(tmp_path: Path) -> None:
    bad = {"kind": "export", "name": "x", "model": "nobody", "resources": {"workers": 0}}
    after = {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}}
    process = started(tmp_path, [{**TRAIN, "name": "t"}, bad, {**after, "resources": {"workers": 0}}])
    out, _ = process.communicate(timeout=90)
    events = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 100
    ends = {event["job"]: event for event in events if event["type"] == "state"}
    assert {name: event["to"] for name, event in ends.items()} == {
        "t": "succeeded",
        "x": "failed",
        "c": "cancelled",
    }
    assert "nobody" in ends["x"]["error"]["message"]
    assert ends["c"]["reason"] == "x did not succeed"
    assert [event["epoch"] for event in events if event["type"] == "epoch"] == [1, 2, 3]


def test_run_stops_with_a_checkpoint_and_leaves_no_process(tmp_path: Path) -> None:
    process = started(tmp_path, [training(20_000, name="t")])
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "epoch":
            break
    below = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    last = json.loads(process.stdout.read().splitlines()[-1])
    assert process.wait(30) == 103
    process.stdout.close()
    assert (last["type"], last["to"]) == ("state", "cancelled")
    assert below
    assert not [child for child in below if alive(child)]
    assert list((tmp_path / "storage" / "work").glob("*/*/checkpoints/step-*"))


def test_run_refuses_names_that_are_not_there(tmp_path: Path) -> None:
    process = started(tmp_path, [{"kind": "export", "name": "x", "model": "${t.model}"}])
    process.communicate(timeout=30)
    assert process.returncode == 2
