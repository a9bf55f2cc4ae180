"""ps, show, logs, wait, cancel, retry: jobs that this test itself claims through the queue."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from closegap.job import Capacity, Claim, Failure
from closegap.queue.queue import Queue

from .conftest import Command

CAPACITY = Capacity(cpus=2)
EPOCH = {
    "type": "epoch",
    "epoch": 1,
    "epochs": 2,
    "train": {"elbo": -31.5},
    "valid": {"elbo": -30.25},
    "seconds": 0.5,
}
Start = Callable[..., subprocess.Popen[str]]


def claim(queue: Queue, start: bool = True) -> Claim:
    found = queue.claim("worker-1", CAPACITY, 30)
    assert found is not None
    if start:
        queue.start(found.lease)
    return found


@pytest.fixture
def job(closegap: Command, train: str) -> str:
    """The id of a queued job called `small`."""
    return closegap("submit", train).out.strip()


def test_ps_shows_state_reason_position_and_progress(closegap: Command, pipeline: str, queue: Queue) -> None:
    closegap("submit", pipeline)
    waiting = closegap("ps").out
    assert "#1" in waiting
    assert "no worker" in waiting
    lease = claim(queue).lease
    queue.report(lease, [{"type": "progress", "done": 30, "total": 60, "unit": "step", "rate": 12.0}])
    shown = closegap("ps").out
    assert "50 %" in shown
    assert "12 steps/s" in shown
    (measure, small) = closegap("ps", "--json").json["jobs"]
    assert (small["state"], small["progress"]["done"], small["position"]) == ("running", 30.0, None)
    assert "small" in measure["position"]["reason"]
    assert [job["name"] for job in closegap("ps", "--state", "blocked", "--json").json["jobs"]] == ["measure"]
    assert closegap("ps", "--state", "sleeping").code == 2


def test_ps_of_an_empty_queue(closegap: Command) -> None:
    assert closegap("ps").out == "no jobs\n"
    assert closegap("ps", "--json").json == {"jobs": []}


def test_ps_watch_ends_at_ctrl_c_with_success(start: Start, job: str) -> None:
    process = start("ps", "--watch", "--json", "--every", "0.2")
    assert process.stdout is not None
    assert job in process.stdout.readline()
    assert job in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_any_beginning_of_an_id_and_the_name_find_the_job(closegap: Command, job: str, train: str) -> None:
    for identifier in (job, job[:-2], "small"):
        assert closegap("show", identifier, "--json").json["id"] == job
    closegap("submit", train)
    missing = closegap("show", "no-such-job")
    assert (missing.code, "no-such-job" in missing.err) == (102, True)
    ambiguous = closegap("show", job[:1])
    assert (ambiguous.code, job in ambiguous.err) == (2, True)


def test_show_has_history_error_with_hint_outputs_and_next_commands(
    closegap: Command, job: str, queue: Queue
) -> None:
    lease = claim(queue).lease
    queue.fail(
        lease, Failure(failure="user", message="rows of 3 values", traceback="Traceback …", hint="give 64")
    )
    said = closegap("show", job)
    for text in (
        "failed",
        "rows of 3 values",
        "hint: give 64",
        "queued → claimed",
        "running → failed",
        "epochs: 2",
    ):
        assert text in said.out
    assert f"closegap retry {job}" in said.err
    document = closegap("show", job, "--json").json
    assert document["error"]["failure"] == "user"
    assert [move["to"] for move in document["history"] if move["type"] == "state"] == [
        "queued", "claimed", "running", "failed",
    ]  # fmt: skip


def test_outputs_are_shown_with_what_can_be_done_with_them(closegap: Command, job: str, queue: Queue) -> None:
    queue.succeed(claim(queue).lease, {"model": "sha256:" + "a" * 64, "valid_elbo": -3.5, "epochs": 2})
    said = closegap("show", job)
    assert "valid_elbo: -3.5" in said.out
    assert "closegap example evaluate | closegap submit -" in said.err


def test_logs_are_lines_for_people_and_json_lines_for_programs(
    closegap: Command, job: str, queue: Queue
) -> None:
    lease = claim(queue).lease
    progress = {"type": "progress", "done": 1, "total": 2, "unit": "step"}
    queue.report(lease, [EPOCH, {"type": "log", "line": "said [so]"}, progress])
    said = closegap("logs", job)
    assert "epoch 1  train ELBO -31.50  valid ELBO -30.25  0.5 s" in said.out
    assert "said [so]" in said.out
    assert "progress" not in said.out
    events = closegap("logs", job, "--json", "--progress").lines
    assert [event["type"] for event in events] == ["state", "state", "state", "epoch", "log", "progress"]
    later = closegap("logs", job, "--json", "--after", events[3]["id"]).lines
    assert [event["type"] for event in later] == ["log"]
    assert closegap("logs", job, "--after", "yesterday").code == 2
    queue.change(job, priority=60, actor="anna")
    queue.pause(job, actor="bert")
    changed, wished = closegap("logs", job).out.splitlines()[-2:]
    assert changed.endswith("changed: priority 60, labels none  [anna]")
    assert wished.endswith("asked to become paused: paused by bert  [bert]")


def test_log_lines_are_chosen_and_steer_no_terminal(closegap: Command, job: str, queue: Queue) -> None:
    lease = claim(queue).lease
    said = [
        {"type": "log", "line": "begins", "level": "info", "attempt": 1},
        {"type": "log", "line": "\x1b[2Jslow", "level": "warning", "attempt": 1, "rank": 1},
        {"type": "log", "line": "broke", "level": "error", "trial": 3, "exception": "Traceback\nKeyError: 1"},
    ]
    queue.report(lease, [*said, EPOCH])
    assert "[rank 1] WARNING \\x1b[2Jslow" in closegap("logs", job).out
    chosen = closegap("logs", job, "--level", "warning").out.splitlines()
    assert [line.split("  ")[-1] for line in chosen] == [
        "[rank 1] WARNING \\x1b[2Jslow", "[trial 3] ERROR broke", "Traceback", "KeyError: 1",
    ]  # fmt: skip
    for option, value, lines in (
        ("--rank", "1", 1),
        ("--trial", "3", 1),
        ("--attempt", "1", 2),
        ("--grep", "KEY", 1),
    ):
        found = closegap("logs", job, option, value, "--json").lines
        assert len(found) == lines, option
        assert {event["type"] for event in found} == {"log"}
    refused = closegap("logs", job, "--level", "loud")
    assert refused.code == 2
    assert "accepted: debug, info" in refused.err


def test_logs_follow_to_the_end_and_give_the_jobs_exit_code(start: Start, job: str, queue: Queue) -> None:
    lease = claim(queue).lease
    process = start("logs", "-f", job)
    time.sleep(1.0)
    queue.report(lease, [EPOCH])
    queue.fail(lease, Failure(failure="numerical", message="the ELBO is nan"))
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 100
    assert "valid ELBO -30.25" in out
    assert "the ELBO is nan" in out


def test_a_long_log_is_read_whole(closegap: Command, job: str, queue: Queue) -> None:
    lease = claim(queue).lease
    for first in range(0, 1500, 500):
        queue.report(lease, [{"type": "log", "line": f"line {first + i}"} for i in range(500)])
    assert "line 1499" in closegap("logs", job).out


@pytest.mark.parametrize(("end", "code"), [("succeed", 0), ("fail", 100), ("cancel", 103)])
def test_wait_ends_with_the_code_of_the_state(
    closegap: Command, job: str, queue: Queue, end: str, code: int
) -> None:
    lease = claim(queue).lease

    def finish() -> None:
        time.sleep(0.5)
        queue.report(lease, [EPOCH, {"type": "progress", "done": 1, "total": 2, "unit": "step"}])
        time.sleep(0.5)
        if end == "succeed":
            queue.succeed(lease, {})
        elif end == "fail":
            queue.fail(lease, Failure(failure="user", message="it was [wrong]"))
        else:
            queue.cancel(job)
            queue.stopped(lease)

    thread = threading.Thread(target=finish)
    thread.start()
    said = closegap("wait", job)
    thread.join()
    assert said.code == code
    assert said.out.split()[0] == job
    assert "small: running" in said.err
    assert ("it was [wrong]" in said.err) == (end == "fail")
    assert closegap("wait", job, "--json").json["jobs"][0]["id"] == job


def test_wait_that_is_not_met_in_time(closegap: Command, job: str) -> None:
    said = closegap("wait", job, "--timeout", "0.3s")
    assert said.code == 101
    assert f"closegap wait {job}" in said.err
    assert closegap("wait", job, "--timeout", "soon").code == 2
    assert closegap("wait", job, "--timeout", "0.1", "--json").json["error"]["code"] == 101


def test_ctrl_c_while_waiting_leaves_the_job_alone(start: Start, job: str, queue: Queue) -> None:
    process = start("wait", job)
    assert process.stderr is not None
    assert "queued" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 101
    assert f"closegap cancel {job}" in err
    assert queue.get(job).state == "queued"


def test_cancelling_a_waiting_job_takes_effect_at_once_and_what_needs_it_says_so(
    closegap: Command, pipeline: str
) -> None:
    first, second = closegap("submit", pipeline).out.split()
    assert closegap("cancel", first).out == f"{first}  cancelled\n"
    assert closegap("show", second, "--json").json["cancelled_by"] == first
    assert closegap("wait", first, second).code == 103


def test_cancelling_a_running_job_is_a_wish(closegap: Command, job: str, queue: Queue) -> None:
    lease = claim(queue).lease
    said = closegap("cancel", job)
    assert (said.code, said.out) == (0, f"{job}  cancelling\n")
    assert queue.renew(lease, 30) is not None
    assert "cancelling" in closegap("ps").out
    queue.stopped(lease)
    assert closegap("wait", job).code == 103


def test_one_unknown_id_cancels_nothing(closegap: Command, job: str, queue: Queue) -> None:
    assert closegap("cancel", job, "no-such-job").code == 102
    assert queue.get(job).state == "queued"


def test_retry_makes_a_new_job_and_refuses_one_that_still_waits(
    closegap: Command, job: str, queue: Queue
) -> None:
    assert closegap("retry", job).code == 2
    queue.cancel(job)
    again = closegap("retry", job).out.strip()
    assert queue.get(again).retry_of == job
    assert f"closegap show {again}" in closegap("show", job).err


def test_submit_and_wait_follow_a_pipeline(start: Start, pipeline: str, queue: Queue) -> None:
    process = start("submit", pipeline, "--wait")
    while not queue.jobs().jobs:
        time.sleep(0.05)
    for _ in range(2):
        queue.succeed(claim(queue).lease, {"model": "sha256:" + "a" * 64})
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert len(out.split()) == 2
    assert "small: succeeded" in err
    assert "measure: succeeded" in err


def test_submit_and_wait_as_json_is_one_document_at_the_end(start: Start, train: str, queue: Queue) -> None:
    process = start("submit", train, "--wait", "--json")
    while not queue.jobs().jobs:
        time.sleep(0.05)
    queue.fail(claim(queue).lease, Failure(failure="user", message="no"))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 100
    assert json.loads(out)["jobs"][0]["state"] == "failed"
