"""What work says while it runs, and how it is asked to stop; the same for work in the attempt's own process."""

from __future__ import annotations

import json
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import IO, Any, final

Event = dict[str, Any]
"""JSON-able; `type` says what it is: progress, epoch, trial, evaluation, log, …."""


class Channel(ABC):
    """One piece of work's line to its attempt."""

    @abstractmethod
    def put(self, event: Event) -> None:
        """Say one thing; does not wait for anybody to hear it."""

    def piece(self, name: str, **attributes: Any) -> None:  # noqa: B027 – most channels keep no trace
        """A piece of work – an epoch, a shard – has just ended. For the trace; where there is none, nothing."""

    @abstractmethod
    def stopped(self) -> bool:
        """Whether the work is asked to checkpoint and stop; cheap enough to be asked after every step."""


@final
class Stream(Channel):
    """The attempt's own end: a line of JSON an event, and the wish to stop as SIGTERM sets it."""

    def __init__(self, output: IO[str], log: Callable[[Event], None] | None = None) -> None:
        """log: takes `log` and `record` events, which become lines of the attempt's log and come back from there."""
        self._output, self._log = output, log
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def put(self, event: Event) -> None:
        if self._log is not None and event["type"] in ("log", "record"):
            self._log(event)
            return
        line = json.dumps(event, ensure_ascii=False)
        with self._lock:
            self._output.write(line + "\n")
            self._output.flush()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def listen(self) -> None:
        """Let SIGTERM be the wish to stop. Joining Ray installs another handler: call this again after it."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
