"""The auditor can fail: a good history passes, and each doctored one is caught by the sentence that it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.auditor import audit
from tests.chaos.history import Answer, Artefact, Asked, Ended, History, Hit, Looked, Struck, Submission

GOOD, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RETRIES = {"user": 0, "numerical": 0, "infrastructure": 3, "preempted": None}


def record(job: str, state: str = "succeeded", **fields: Any) -> dict[str, Any]:
    """As the queue has it."""
    return {
        "id": job,
        "state": state,
        "labels": {"mark": job},
        "attempt": 1,
        "reason": "",
        "needs": {},
        "outputs": {"model": GOOD} if state == "succeeded" else {},
        "error": None,
        "retries_spent": {},
        "spec": {"kind": "train", "retries": RETRIES, "training": {"epochs": 4}},
        **fields,
    }


def moves(*told: tuple[float, str, str], actor: str = "w1", reason: str = "") -> list[dict[str, Any]]:
    """Events of a history: time, the state it becomes, by whom or why where it is not the worker."""
    events: list[dict[str, Any]] = []
    before = ""
    for time, after, why in told:
        data = {"from": before, "to": after, "reason": why or reason, "actor": why or actor}
        events.append({"type": "state", "time": time, "data": data})
        before = after
    return [*events, {"type": "end", "time": told[-1][0], "data": {"state": before}}]


def submission(mark: str, expected: str = "accepted", status: int = 202, **fields: Any) -> Submission:
    """Answered at once."""
    ids = (mark,) if status == 202 else ()
    key = mark.removesuffix("-other")
    return Submission(key, mark, 1, expected, (Answer(1.0, status, ids),), **fields)


def epochs(*numbers: int, time: float) -> list[dict[str, Any]]:
    """What attempts report."""
    return [{"type": "epoch", "time": time, "data": {"epoch": number}} for number in numbers]


@pytest.fixture
def good() -> History:
    """One job that succeeds, one that is killed and run again, one that fails, and one that needed it."""
    done = moves((1, "queued", "user"), (2, "claimed", ""), (2.1, "running", ""), (4, "succeeded", ""))
    again = moves(
        (1, "queued", "user"), (2, "claimed", ""), (2.1, "running", ""), (7, "queued", "queue"),
        (8, "claimed", ""), (8.1, "running", ""), (9, "succeeded", ""),
    )  # fmt: skip
    again[3:3] = epochs(1, 2, time=2.5)
    again[8:8] = epochs(3, 4, time=8.5)
    again[5]["data"]["reason"] = "worker w1 was not heard of in time; the lease of attempt 1 has run out"
    again[5]["data"]["actor"] = "queue"
    broken = moves((1, "queued", "user"), (2, "claimed", ""), (2.1, "running", ""), (3, "failed", ""))
    unneeded = moves((1, "blocked", "user"), (3, "cancelled", "its need broken failed"))
    error = {"failure": "user", "message": "no"}
    return History(
        lease=4.0,
        grace=4.0,
        workers=2,
        began=0.0,
        ended=20.0,
        seed=7,
        planned=("worker-kill",),
        submissions=(
            submission("done"),
            replace(submission("done"), answers=(Answer(1.5, 0), Answer(2.0, 202, ("done",)))),
            submission("done-other", "conflict", 422),
            submission("again"),
            submission("broken"),
            submission("unneeded"),
            submission("impossible", "refused", 422),
        ),
        asked=(
            Asked("unneeded", "cancel", 5.0, 200, "cancelled"),
            Asked("again", "cancel", 8.2, 200, "running"),
        ),
        looked=(Looked("again", "queued", "queued", 1, "every worker is busy", "the end of done"),),
        struck=(
            Struck(1, "worker-kill", 2.6, 3.0, (Hit("again", 1, "w1", "working", 8),), 0, (0,)),
            Struck(2, "worker-pause", 2.5, 9.0, (Hit("again", 1, "w1", "working", 8),), 0, (0,)),
        ),
        jobs={
            "done": record("done"),
            "again": record("again", attempt=2, retries_spent={"infrastructure": 1}),
            "broken": record("broken", "failed", error=error),
            "unneeded": record(
                "unneeded", "cancelled", attempt=0, needs={"t": "broken"}, reason="its need t (broken) failed"
            ),
        },
        events={"done": done, "again": again, "broken": broken, "unneeded": unneeded},
        ended_attempts=(Ended("done", 1, "succeeded"), Ended("again", 2, "succeeded")),
        lost_leases=1,
        artefacts=(Artefact(GOOD, "", "done", "model", "w"),),
        seen=(Artefact(GOOD, "", "done", "model", "w"),),
    )


def broken_sentences(history: History) -> list[int]:
    """Numbers of those that the auditor does not find kept."""
    return [number for number, verdict in enumerate(audit(history)) if not verdict.kept]


def test_a_good_history_keeps_all_eight(good: History) -> None:
    verdicts = audit(good)
    assert [breach for verdict in verdicts for breach in verdict.breaches] == []
    assert len(verdicts) == 9
    assert verdicts[4].evidence["worker-kill while working"] == 1
    assert verdicts[4].evidence["gone on from a checkpoint"] == 1


def without(history: History, job: str) -> History:
    """As if a job had never been recorded."""
    jobs = {name: value for name, value in history.jobs.items() if name != job}
    events = {name: value for name, value in history.events.items() if name != job}
    return replace(history, jobs=jobs, events=events)


def changed(history: History, job: str, **fields: Any) -> History:
    """With another record of a job."""
    return replace(history, jobs={**history.jobs, job: {**history.jobs[job], **fields}})


def retold(history: History, job: str, change: Callable[[list[dict[str, Any]]], object]) -> History:
    """With another history of a job."""
    events = json.loads(json.dumps(history.events[job]))
    change(events)
    return replace(history, events={**history.events, job: events})


def late(events: list[dict[str, Any]]) -> None:
    """Taken over ten seconds too late."""
    for event in events[5:]:
        event["time"] += 12.0


def from_the_beginning(events: list[dict[str, Any]]) -> None:
    """The second attempt does not take up the checkpoint of the first."""
    events[8]["data"]["epoch"], events[9]["data"]["epoch"] = 1, 2


def without_the_rest(events: list[dict[str, Any]]) -> None:
    """The second attempt succeeds, and nobody has made the last two epochs."""
    del events[8:10]


def by_another(events: list[dict[str, Any]]) -> None:
    """Whose lease it is not."""
    events[3]["data"]["actor"] = "w2"


def ran(events: list[dict[str, Any]]) -> None:
    """Though its need had failed."""
    events[:] = moves((1, "blocked", "user"), (1.5, "queued", ""), (2, "claimed", ""), (3, "cancelled", ""))


def twice(events: list[dict[str, Any]]) -> None:
    """An end after the end."""
    events.extend(json.loads(json.dumps(events[-2:])))


DOCTORED: list[tuple[str, int, Callable[[History], History]]] = [
    ("an acknowledged job is lost", 1, lambda h: without(h, "done")),
    (
        "a refused submission left a job",
        1,
        lambda h: changed(h, "done", labels={"mark": "impossible"}),
    ),
    (
        "one key gave two jobs",
        2,
        lambda h: replace(h, submissions=(*h.submissions, replace(submission("again"), key="done"))),
    ),
    (
        "a key with another spec was accepted",
        2,
        lambda h: replace(h, submissions=(*h.submissions, submission("done-other", "conflict", 202))),
    ),
    ("a stranger wrote the end", 3, lambda h: retold(h, "done", by_another)),
    (
        "two attempts succeeded",
        3,
        lambda h: replace(h, ended_attempts=(*h.ended_attempts, Ended("again", 1, "succeeded"))),
    ),
    ("a dead worker kept its lease", 4, lambda h: retold(h, "again", late)),
    ("an attempt began anew", 4, lambda h: retold(h, "again", from_the_beginning)),
    ("an attempt left epochs out", 4, lambda h: retold(h, "again", without_the_rest)),
    ("a user's error was run again", 4, lambda h: changed(h, "broken", retries_spent={"user": 1})),
    (
        "a failure came before its budget was spent",
        4,
        lambda h: changed(h, "broken", error={"failure": "infrastructure", "message": ""}),
    ),
    ("an artefact was seen half there", 5, lambda h: replace(h, seen=(Artefact(OTHER, "no manifest"),))),
    ("a finished job's artefact is missing", 5, lambda h: changed(h, "done", outputs={"model": OTHER})),
    (
        "equal specs left different artefacts",
        5,
        lambda h: changed(
            replace(h, artefacts=(*h.artefacts, Artefact(OTHER, "", "again", "model", "v"))),
            "again",
            outputs={"model": OTHER},
        ),
    ),
    (
        "a waiting job was cancelled and went on waiting",
        6,
        lambda h: replace(h, asked=(*h.asked, Asked("done", "cancel", 1.5, 200, "queued"))),
    ),
    (
        "a running job was cancelled and ran on",
        6,
        lambda h: replace(h, asked=(*h.asked, Asked("again", "cancel", -25.0, 200, "running"))),
    ),
    (
        "a waiting job did not say why",
        7,
        lambda h: replace(h, looked=(Looked("again", "queued", "queued", 1, "", ""),)),
    ),
    (
        "a waiting job stood before the first",
        7,
        lambda h: replace(h, looked=(Looked("again", "queued", "queued", 0, "busy", "the end of done"),)),
    ),
    ("a job ran though its need had failed", 8, lambda h: retold(h, "unneeded", ran)),
    ("a job did not say which need failed", 8, lambda h: changed(h, "unneeded", reason="no luck")),
    ("a job never ended", 0, lambda h: changed(h, "done", state="running")),
    ("a job ended twice", 0, lambda h: retold(h, "done", twice)),
    ("a worker died of itself", 0, lambda h: replace(h, fallen=("worker 1 ended by itself: 1",))),
    ("a fault met nothing", 0, lambda h: replace(h, struck=h.struck[1:])),
]


@pytest.mark.parametrize(("what", "sentence", "doctor"), DOCTORED, ids=[case[0] for case in DOCTORED])
def test_a_doctored_history_is_caught(
    good: History, what: str, sentence: int, doctor: Callable[[History], History]
) -> None:
    assert sentence in broken_sentences(doctor(good)), what


def test_a_history_is_read_as_it_was_written(good: History, tmp_path: Path) -> None:
    good.write(tmp_path / "history.json")
    assert History.read(tmp_path / "history.json") == good


def test_no_evidence_is_no_proof(good: History) -> None:
    empty = replace(
        good, submissions=(), asked=(), looked=(), struck=(), jobs={}, events={}, ended_attempts=()
    )
    assert broken_sentences(empty) == list(range(9))
