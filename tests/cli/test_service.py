"""up, worker, demo: real processes that start a store, Ray and a worker, and leave nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from .conftest import Command

Start = Callable[..., subprocess.Popen[str]]


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All descendants of a command."""
    return psutil.Process(process.pid).children(recursive=True)


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The worker of a command. In the moment in which its launcher becomes it, it has no command line."""
    limit = time.monotonic() + 30
    while True:
        found = [item for item in family(process) if item.cmdline()[-2:] == ["closegap_workers", "worker"]]
        if found:
            return found[0]
        assert time.monotonic() < limit, family(process)
        time.sleep(0.05)


def assert_gone(processes: list[psutil.Process], place: Path) -> None:
    """None of them is there any more, nor any process that names the folder."""
    limit = time.monotonic() + 30
    while left := [item for item in processes if item.is_running() and item.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < limit, left
        time.sleep(0.1)
    named = [
        item
        for item in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(item.info["cmdline"] or ())
    ]
    assert named == []


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line of its standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.timeout(240)
def test_up_serves_the_other_commands_until_ctrl_c(
    closegap: Command, start: Start, place: Path, train: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(place / "own"))
    process = start("up", "--json")
    said = json.loads(first_line(process))
    assert said["ready"] is True
    processes = family(process)
    assert len(processes) >= 4  # store, worker, Ray, API
    headers = {"Authorization": f"Bearer {Path(said['token_file']).read_text().strip()}"}
    assert httpx.get(f"{said['url']}/v1/whoami", headers=headers).json()["role"] == "admin"
    [worker] = httpx.get(f"{said['url']}/v1/workers", headers=headers).json()["workers"]
    assert worker["alive"]
    (api,) = [item for item in family(process) if "closegap.api" in item.cmdline()]
    api.kill()  # a new one takes over the socket
    assert httpx.get(f"{said['url']}/v1/whoami", headers=headers, timeout=60).status_code == 200
    assert closegap("submit", train, "--wait").code == 0
    assert closegap("doctor", "--json").json["healthy"]
    (store,) = [item for item in family(process) if item.name() == "valkey-server"]
    store.kill()
    answer = closegap("ps", "--json")  # waits until `up` has started it again
    assert answer.code == 0
    assert [job["state"] for job in answer.json["jobs"]] == ["succeeded"]
    running = closegap("submit", train, "--set", "training.epochs=100000").out.strip()
    while closegap("show", running, "--json").json["state"] != "running":
        time.sleep(0.2)
    processes += family(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "stopped; waiting jobs are kept" in err
    assert_gone(processes, place)
    assert closegap("ps").code == 4


@pytest.mark.timeout(240)
def test_up_killed_hard_leaves_nothing(start: Start, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(place / "own"))
    process = start("up", "--json")
    first_line(process)
    processes = family(process)
    process.kill()
    assert_gone(processes, place)


@pytest.mark.timeout(240)
def test_demo_from_end_to_end(
    start: Start, closegap: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("demo", "--out", "shown", "--scale", "small")
    out, err = process.communicate()
    assert process.returncode == 0, err
    for words in ("as trained", "IWAE bound, 20 samples", "parity: ELBO", "rows/s", "shown/report.html"):
        assert words in out
    for name in (
        "train-standard",
        "train-iterative",
        "evaluate-standard",
        "evaluate-iterative",
        "export",
        "encode",
    ):
        assert f"{name}: succeeded" in err
    assert "closegap models" in err
    summary = json.loads((place / "shown" / "summary.json").read_text())
    assert len(summary["iterative.elbo_by_iteration"]) == 11
    assert len(summary["standard.elbo_by_iteration"]) == 2
    assert summary["iterative.elbo_by_iteration"][5] == summary["iterative.elbo"]
    assert summary["iterative.elbo_by_iteration"][5] > summary["iterative.elbo_by_iteration"][0] + 50
    assert summary["standard.iwae"] > summary["standard.elbo"]
    assert summary["difference.elbo"] == summary["iterative.elbo"] - summary["standard.elbo"]
    assert summary["parity.passed"]
    assert (summary["rows"], summary["encode.rows"]) == (100, 100)
    assert summary["encode.rows_per_second"] > 0
    assert set(summary) >= {"seconds.total", "seconds.train-iterative", "seconds.encode"}
    assert not [value for value in summary.values() if not isinstance(value, int | float | list)]
    report = (place / "shown" / "report.html").read_text()
    assert not re.search(r"<script[^>]+src=|<link|url\(http|<img[^>]+src=.http", report)
    assert_gone([], place)
    monkeypatch.setenv("CLOSEGAP_HOME", str(place / "shown" / "runs" / "1" / "home"))
    monkeypatch.delenv("CLOSEGAP_STORAGE")
    models = {model["name"] for model in closegap("models", "--json").json["models"]}
    assert models == {"mnist-standard", "mnist-iterative", "mnist-encoder"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_all_and_touches_no_earlier_run(
    start: Start, place: Path, number: signal.Signals
) -> None:
    (place / "shown" / "runs" / "7").mkdir(parents=True)
    process = start("demo", "--out", "shown", "--scale", "small")
    assert process.stderr is not None
    while "train-standard: running" not in process.stderr.readline():
        assert process.poll() is None
    processes = family(process)
    assert len(processes) >= 3
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 101
    assert "stopped; nothing was left running" in err
    assert "Traceback" not in err
    assert_gone(processes, place)
    assert not (place / "shown" / "summary.json").exists()
    assert sorted(run.name for run in (place / "shown" / "runs").iterdir()) == ["7", "8"]
    assert list((place / "shown" / "runs" / "7").iterdir()) == []


@pytest.mark.timeout(240)
def test_a_demo_whose_worker_is_killed_says_so_and_stops_all(start: Start, place: Path) -> None:
    process = start("demo", "--out", "shown", "--scale", "small")
    assert process.stderr is not None
    while "train-standard: queued" not in process.stderr.readline():
        assert process.poll() is None
    worker, processes = worker_of(process), family(process)
    worker.kill()
    _, err = process.communicate()
    assert process.returncode == 100
    assert "worker process ended by itself with code -9" in err
    assert_gone(processes, place)
