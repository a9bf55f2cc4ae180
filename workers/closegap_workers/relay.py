"""What a rank or a trial logs and prints, in a process of Ray's: told to its attempt, which has the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, final

from closegap.journal import Handler, Lines, Record, now
from closegap_workers.channel import Channel

RATE = 500
"""Records a second that are told; a flood would only fill the attempt's memory."""


@final
class Relay:
    """One rank's or trial's way to the attempt."""

    def __init__(self, channel: Channel, **whose: Any) -> None:
        self._channel = channel
        self._whose = {name: value for name, value in whose.items() if value is not None}
        self._busy = threading.local()
        self._second, self._told, self._left_out = 0, 0, 0

    def write(self, record: Record) -> None:
        """Tell a record, unless telling is what made it."""
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._tell(record)
        finally:
            self._busy.now = False

    def close(self) -> None:
        """Say how much was left out at the end."""
        if self._left_out:
            self._put({"time": now(), "level": "warning", "event": f"({self._left_out} lines left out here)"})
            self._left_out = 0

    def _tell(self, record: Record) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self.close()
            self._second, self._told = second, 0
        self._told += 1
        if self._told > RATE:
            self._left_out += 1
        else:
            self._put(record)

    def _put(self, record: Record) -> None:
        self._channel.put({"type": "record", "record": {**record, **self._whose}})


@contextmanager
def relayed(channel: Channel, rank: int | None = None, trial: int | None = None) -> Iterator[None]:
    """While the block lasts, whatever this process logs or prints by Python is told by the channel."""
    relay = Relay(channel, rank=rank, trial=trial)
    handler, root = Handler(relay.write), logging.getLogger()
    # Ray's print to stderr, which would be told a second time.
    level, others = root.level, root.handlers[:]
    out, error = (Lines(name, relay.write, descriptor) for name, descriptor in (("stdout", 1), ("stderr", 2)))
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(out), redirect_stderr(error):
            yield
    finally:
        root.setLevel(level)
        root.handlers = others
        for lines in (out, error):
            lines.close()
        relay.close()
