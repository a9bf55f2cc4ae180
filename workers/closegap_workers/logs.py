"""What an attempt writes to stderr: kept whole in its log file, and passed on as `log` events, within bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, final

from closegap_workers.channel import Event

LINE = 2000
"""Characters of a line that are passed on."""
RATE = 50
"""Lines a second that are passed on; the file has all of them."""
TAIL = 4000
"""Characters of the log that go into a failure's message."""
PERIOD = 0.2


@final
class Tail:
    """Follows a log file from its beginning, in a thread of its own."""

    def __init__(self, path: Path, hear: Callable[[Event], None]) -> None:
        self._path, self._hear = path, hear
        self._done = threading.Event()
        self._allowance, self._left_out, self._filled = float(RATE), 0, time.monotonic()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Pass on what is left; returns the end of the log."""
        self._done.set()
        self._thread.join()
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - TAIL))
            return file.read().decode(errors="replace").strip()

    def _follow(self) -> None:
        with self._path.open("rb") as file:
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
            rest = rest[-LINE * 4 :]
        return rest

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not text:
            return
        if self._allowance < 1:
            self._left_out += 1
            return
        self._allowance -= 1
        self._hear({"type": "log", "line": text if len(text) <= LINE else text[: LINE - 1] + "…"})

    def _confess(self) -> None:
        if self._left_out:
            self._hear(
                {"type": "log", "line": f"({self._left_out} lines left out here; all are in {self._path})"}
            )
            self._left_out = 0
