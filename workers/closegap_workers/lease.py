"""An attempt's lease, kept in a thread: renews it, delivers events, hears wishes, and outlasts a store that is away."""

from __future__ import annotations

import contextvars
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar, final

from closegap.errors import Conflict, LeaseLost, NotFound, StoreUnavailable
from closegap.job import Lease
from closegap.queue.queue import Queue
from closegap_workers.channel import Event

PERIOD = 0.2
"""Seconds between deliveries of events."""
RENEWAL = 1.0
"""Longest time between renewals, which also bring what is wished."""
KEPT = 5000
"""Events that wait for a store that is away; older ones give way."""
log = logging.getLogger("closegap.worker")
T = TypeVar("T")


@final
class LeaseThread:
    """Keeps one lease until it is closed or lost."""

    def __init__(self, queue: Queue, lease: Lease, seconds: float) -> None:
        self._queue, self._lease, self._seconds = queue, lease, seconds
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._batches: deque[tuple[str, list[Event]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.lost = threading.Event()
        self.asked = threading.Event()  # to stop, whatever the job becomes then
        # In the context of the attempt, so that what is logged there says whose it is.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._keep,), name="lease", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Deliver an event soon; never waits."""
        with self._changed:
            self._events.append(event)

    def close(self) -> None:
        """Deliver what is left and end the thread; the lease itself goes on until it is given up or runs out."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def conclude(self, write: Callable[[Lease], T], patience: float) -> T | None:
        """Write the end of the attempt, however long the store is away; None when the lease is lost by then.

        After `patience` seconds without a store it gives up and raises StoreUnavailable.
        """
        limit = time.monotonic() + patience
        while True:
            try:
                return write(self._lease)
            except (LeaseLost, NotFound) as error:  # not found: the store has come back without its records
                log.warning("job %s: %s", self._lease.job, error)
                self.lost.set()
                return None
            except StoreUnavailable as error:
                if time.monotonic() > limit:
                    raise
                log.warning("the end of job %s cannot be written yet: %s", self._lease.job, error)
                time.sleep(1.0)

    def _keep(self) -> None:
        try:
            self._serve()
        except (LeaseLost, NotFound) as error:
            log.warning("job %s, attempt %d: %s", self._lease.job, self._lease.attempt, error)
            self.lost.set()
        except BaseException:
            # Without this thread nobody would renew: better to give the attempt up than to run it unowned.
            self.lost.set()
            raise

    def _serve(self) -> None:
        interval, due = min(RENEWAL, self._seconds / 3), 0.0
        while True:
            closed = self._pause()
            try:
                self._deliver()
                if closed:
                    return
                if time.monotonic() >= due:
                    self._renew()
                    due = time.monotonic() + interval
            except StoreUnavailable as error:
                log.warning("job %s goes on without the store: %s", self._lease.job, error)
                if closed:
                    return  # the end of the attempt matters more: `conclude` has the patience

    def _pause(self) -> bool:
        with self._changed:
            if not self._closed:
                self._changed.wait(PERIOD)
            return self._closed

    def _take(self) -> list[Event]:
        with self._changed:
            events = list(self._events)
            self._events.clear()
            return events

    def _deliver(self) -> None:
        """Send what was heard. A batch whose answer was lost is sent again as it was, and so kept once."""
        while self._batches or self._events:
            if not self._batches:
                self._batches.append(_batch(self._take()))
            word, events = self._batches[0]
            try:
                self._queue.report(self._lease, events, word)
            except Conflict:
                # Nothing was sent. Which of them it is, is found by sending each by itself.
                if len(events) == 1:
                    log.exception("an event of job %s is not accepted", self._lease.job)
                else:
                    self._batches.extend(_batch([event]) for event in events)
            self._batches.popleft()

    def _renew(self) -> None:
        if self._queue.renew(self._lease, self._seconds) is not None:
            self.asked.set()


def _batch(events: list[Event]) -> tuple[str, list[Event]]:
    return secrets.token_hex(8), events
