"""How much one caller may ask for: requests a second, streams at a time, bytes of a body."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from closegap.api.problem import Answer

SPEC_BYTES = 2 << 20
"""Of a request that carries specs or nothing much."""
ROWS_BYTES = 32 << 20
"""Of a request that carries rows to be encoded."""
_REMEMBERED = 10_000
"""Callers whose rate is kept; the one not seen for longest is forgotten, and so has its full burst again."""


@final
class Rate:
    """A bucket of tokens for each caller, in this process: `burst` at once, then `rate` requests a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Count a request. Raises Answer 429 with the seconds after which the next one is taken."""
        now = self._clock()
        with self._lock:
            left, seen = self._buckets.pop(caller, (self._burst, now))
            left = min(self._burst, left + (now - seen) * self._rate)
            taken = left >= 1
            self._buckets[caller] = (left - 1 if taken else left, now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        if not taken:
            raise too_many(f"more than {self._rate:g} requests a second", (1 - left) / self._rate)


@final
class Places:
    """A bounded number of things at a time, in all and for each caller."""

    def __init__(self, what: str, in_all: int, each: int, retry_seconds: float) -> None:
        self._what, self._in_all, self._each, self._retry = what, in_all, each, retry_seconds
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Take a place. Raises Answer 429."""
        with self._lock:
            mine = self._taken.get(caller, 0)
            if mine >= self._each or sum(self._taken.values()) >= self._in_all:
                bound = f"{self._each} {self._what} at a time, {self._in_all} in all"
                raise too_many(f"no place is free: accepted are {bound}", self._retry)
            self._taken[caller] = mine + 1

    def leave(self, caller: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place for as long as the block lasts. Raises Answer 429."""
        self.take(caller)
        try:
            yield
        finally:
            self.leave(caller)

    @property
    def taken(self) -> int:
        """Places that are taken now."""
        with self._lock:
            return sum(self._taken.values())


def largest_body(path: str) -> int:
    """Bytes that a request to this path may have."""
    return ROWS_BYTES if path.startswith("/v1/encode/") else SPEC_BYTES


def too_many(detail: str, seconds: float) -> Answer:
    """429, to be tried again after so many seconds."""
    return Answer(429, "too_many", detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def too_large(detail: str) -> Answer:
    """413."""
    return Answer(413, "too_large", detail)
