"""What long work yields while it runs."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, final


class Progress(NamedTuple):
    """`done` of `total` units; rate in units a second of wall time, None until known."""

    done: int
    total: int
    unit: str
    rate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "progress", …}."""
        return {"type": "progress", **self._asdict()}


@final
class Pace:
    """Says when progress is due (about twice a second) and at what rate it goes."""

    def __init__(self, total: int, unit: str, done: int = 0, interval: float = 0.5) -> None:
        self.total, self.unit, self.interval = total, unit, interval
        self._start, self._first = time.monotonic(), done
        self._last = -interval

    def at(self, done: int) -> Progress:
        """The progress record for so many units done."""
        elapsed = time.monotonic() - self._start
        new = done - self._first
        return Progress(done, self.total, self.unit, new / elapsed if new and elapsed > 0 else None)

    def due(self, done: int) -> Progress | None:
        """`at(done)` when the last one is old enough or the work is complete, else None."""
        now = time.monotonic() - self._start
        if done < self.total and now - self._last < self.interval:
            return None
        self._last = now
        return self.at(done)
