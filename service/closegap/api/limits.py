"""How much one caller may ask for: requests a second, streams at a time, bytes of a body."""

from __future__ import annotations

import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, final

from closegap.api.problem import Answer
from closegap.errors import StoreUnavailable
from closegap.queue.shares import Shares

SPEC_BYTES = 2 << 20
"""Of a request that carries specs or nothing much."""
ROWS_BYTES = 32 << 20
"""Of a request that carries rows to be encoded."""
_REMEMBERED = 10_000
"""Callers of whom drawn tokens are kept; of the one not seen for longest they are forgotten, and so lost."""


class Seat(NamedTuple):
    """An event stream of a caller."""

    caller: str
    name: str


@final
class Rate:
    """A bucket of tokens for each caller, the same for all processes of the API: `burst`, then `rate` a second.

    A process draws a tenth of a second's tokens at a time, so that the store is not asked for each request.
    """

    def __init__(self, shares: Shares, name: str, rate: float, burst: float) -> None:
        self._shares, self._name, self._rate, self._burst = shares, name, rate, burst
        self._drawn: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Count a request. Raises StoreUnavailable, Answer 429 with the seconds after which the next one is taken."""
        with self._lock:
            left = self._drawn.pop(caller, 0)
            if left > 1:
                self._drawn[caller] = left - 1
        if left:
            return
        wanted = max(1, int(self._rate / 10))
        draw = self._shares.draw(f"{self._name}:{caller}", self._rate, self._burst, wanted)
        if not draw.tokens:
            raise too_many(f"more than {self._rate:g} requests a second", draw.seconds)
        with self._lock:
            self._drawn[caller] = self._drawn.pop(caller, 0) + draw.tokens - 1
            if len(self._drawn) > _REMEMBERED:
                self._drawn.popitem(last=False)


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


@final
class Seats:
    """A bounded number of event streams for each caller, in all processes together, and for this process."""

    def __init__(self, shares: Shares, each: int, here: int) -> None:
        self._shares, self._each, self._here = shares, each, here
        self._taken: set[Seat] = set()
        self._lock = threading.Lock()

    def take(self, caller: str) -> Seat:
        """Take a seat, to be kept and left. Raises StoreUnavailable, Answer 429."""
        seat = Seat(caller, secrets.token_hex(8))
        with self._lock:
            free = len(self._taken) < self._here
            if free:
                self._taken.add(seat)
        if free and self._sat(seat):
            return seat
        with self._lock:
            self._taken.discard(seat)
        raise too_many(f"no more event streams: accepted are {self._each} at a time", 5)

    def keep(self, seat: Seat) -> None:
        """Say that the seat is still taken. Raises StoreUnavailable."""
        self._shares.sit(seat.caller, seat.name, self._each)

    def free(self, seat: Seat) -> None:
        """Give back what this process counts; at once, and so also where nothing may be waited for."""
        with self._lock:
            self._taken.discard(seat)

    def leave(self, seat: Seat) -> None:
        """Give the seat back. Raises StoreUnavailable: then it is free after a while by itself."""
        self.free(seat)
        self._shares.leave(seat.caller, seat.name)

    @property
    def taken(self) -> int:
        """Seats that are taken now, in this process."""
        with self._lock:
            return len(self._taken)

    def _sat(self, seat: Seat) -> bool:
        try:
            return self._shares.sit(seat.caller, seat.name, self._each)
        except StoreUnavailable:
            self.free(seat)
            raise


def largest_body(path: str) -> int:
    """Bytes that a request to this path may have."""
    return ROWS_BYTES if path.startswith("/v1/encode/") else SPEC_BYTES


def too_many(detail: str, seconds: float) -> Answer:
    """429, to be tried again after so many seconds."""
    return Answer(429, "too_many", detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def too_large(detail: str) -> Answer:
    """413."""
    return Answer(413, "too_large", detail)
