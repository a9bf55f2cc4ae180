"""What jobs have reported in numbers, kept by this process: who looks again pays for what is new.

A training of ten thousand epochs is 5 MB of events. Its page asks for its curves, and again while it runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from closegap.queue.queue import Queue

X = ("epoch", "iteration", "step", "rows")
"""What a reported value is drawn over: the first of these that the event has."""
ORDER = "event"
"""What it is drawn over where the event has none of them: the order of events."""
VALUES = 2_000_000
"""Numbers that are kept, of the jobs that were asked for last: 100 MB. A training of 10,000 epochs has 150,000."""
EMPTY = 50
"""What a job without numbers counts."""
_WITHOUT = frozenset({"progress", "log", "state", "wish", "change", "end", "trial"})
_DEEPEST = 4
Columns = dict[str, tuple[list[float], list[float | None]]]
"""By name: x and y of each point, in the order in which they were told."""


@final
class Readings:
    """The numbers of one job so far."""

    def __init__(self) -> None:
        self.columns: dict[tuple[str, str], Columns] = {}
        """By type of the event and name of x."""
        self.iterations: dict[int, list[float | None]] = {}
        """Validation ELBO by iteration, by epoch; of one that was made twice, after a restart, the last."""
        self.lock = threading.Lock()
        self._after, self._count = "0", 0

    def go_on(self, queue: Queue, job: str) -> None:
        """Read what is new; one thread at a time."""
        for after, told in queue.reported(job, _WITHOUT, self._after):
            for kind, data in told:
                self._take(kind, data)
            self._after = after

    def size(self) -> int:
        """Numbers in it."""
        return sum(len(xs) for columns in self.columns.values() for xs, _ in columns.values())

    def _take(self, kind: str, data: Mapping[str, Any]) -> None:
        x = next((name for name in X if _is_number(data.get(name))), ORDER)
        place = float(self._count if x == ORDER else data[x])
        self._count += 1
        _file(data, "", 1, place, self.columns.setdefault((kind, x), {}))
        valid = data.get("valid")
        if kind == x == "epoch" and isinstance(valid, dict) and (curve := valid.get("elbo_by_iteration")):
            self.iterations[int(place)] = curve


@final
class Shelf:
    """Readings of the jobs that were asked for last. Safe to share between threads."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._kept: OrderedDict[str, tuple[Readings, int]] = OrderedDict()
        """With what each counts."""
        self._total = 0
        self._lock = threading.Lock()

    @contextmanager
    def of(self, job: str) -> Iterator[Readings]:
        """As they are now; nobody else changes them inside. The id is whole, and its owner may be asked about it."""
        with self._lock:
            found, _ = self._kept.setdefault(job, (Readings(), 0))
        with found.lock:
            found.go_on(self._queue, job)
            self._keep(job, found)
            yield found

    def _keep(self, job: str, found: Readings) -> None:
        """Remember it as the last, and forget the first ones while they all are too many."""
        with self._lock:
            _, before = self._kept.pop(job, (found, 0))
            self._kept[job] = found, EMPTY + found.size()
            self._total += self._kept[job][1] - before
            while self._total > VALUES:
                _, (_, size) = self._kept.popitem(last=False)
                self._total -= size


def _file(value: Mapping[str, Any], prefix: str, depth: int, place: float, columns: Columns) -> None:
    """Numbers of nested objects into columns by dotted name; null is one that was not finite. Lists are no series."""
    for name, item in value.items():
        kind = type(item)
        if kind is float or kind is int or item is None:
            path = prefix + name
            if path not in columns:
                columns[path] = ([], [])
            xs, ys = columns[path]
            xs.append(place)
            ys.append(item)
        elif kind is dict and depth < _DEEPEST:
            _file(item, f"{prefix}{name}.", depth + 1, place, columns)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
