"""The channel of work elsewhere in the Ray cluster: a mailbox that the attempt empties five times a second."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self, final

import ray

from closegap_workers.channel import Channel, Event

PERIOD = 0.2
"""Seconds between two looks into the mailbox, and between two questions whether to stop."""


@final
class Mailbox:
    """The actor between an attempt and its work. Takes no CPU of the cluster; ends with the attempt's Ray job."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._failure: Event | None = None
        self._stop = False

    def put(self, event: Event) -> bool:
        """Keep an event; answers whether to stop."""
        self._events.append(event)
        return self._stop

    def empty(self, stop: bool) -> list[Event]:
        """Take all events; pass the wish to stop on."""
        self._stop = self._stop or stop
        events, self._events = self._events, []
        return events

    def stopped(self) -> bool:
        """Whether to stop."""
        return self._stop

    def fail(self, failure: Event) -> None:
        """Keep the first failure of the work: what the others meet afterwards only follows from it."""
        self._failure = self._failure or failure

    def failure(self) -> Event | None:
        """The first failure."""
        return self._failure


@final
class Remote(Channel):
    """The work's end of a mailbox. Never waits for it but in `flush`."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._answer: Any = None
        self._asked = 0.0
        self._stop = False

    def put(self, event: Event) -> None:
        self._answer = self._mailbox.put.remote(event)

    def stopped(self) -> bool:
        if self._stop or time.monotonic() - self._asked < PERIOD:
            return self._stop
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            self._stop, self._answer = bool(ray.get(self._answer)), None
        if self._answer is None:
            self._answer = self._mailbox.stopped.remote()
        self._asked = time.monotonic()
        return self._stop

    def flush(self) -> None:
        """Wait until all that was put has arrived."""
        ray.get(self._mailbox.stopped.remote())

    def fail(self, failure: Event) -> None:
        """Say why the work ended; waits until it has arrived."""
        ray.get(self._mailbox.fail.remote(failure))

    def failure(self) -> Event | None:
        """Why other ranks' work ended, if it did."""
        failure: Event | None = ray.get(self._mailbox.failure.remote())
        return failure


@final
class Post:
    """The attempt's end of a mailbox: a thread that empties it into the attempt's channel."""

    def __init__(self, channel: Channel) -> None:
        self.mailbox: Any = ray.remote(num_cpus=0, max_restarts=0)(Mailbox).remote()
        self._channel = channel
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="post", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        ray.kill(self.mailbox)

    def failure(self) -> Event | None:
        """Why the work failed, if it said so itself."""
        failure: Event | None = ray.get(self.mailbox.failure.remote())
        return failure

    def _deliver(self) -> None:
        while True:
            last = self._done.wait(PERIOD)
            for event in ray.get(self.mailbox.empty.remote(self._channel.stopped())):
                self._channel.put(event)
            if last:
                return
