"""run: specs in this process tree, without queue and store, by the real workers without Ray."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .conftest import Command

Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.timeout(120)
def test_run_a_pipeline_and_use_its_model(closegap: Command, start: Start, pipeline: str) -> None:
    process = start("run", pipeline, "--set", "small:register=small")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["small", "measure"]
    assert "measure: succeeded" in err
    assert closegap("models", "--json").json["models"][0]["name"] == "small"


@pytest.mark.timeout(120)
def test_a_job_that_fails_and_what_needed_it(start: Start, place: Path) -> None:
    (place / "lost.yaml").write_text(
        "kind: evaluate\nname: lost\nmodel: nobody\nresources: {workers: 0}\n---\n"
        "kind: export\nname: after\nneeds: [lost]\nmodel: nobody\nresources: {workers: 0}\n"
    )
    process = start("run", "lost.yaml", "--json")
    out, err = process.communicate()
    assert process.returncode == 100
    assert "lost: there is no model `nobody`" in err
    assert "after: did not run: lost did not succeed" in err
    events = [json.loads(line) for line in out.splitlines()]
    ends = {event["job"]: event["to"] for event in events if event.get("type") == "state"}
    assert ends == {"lost": "failed", "after": "cancelled"}


@pytest.mark.timeout(120)
def test_a_pipeline_at_a_scale_ends_with_its_table(start: Start, scaled: str) -> None:
    process = start("run", scaled, "--scale", "small")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Small things at two scales, scale small" in err
    assert "The small model" in out
    assert re.search(r"small +ELBO \(nats\) +−\d+\.\d\d ± \d\.\d\d +−20\b", out), out
    assert "Scale small." in out
    (picture,) = re.findall(r"^picture  (.+)$", out, flags=re.M)
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_run_refuses_what_is_not_valid_before_anything_starts(closegap: Command, train: str) -> None:
    said = closegap("run", train, "--set", "training.epochs=0")
    assert (said.code, "training.epochs" in said.err) == (2, True)


def test_run_refuses_a_need_that_is_not_run_with_it(closegap: Command, pipeline: str, place: Path) -> None:
    text = (place / pipeline).read_text().replace("needs: [small]", "needs: [smal]")
    (place / "wrong.yaml").write_text(text)
    said = closegap("run", "wrong.yaml")
    assert (said.code, "`smal` (did you mean `small`?)" in said.err) == (2, True), said.err
    assert "queued" not in said.err
    assert "existing job" not in said.err


@pytest.mark.parametrize(
    ("storage", "message"),
    [("s3://bucket/models", "storage on `s3://` is not supported"), ("file:///proc/none", "(/proc/none)")],
)
def test_run_refuses_a_storage_without_a_place_before_anything_starts(
    closegap: Command, train: str, monkeypatch: pytest.MonkeyPatch, storage: str, message: str
) -> None:
    monkeypatch.setenv("CLOSEGAP_STORAGE", storage)
    said = closegap("run", train)
    assert (said.code, message in said.err, "queued" in said.err) == (100, True, False), said.err


@pytest.mark.timeout(120)
def test_ctrl_c_stops_the_job_and_leaves_no_process(start: Start, train: str) -> None:
    process = start("run", train, "--json", "--set", "training.epochs=100000")
    assert process.stdout is not None
    while "epoch" not in process.stdout.readline():
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 103
    _gone(family)


@pytest.mark.timeout(120)
def test_kill_9_of_the_command_leaves_no_process(start: Start, train: str) -> None:
    process = start("run", train, "--json", "--set", "training.epochs=100000")
    assert process.stdout is not None
    while "epoch" not in process.stdout.readline():
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    _gone(family)


def _gone(family: list[psutil.Process]) -> None:
    """All are gone within seconds."""
    limit = time.monotonic() + 30
    while any(item.is_running() and item.status() != psutil.STATUS_ZOMBIE for item in family):
        assert time.monotonic() < limit, family
        time.sleep(0.1)
