"""An attempt's log: a file of JSON lines, kept whole, and passed on as `log` events within bounds.

Two write to it, whole lines at a time: the attempt itself (`open_log`), with what its ranks and trials tell it
(relay.py); and its worker (`Raw`), with what the attempt's process writes past Python – a library in C, the
interpreter's own last words.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, final

from closegap import loglines
from closegap.journal import Handler, Lines, Record, Redaction, encoded, now, uncaught
from closegap_workers.channel import Event

LINE = 2000
"""Characters of a line that are passed on."""
TRACE = 8000
"""Characters of a traceback that are passed on: its end, which names the error."""
RATE = 50
"""Lines a second that are passed on; the file has all of them."""
TAIL = 4000
"""Characters of the log that go into a failure's message."""
PERIOD = 0.2
log = logging.getLogger("closegap.worker")
_PASSED = ("level", "logger", "attempt", "rank", "trial")


@final
class Log:
    """The file, from one of those who write to it."""

    def __init__(self, path: Path, redact: Redaction, **context: Any) -> None:
        """context: what each record has that does not say otherwise."""
        self._redact = redact
        self._context = {name: value for name, value in context.items() if value not in (None, "")}
        # To its end in one write, so that lines of several writers do not meet.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a record. Raises OSError (disk full)."""
        line = encoded({**self._context, **record}, self._redact) + "\n"
        os.write(self._file, line.encode(errors="replace"))  # names of files may be no text

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def open_log(path: Path, redact: Redaction, **context: Any) -> Log:
    """For the whole process: whatever is logged, printed or raised here becomes a line of the file."""
    file = Log(path, redact, **context)
    handler = Handler(file.write)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    faulthandler.enable(2)  # the descriptor, which the worker reads
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        lines = Lines(name, file.write, descriptor)
        setattr(sys, name, lines)
        atexit.register(lines.close)
    sys.excepthook = hook = uncaught(file.write)
    threading.excepthook = lambda failed: hook(failed.exc_type, failed.exc_value, failed.exc_traceback)
    return file


@final
class Raw:
    """What an attempt's process writes past Python, read to its end in a thread of its own."""

    def __init__(self, stream: IO[bytes], log: Log) -> None:
        """Closes both at the end."""
        self._stream, self._log = stream, log
        self._thread = threading.Thread(target=self._read, name="raw", daemon=True)
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Wait for the end of it, so long at most."""
        self._thread.join(seconds)

    def _read(self) -> None:
        lost: list[OSError] = []
        with self._stream, contextlib.closing(self._log):
            for line in self._stream:
                text = line.decode(errors="replace").rstrip()
                try:
                    if text:
                        self._log.write({"time": now(), "level": "info", "event": text, "logger": "stderr"})
                except OSError as error:  # a full disk; who writes here must not meet a closed pipe for it
                    lost.append(error)
        if lost:
            log.warning("%d lines past Python are not in the log: %s", len(lost), lost[0])


@final
class Tail:
    """Follows a log file, in a thread of its own."""

    def __init__(self, path: Path, hear: Callable[[Event], None], begin: int = 0) -> None:
        """begin: bytes that were there before, and are nobody's here."""
        self._path, self._hear, self._begin = path, hear, begin
        self._done = threading.Event()
        self._allowance, self._left_out, self._filled = float(RATE), 0, time.monotonic()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Pass on what is left; returns the end of the log, for people."""
        self._done.set()
        self._thread.join()
        with self._path.open("rb") as file:
            file.seek(max(self._begin, self._path.stat().st_size - 2 * TAIL))
            lines = file.read().splitlines()
        shown = "\n".join(loglines.text_of(event_of(line)) for line in lines if line.strip())
        return shown[-TAIL:].strip()

    def _follow(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._begin)
            rest = b""
            while True:
                last = self._done.wait(PERIOD)
                rest = self._pass_on(file, rest)
                if last:
                    break
            if rest:
                self._say(rest)
            self._confess()

    def _pass_on(self, file: IO[bytes], rest: bytes) -> bytes:
        now = time.monotonic()
        self._allowance = min(RATE, self._allowance + (now - self._filled) * RATE)
        self._filled = now
        if self._allowance >= 1:
            self._confess()
        while chunk := file.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(line)
        return rest

    def _say(self, line: bytes) -> None:
        if not line.strip():
            return
        if self._allowance < 1:
            self._left_out += 1
            return
        self._allowance -= 1
        self._hear(event_of(line))

    def _confess(self) -> None:
        if self._left_out:
            said = f"({self._left_out} lines left out here; all are in {self._path})"
            self._hear({"type": "log", "line": said, "level": "warning"})
            self._left_out = 0


def event_of(line: bytes) -> Event:
    """A line of the file as an event; one that is no record (the disk was full in its middle) as it is."""
    text = line.decode(errors="replace").rstrip()
    try:
        record = json.loads(text)
    except ValueError:
        return {"type": "log", "line": _cut(text)}
    if not isinstance(record, dict) or "event" not in record:
        return {"type": "log", "line": _cut(text)}
    event: Event = {"type": "log", "line": _cut(str(record["event"]))}
    event |= {name: record[name] for name in _PASSED if name in record}
    return event | ({"exception": record["exception"][-TRACE:]} if "exception" in record else {})


def _cut(text: str) -> str:
    return text if len(text) <= LINE else text[: LINE - 1] + "…"


def record_of(event: Event) -> Record:
    """A `log` event, as work says it by its channel, as a record."""
    known = {name: event[name] for name in (*_PASSED, "exception") if name in event}
    return {"time": now(), "level": "info", "event": event["line"], "logger": "closegap", **known}
