"""What work says while it runs, and how it is asked to stop; the same for work in the attempt's own process."""

from __future__ import annotations

import json
import signal
import threading
from abc import ABC, abstractmethod
from typing import IO, Any, final

Event = dict[str, Any]
"""JSON-able; `type` says what it is: progress, epoch, trial, evaluation, log, …."""


class Channel(ABC):
    """One piece of work's line to its attempt."""

    @abstractmethod
    def put(self, event: Event) -> None:
        """Say one thing; does not wait for anybody to hear it."""

    @abstractmethod
    def stopped(self) -> bool:
        """Whether the work is asked to checkpoint and stop; cheap enough to be asked after every step."""


@final
class Stream(Channel):
    """The attempt's own end: a line of JSON an event, and the wish to stop as SIGTERM sets it."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def put(self, event: Event) -> None:
        line = json.dumps(event, ensure_ascii=False)
        with self._lock:
            self._output.write(line + "\n")
            self._output.flush()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def listen(self) -> None:
        """Let SIGTERM be the wish to stop. Joining Ray installs another handler: call this again after it."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
