"""pause, resume, set, cancel by filter, workers, projects: what is done to the queue from the command line."""

from __future__ import annotations

import pytest

from closegap.cli.parts import open_access
from closegap.job import Capacity
from closegap.queue.queue import Queue

from .conftest import Command

ONE = Capacity(cpus=2)


@pytest.fixture
def job(closegap: Command, train: str) -> str:
    """The id of a queued job called `small`."""
    return closegap(
        "submit", train, "--project", "vision", "--label", "team=a", "--priority", "40"
    ).out.strip()


def test_a_submission_has_its_project_labels_and_priority(closegap: Command, job: str, queue: Queue) -> None:
    found = queue.get(job)
    assert (found.project, found.labels, found.priority) == ("vision", {"team": "a"}, 40)
    shown = closegap("show", job).out
    for text in ("vision", "team=a", "40"):
        assert text in shown


@pytest.mark.parametrize("options", [("--project", "No Name"), ("--label", "team"), ("--label", "a b=c")])
def test_a_wrong_project_or_label_is_told(closegap: Command, train: str, options: tuple[str, str]) -> None:
    said = closegap("submit", train, *options)
    assert said.code == 2
    assert "accepted" in said.err


def test_ps_filters(closegap: Command, job: str, train: str) -> None:
    assert "PROJECT" not in closegap("ps").out
    other = closegap("submit", train).out.strip()
    assert "PROJECT" in closegap("ps").out
    closegap("cancel", other)
    for options, expected in (
        (("--project", "vision"), [job]),
        (("--project", "vision", "--project", "default"), [other, job]),
        (("--label", "team=a"), [job]),
        (("--label", "team=b"), []),
        (("--state", "cancelled"), [other]),
        (("--state", "cancelled", "--state", "queued"), [other, job]),
        (("--kind", "train"), [other, job]),
        (("--kind", "export"), []),
    ):
        assert [item["id"] for item in closegap("ps", *options, "--json").json["jobs"]] == expected
    for options in (("--kind", "dance"), ("--state", "sleeping"), ("--label", "team")):
        assert closegap("ps", *options).code == 2


def test_pause_and_resume(closegap: Command, job: str, queue: Queue) -> None:
    assert closegap("pause", job).out == f"{job}  paused\n"
    assert f"closegap resume {job}" in closegap("show", job).err
    assert "paused by" in closegap("ps").out
    assert closegap("resume", "small").out == f"{job}  queued\n"
    claim = queue.claim("w", ONE, 30)
    assert claim is not None
    assert closegap("pause", job).out == f"{job}  pausing\n"
    assert "pausing, asked by user" in closegap("ps").out or queue.get(job).state == "claimed"
    queue.stopped(claim.lease)
    assert closegap("pause", job, "--json").json["jobs"][0]["state"] == "paused"
    closegap("cancel", job)
    assert closegap("resume", job).code == 2


def test_set_changes_priority_and_labels(closegap: Command, job: str, queue: Queue) -> None:
    said = closegap("set", job, "--priority", "70", "--label", "team=", "--label", "night=7")
    assert said.out == f"{job}  priority 70  night=7\n"
    assert "changed: priority 70, labels night=7" in closegap("show", job).out
    assert closegap("set", job, "--label", "x=y", "--json").json["labels"] == {"night": "7", "x": "y"}
    assert closegap("set", job).code == 2
    assert closegap("set", job, "--priority", "101").code == 2
    assert closegap("set", "nobody", "--priority", "1").code == 102


def test_cancel_by_filter_and_all(closegap: Command, job: str, train: str, queue: Queue) -> None:
    other, third = (closegap("submit", train).out.strip() for _ in range(2))
    assert closegap("cancel").code == 2
    assert closegap("cancel", job, "--all").code == 2
    assert closegap("cancel", "--label", "team=a").out == f"{job}  cancelled\n"
    assert closegap("cancel", "--all", "--project", "vision").out == ""
    assert queue.get(other).state == "queued"
    assert closegap("cancel", "--all").out == f"{third}  cancelled\n{other}  cancelled\n"


def test_workers_are_listed_drained_and_undrained(closegap: Command, queue: Queue) -> None:
    assert closegap("workers").out == "no workers\n"
    queue.heartbeat("node-1-abc", ONE)
    assert "alive" in closegap("workers").out
    drained = closegap("workers", "drain", "node-1", "--json").json["workers"][0]
    assert drained["drained_by"].startswith("user ")
    assert "drained by user" in closegap("workers").out
    assert closegap("workers", "undrain", "node-1", "--json").json["workers"][0]["drained_by"] is None
    assert closegap("workers", "drain", "nobody").code == 102
    for arguments in (("drain",), ("undrain", "node-1", "--now"), ("dance", "node-1")):
        assert closegap("workers", *arguments).code == 2


def test_projects_are_listed_and_limited(closegap: Command, job: str) -> None:
    assert "vision" in closegap("projects").out
    closegap("projects", "vision", "--running", "3", "--gpus", "1.5")
    [vision] = closegap("projects", "vision", "--running", "4", "--json").json["projects"]
    assert (vision["most_running"], vision["most_gpus"], vision["waiting"]) == (4, 1.5, 1)
    [vision] = closegap("projects", "vision", "--gpus", "none", "--json").json["projects"]
    assert (vision["most_running"], vision["most_gpus"]) == (4, None)
    for arguments in (
        ("--running", "3"),
        ("vision", "--running", "many"),
        ("vision", "--gpus", "-1"),
        ("vision", "--gpus", "nan"),
    ):
        assert closegap("projects", *arguments).code == 2


def test_gc_says_what_would_go_and_removes_it(closegap: Command, job: str, queue: Queue) -> None:
    closegap("cancel", job)
    assert closegap("gc", "--json").json["jobs"] == []
    said = closegap("gc", "--older-than", "0s", "--dry-run")
    assert (said.out, queue.get(job).id) == (f"would go  {job}\n", job)
    assert closegap("gc", "--older-than", "0s", "--dry-run", "--json").json["removed"] is False
    assert closegap("gc", "--older-than", "0s").out == f"removed  {job}\n"
    assert closegap("show", job).code == 102
    for words in ("soon", "10000000d", "9" * 400):
        assert closegap("gc", "--older-than", words).code == 2


def test_every_change_is_in_the_audit_stream(closegap: Command, job: str, queue: Queue) -> None:
    queue.heartbeat("node-1", ONE)
    for arguments in (
        ("pause", job), ("resume", job), ("set", job, "--priority", "1"), ("cancel", job), ("retry", job),
        ("projects", "vision", "--running", "1"), ("workers", "drain", "node-1"), ("workers", "undrain", "node-1"),
        ("cancel", "--all"), ("gc", "--older-than", "0s"),
    ):  # fmt: skip
        assert closegap(*arguments).code == 0
    for arguments in (("ps",), ("show", "nobody"), ("workers",), ("projects",), ("gc", "--dry-run")):
        closegap(*arguments)
    entries = open_access().audit.read().entries
    assert [entry.action for entry in reversed(entries)] == [
        "job.submit", "job.pause", "job.resume", "job.change", "job.cancel", "job.retry", "project.limit",
        "worker.drain", "worker.undrain", "job.cancel", "gc",
    ]  # fmt: skip
    assert (entries[-1].project, entries[-1].target) == ("vision", job)
    assert {entry.actor.partition(" ")[0] for entry in entries} == {"user"}
