"""Waiting for jobs, their events as they happen, their logs and metrics, against the real server."""

from __future__ import annotations

import builtins
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from closegap import Client, ClientError, Job, JobCancelled, JobFailed, WaitTimeout
from closegap.api.documents import EXAMPLE_JOB
from closegap.client.errors import NotFound
from closegap.client.events import Sent, parsed
from closegap.job import Event
from closegap.job import Job as Record

from .conftest import QUICK, Made, Worker, spec
from .little import Asked, Little, Says

END = Event(id="1-0", type="end", time=datetime(2026, 11, 21, tzinfo=UTC), data={"state": "succeeded"})
RANK = "[rank 1] ERROR of \\x1b[1m rank 1"
"""As people are shown the line of a rank."""


def later(seconds: float, act: Any) -> threading.Timer:
    """Do something in a thread."""
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_wait_tells_of_progress_and_returns_at_the_end(client: Client, worker: Worker) -> None:
    job = client.submit(spec())
    claim = worker.starts()
    seen: list[Record] = []

    def go_on() -> None:
        worker.reports(claim, {"type": "progress", "done": 1, "total": 2, "unit": "epoch"})
        time.sleep(0.5)
        worker.succeeds(claim, model="sha256:1")

    timer = later(0.2, go_on)
    assert job.wait(timeout=20, progress=seen.append) is job
    timer.join()
    assert job.outputs == {"model": "sha256:1"}
    assert [record.state for record in seen][-1] == "succeeded"
    assert any(record.progress is not None and record.progress.done == 1 for record in seen)


def test_a_failed_job_raises_with_class_log_and_address(client: Client, worker: Worker) -> None:
    job = client.submit(spec())
    claim = worker.starts()
    worker.reports(claim, *({"type": "log", "line": f"line {number}"} for number in range(30)))
    worker.fails(claim, "the data has no such column", hint="look at the file")
    with pytest.raises(JobFailed) as caught:
        job.wait(timeout=10)
    error = caught.value
    assert (error.failure_class, error.job, error.hint) == ("user", job.id, "look at the file")
    assert [line[25:] for line in error.log] == [f"line {number}" for number in range(20, 30)]
    for word in ("the data has no such column", job.url, "line 29", "look at the file", "(user)"):
        assert word in str(error)


def test_a_cancelled_job_and_one_that_takes_too_long(client: Client) -> None:
    job = client.submit(spec())
    begun = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"is queued after 0\.3 s") as caught:
        job.wait(timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - begun < 2
    timer = later(0.2, lambda: client.job(job.id).cancel())
    with pytest.raises(JobCancelled, match="cancelled by"):
        job.wait(timeout=10)
    timer.join()


def test_a_bar_is_drawn_where_it_is_asked_for(
    client: Client, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    job = client.submit(spec(name="barred"))
    worker.succeeds(worker.starts())
    job.wait(progress=False)
    assert capsys.readouterr() == ("", "")
    job.wait(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "barred  succeeded" in err


def test_events_come_as_they_happen(remote: Made, worker: Worker) -> None:
    job = remote().submit(spec())
    arrived: list[str] = []

    def read() -> None:
        arrived.extend(event.type for event in job.events())

    reader = threading.Thread(target=read)
    reader.start()
    claim = worker.starts()
    worker.reports(claim, {"type": "epoch", "epoch": 1, "train": {"elbo": -1.0}})
    deadline = time.monotonic() + 20
    while "epoch" not in arrived:
        assert time.monotonic() < deadline, "it comes only at the end"
        time.sleep(0.01)
    worker.succeeds(claim)
    reader.join(20)
    assert arrived[-1] == "end"
    assert arrived.count("epoch") == 1
    ids = [event.id for event in job.events()]
    assert len(ids) == len(set(ids)) == len(arrived)
    assert [event.id for event in job.events(after=ids[1])] == ids[2:]
    assert [event.type for event in job.events(types=["metric"])] == ["epoch", "end"]
    assert list(job.events(after=ids[-1])) == []


class Cutting:
    """A proxy of a server that cuts each of its first connections after some bytes."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._target, self._left, self._size = (host, int(port)), connections, size
        self._place = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._place.getsockname()[1]}"
        self.taken = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._place.accept()
            except OSError:
                return
            self.taken += 1
            self._left -= 1
            size = self._size if self._left >= 0 else None
            threading.Thread(target=self._carry, args=(near, size), daemon=True).start()

    def _carry(self, near: socket.socket, size: int | None) -> None:
        with near, socket.create_connection(self._target) as far:
            threading.Thread(target=self._copy, args=(near, far, None), daemon=True).start()
            self._copy(far, near, size)
            near.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, left: int | None) -> None:
        try:
            while block := source.recv(4096):
                target.sendall(block if left is None else block[:left])
                left = None if left is None else left - len(block)
                if left is not None and left <= 0:
                    return
        except OSError:
            return

    def close(self) -> None:
        """Take no more."""
        self._place.close()


@pytest.fixture
def cut(url: str) -> Iterator[Cutting]:
    """Three connections break in the middle of an event."""
    made = Cutting(url, 3, 1500)
    yield made
    made.close()


def test_a_stream_that_breaks_goes_on_after_the_last_event(
    cut: Cutting, secret: Any, worker: Worker, remote: Made
) -> None:
    job = remote().submit(spec())
    claim = worker.starts()
    worker.reports(claim, *({"type": "log", "line": f"line {number} \u2028 é"} for number in range(20)))
    worker.succeeds(claim)
    with Client(cut.url, secret("viewer"), retry=QUICK) as client:
        found = list(client.job(job.id).events())
    whole = list(job.events())
    assert [event.id for event in found] == [event.id for event in whole]
    assert found == whole
    assert cut.taken > 3


def test_a_stream_that_only_breaks_ends_with_an_error() -> None:
    page = {"events": [], "next": "0", "over": False}

    def answer(number: int, asked: Asked) -> Says:
        if "json" in asked.headers["Accept"]:
            return Says(200, page)
        return Says(200, b"id: 1-0\nevent: log", {"Content-Type": "text/event-stream"}, cut=10)

    with Little(answer) as little, Client(little.url, retry=QUICK) as client:
        with pytest.raises(ClientError, match=r"broke|ended before"):
            list(Job(client.connection, Record.model_validate(EXAMPLE_JOB)).events())
        assert len(little.asked) == QUICK.attempts


def test_a_stream_that_is_alive_is_opened_again_as_often_as_it_is_cut() -> None:
    """As by a proxy that lets no answer last: a job that only waits has no events, and is no failure for it."""
    cuts = 3 * QUICK.attempts

    def answer(number: int, asked: Asked) -> Says:
        over = len([one for one in little.asked if "json" not in one.headers["Accept"]]) > cuts
        if "json" in asked.headers["Accept"]:
            return Says(200, {"events": [], "next": "0", "over": False})
        end = b"id: 1-0\nevent: end\ndata: " + END.model_dump_json().encode() + b"\n\n"
        return Says(200, b": beat\n\n" + (end if over else b""), {"Content-Type": "text/event-stream"})

    with Little(answer) as little, Client(little.url, retry=QUICK) as client:
        found = list(Job(client.connection, Record.model_validate(EXAMPLE_JOB)).events())
    assert found == [END]


def test_a_revoked_token_ends_its_stream_with_an_error(context: Any, url: str) -> None:
    from closegap.access.token import Role
    from closegap.client.errors import Unauthorized

    made = context.tokens.create("brief", Role("submitter"))
    with Client(url, made.secret, retry=QUICK) as client:
        job = client.submit(spec())
        timer = later(0.3, lambda: context.tokens.revoke(made.token.id))
        with pytest.raises(Unauthorized):
            list(job.events())
        timer.join()


def test_server_sent_events_are_parsed_as_they_are_specified() -> None:
    lines = [
        "retry: 2000",
        "",
        ": beat",
        "",
        "id: 1-0",
        "event: log",
        "data: {",
        "data: }",
        "",
        "data:x",
        "",
        "data: lost",
    ]
    assert list(parsed(lines)) == [None, Sent("1-0", "log", "{\n}"), Sent("1-0", "message", "x")]


def test_logs_are_of_attempts_and_ranks_and_may_be_followed(remote: Made, worker: Worker) -> None:
    job = remote().submit(spec(retries={"user": 1}))
    claim = worker.starts()
    worker.reports(
        claim,
        {"type": "log", "line": "first"},
        {"type": "log", "line": "of \x1b[1m rank 1", "rank": 1, "level": "error"},
    )
    worker.fails(claim, "once more")
    time.sleep(0.1)
    claim = worker.starts()
    worker.reports(claim, {"type": "log", "line": "second"})
    assert [str(line) for line in job.logs()] == ["first", RANK, "second"]
    assert [line.attempt for line in job.logs()] == [1, 1, 2]
    assert [line.text for line in job.logs(attempt=2)] == ["second"]
    assert [line.text for line in job.logs(rank=1)] == ["of \x1b[1m rank 1"]
    assert [str(line) for line in job.logs(level="warning")] == [RANK]

    def end() -> None:
        worker.reports(claim, {"type": "log", "line": "third"})
        worker.succeeds(claim)

    timer = later(0.3, end)
    assert [str(line) for line in job.logs(follow=True)] == ["first", RANK, "second", "third"]
    timer.join()


def test_metrics_are_a_frame_or_curves(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.submit(spec())
    claim = worker.starts()
    epochs = [
        {"type": "epoch", "epoch": number, "train": {"elbo": -10.0 - number}, "valid": {"elbo": -20.0}}
        for number in (1, 2)
    ]
    worker.reports(claim, *epochs, {"type": "gaps", "iteration": 0, "gap": 2.5})
    frame = job.metrics()
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns[0] == "event"
    assert set(frame.columns[1:3]) == {"epoch", "iteration"}
    chosen = frame[frame["event"] == "epoch"]
    assert chosen["epoch"].tolist() == [1, 2]
    assert chosen["train.elbo"].tolist() == [-11.0, -12.0]
    assert chosen["gap"].isna().all()
    assert frame[frame["event"] == "gaps"]["gap"].tolist() == [2.5]
    curves = job.metrics(["train.elbo"], as_frame=False)
    assert [(one.name, one.points) for one in curves] == [("train.elbo", ((1.0, -11.0), (2.0, -12.0)))]
    assert client.submit(spec()).metrics().empty

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return found(name, *arguments, **options)

    found = builtins.__import__
    monkeypatch.delitem(sys.modules, "pandas")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ClientError, match=r"closegap\[client\]"):
        job.metrics()
    assert job.metrics(as_frame=False)


def test_trials_are_read_over_pages(client: Client) -> None:
    def answer(number: int, asked: Asked) -> Says:
        first = "cursor" not in asked.path
        rows = [{"id": 0 if first else 1, "state": "completed", "value": -1.0}]
        return Says(
            200, {"trials": rows, "best": rows[0], "count": 2, "next_cursor": "t0" if first else None}
        )

    with Little(answer) as little, Client(little.url) as made:
        found = Job(made.connection, Record.model_validate(EXAMPLE_JOB)).trials()
        assert [row["id"] for row in found.trials] == [0, 1]
        assert (found.best, found.count, found.next_cursor) == (found.trials[1], 2, None)
    parts = {name: spec()[name] for name in ("data", "model", "inference")}
    sweep = client.sweep(
        train=parts,
        space={"training.epochs": {"choice": [1, 2]}},
        search={"trials": 2, "algorithm": "random"},
    )
    assert sweep.trials().trials == ()
    with pytest.raises(NotFound, match="has no trials"):
        client.train(spec()).trials()
