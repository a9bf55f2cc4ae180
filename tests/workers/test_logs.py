"""Lines of logs: whole, attributed, without secrets; and nothing of an attempt's talk lost on the way."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from closegap import journal, loglines
from closegap.journal import Lines, Redaction, encoded
from closegap.loglines import Filter
from closegap.settings import Settings
from closegap_workers.channel import Channel, Event
from closegap_workers.execution import Execution, Order
from closegap_workers.logs import Log, Raw, Tail, event_of
from closegap_workers.relay import RATE, Relay, relayed

TOKEN = "cg_0123456789ab_" + "S3cret-" * 6 + "x"
_TALKING = """
import logging, os, subprocess, sys, warnings
from pathlib import Path
from closegap.journal import Redaction
from closegap_workers.logs import open_log
log = open_log(Path(sys.argv[1]), Redaction(), job="train-1", attempt=2, request_id="r", kind="train", project="p")
print("printed", "to", "stdout")
sys.stderr.write("half a ")
sys.stderr.write("line\\nprogress 1\\rprogress 2\\n")
logging.getLogger("some.library").warning("of %s", "a library")
warnings.warn("deprecated thing", stacklevel=1)
os.write(2, b"past Python \\xff\\n")
subprocess.run(["sh", "-c", "echo from a child"])
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("closegap.x").exception("it broke")
print("redis://user:hunter2@store:6379/0 and %s" % sys.argv[2])
print(os.fsdecode(b"a file named \\xff"))
os.write(1, b"also rediss://:hunter2@store\\n")
import threading
thread = threading.Thread(target=lambda: [][1])
thread.start()
thread.join()
sys.stderr.write("an end without a line's end")
raise KeyError("the last words")
"""


def records(path: Path) -> list[dict[str, Any]]:
    """Every line of a log file: each must be a whole record."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_everything_that_an_attempt_says_is_a_line_of_its_log(tmp_path: Path) -> None:
    file = tmp_path / "attempt-2.log"
    process = subprocess.Popen(
        [sys.executable, "-W", "default", "-c", _TALKING, str(file), TOKEN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    raws = [
        Raw(stream, Log(file, Redaction(), job="train-1", attempt=2))
        for stream in (process.stdout, process.stderr)
    ]
    assert process.wait(30) == 1
    for raw in raws:
        raw.close(10)
    found = records(file)
    said = [record["event"] for record in found]
    for line in (
        "printed to stdout", "half a line", "progress 1", "progress 2", "of a library", "past Python \ufffd",
        "from a child", "it broke", "uncaught KeyError: 'the last words'", "an end without a line's end",
        "uncaught IndexError: list index out of range", "a file named ?",
    ):  # fmt: skip
        assert said.count(line) == 1, (line, said)
    assert any("deprecated thing" in line for line in said)
    for record in found:
        assert (record["job"], record["attempt"]) == ("train-1", 2)
        assert record["level"] in loglines.LEVELS
        assert record["time"].endswith("Z")
    [broke] = [record for record in found if record["event"] == "it broke"]
    assert (broke["level"], broke["logger"], broke["exception_type"]) == (
        "error",
        "closegap.x",
        "ZeroDivisionError",
    )
    assert broke["exception"].startswith("Traceback")
    assert broke["exception"].endswith("division by zero")
    assert (broke["request_id"], broke["kind"], broke["project"]) == ("r", "train", "p")
    text = file.read_text()
    assert "hunter2" not in text
    assert TOKEN not in text
    assert "redis://***@store:6379/0 and cg_0123456789ab_***" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connect to redis://:pa%3Ass@h:1/0 now", "connect to redis://***@h:1/0 now"),
        ("https://bob:pw@host/x?y=1", "https://***@host/x?y=1"),
        ("no secret in http://host:80/a@b", "no secret in http://host:80/a@b"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer ***"),
        ("Bearer abcdefghijkl", "Bearer ***"),
        ("password=hunter2, user=bob", "password=***, user=bob"),
        ("MLFLOW_TRACKING_PASSWORD=hunter2 is set", "MLFLOW_TRACKING_PASSWORD=*** is set"),
        ('{"password": "hunter2", "a": 1}', '{"password": "***", "a": 1}'),
        ("no passwords, no secret here", "no passwords, no secret here"),
        ("the known one: s3same", "the known one: ***"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, shown: str) -> None:
    redact = Redaction("s3same")
    assert redact(text) == shown
    assert redact.all({"a": [text, 1, None, Path("x")]}) == {"a": [redact(text), 1, None, "x"]}


def test_a_process_says_json_lines_where_nobody_reads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = settings.model_copy(
        update={"redis_url": Settings.load(redis_url="redis://:pass/word@h").redis_url}
    )
    output = io.StringIO()
    before = structlog.get_config()
    root, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        journal.begin(secret, output)
        with structlog.contextvars.bound_contextvars(job="train-1", attempt=3):
            logging.getLogger("closegap.worker").info("has %s", "begun")
            logging.getLogger("library").debug("is not told")
        structlog.get_logger("closegap.api").info("request", request_id="r", path="redis://u:v@x")
        try:
            raise ValueError("redis://:pass/word@h")
        except ValueError:
            structlog.get_logger().exception("fault", request_id="r")
    finally:
        logging.basicConfig(handlers=root, level=level, force=True)
        structlog.configure(**before)
    first, second, third = (json.loads(line) for line in output.getvalue().splitlines())
    assert first.items() >= {
        "level": "info", "event": "has begun", "logger": "closegap.worker", "job": "train-1", "attempt": 3,
    }.items()  # fmt: skip
    assert (second["event"], second["request_id"], second["path"]) == ("request", "r", "redis://***@x")
    assert third["exception_type"] == "ValueError"
    assert "pass/word" not in output.getvalue()


def test_lines_begin_with_what_one_looks_for() -> None:
    line = encoded(
        {"zebra": 1, "rank": 0, "event": "e", "level": "info", "time": "t", "job": "j"}, Redaction()
    )
    assert list(json.loads(line)) == ["time", "level", "event", "job", "rank", "zebra"]


def test_a_stream_of_lines_is_what_libraries_take_for_one() -> None:
    told: list[str] = []
    lines = Lines("stdout", lambda record: told.append(record["event"]), 1)
    print("a", file=lines)  # type: ignore[call-overload]
    lines.writelines(["b\n", "\n", "c"])
    lines.flush()
    assert told == ["a", "b"]
    lines.close()
    assert told == ["a", "b", "c"]
    assert (lines.fileno(), lines.isatty(), lines.writable(), lines.readable(), lines.closed) == (
        1, False, True, False, False,
    )  # fmt: skip


def test_a_line_of_the_file_becomes_an_event_with_its_place() -> None:
    record = {
        "event": "x" * 5000,
        "level": "error",
        "rank": 1,
        "attempt": 2,
        "exception": "T" * 9000,
        "job": "j",
    }
    event = event_of(json.dumps(record).encode())
    assert {name: event[name] for name in ("level", "rank", "attempt")} == {
        "level": "error",
        "rank": 1,
        "attempt": 2,
    }
    assert len(event["line"]) == 2000
    assert len(event["exception"]) == 8000
    for strange in (b'{"event": "cut', b"[1, 2]", b"plain \xff"):
        assert event_of(strange)["line"] == strange.decode(errors="replace")


def test_the_end_of_a_log_is_for_people(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = Log(file, Redaction(), job="j")
    log.write({"event": "it broke", "level": "error", "rank": 1, "exception": "Traceback\nKeyError: 1"})
    log.close()
    heard: list[Event] = []
    assert Tail(file, heard.append).close() == "[rank 1] ERROR it broke\nTraceback\nKeyError: 1"
    assert heard[0]["rank"] == 1


def test_a_retried_job_adds_to_the_log_and_a_name_that_is_no_text_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLOSEGAP_STORAGE", settings.storage)
    file = tmp_path / "attempt-1.log"
    before = Log(file, Redaction(), job="the-one-before")
    before.write({"event": "why it failed", "level": "error"})
    before.close()
    heard: list[Event] = []
    order = Order("train-2", 1, {"kind": os.fsdecode(b"tr\xff")}, {}, "the-one-before")
    ended = Execution(order, file, {}, heard.append).see_through(lambda: False, lambda: False, 1.0)
    assert ended.failure().failure == "user"
    assert "`tr?` is no kind of job" in ended.failure().message
    assert records(file)[0]["event"] == "why it failed"
    assert {record["job"] for record in records(file)[1:]} == {"train-2"}
    assert "tr?" in ended.tail
    assert "why it failed" not in str(heard) + ended.tail


def test_a_full_disk_stops_nobody_from_writing_past_python(caplog: pytest.LogCaptureFixture) -> None:
    source, sink = os.pipe()
    raw = Raw(os.fdopen(source, "rb"), Log(Path("/dev/full"), Redaction()))
    for _ in range(3):
        os.write(sink, b"x" * 65_536 + b"\n")  # more than a pipe holds: somebody reads on
    os.close(sink)
    raw.close(10)
    [said] = [record.message for record in caplog.records]
    assert said.startswith("3 lines past Python are not in the log: [Errno 28]")


def test_lines_are_chosen_by_what_they_have() -> None:
    lines: list[dict[str, Any]] = [
        {"line": "a", "attempt": 1},
        {"line": "b", "level": "warning", "rank": 1, "attempt": 2},
        {"line": "c", "level": "error", "trial": 0, "exception": "Traceback\nBoom"},
    ]

    def chosen(**wanted: Any) -> str:
        return "".join(line["line"] for line in lines if Filter(**wanted)(line))

    assert chosen() == "abc"
    assert not Filter()
    assert (chosen(level="warning"), chosen(level="error"), chosen(level="info")) == ("bc", "c", "abc")
    assert (chosen(rank=1), chosen(rank=0), chosen(trial=0), chosen(attempt=1)) == ("b", "", "c", "a")
    assert (chosen(text="boom"), chosen(text="B")) == ("c", "bc")
    assert loglines.text_of({"line": "\x1b[2Jgone\n"}) == "\\x1b[2Jgone\\x0a"


class _Heard(Channel):
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        logging.getLogger("chatty.transport").info("sending")  # must not be told in turn
        self.events.append(event)

    def stopped(self) -> bool:
        return False


def test_a_rank_tells_its_attempt_what_it_logs_and_prints(capfd: pytest.CaptureFixture[str]) -> None:
    heard, level = _Heard(), logging.getLogger().level
    with relayed(heard, rank=1):
        print("printed")
        logging.getLogger("library").warning("logged")
        print("without an end", end="")
    assert [event["record"]["event"] for event in heard.events] == ["printed", "logged", "without an end"]
    assert {event["record"]["rank"] for event in heard.events} == {1}
    assert all("trial" not in event["record"] for event in heard.events)
    assert logging.getLogger().level == level
    print("outside")
    assert "outside" in capfd.readouterr().out


def test_a_flood_is_bounded_and_confessed() -> None:
    heard = _Heard()
    relay = Relay(heard, trial=3)
    for number in range(20 * RATE):
        relay.write({"event": str(number), "level": "info"})
    relay.close()
    said = [event["record"]["event"] for event in heard.events]
    assert len(said) < 20 * RATE
    assert any("lines left out" in line for line in said)
