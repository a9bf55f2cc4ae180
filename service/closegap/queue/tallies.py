"""What has happened, in numbers that only grow: counted in the store by the scripts in which it happens.

So a count outlives the worker that made it, whichever API process is asked tells the same, and telling costs one read
of a hash whose size is that of the label sets, not of the history. `record.lua` writes, this reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import redis

from closegap.store.store import speaking

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
BUCKETS: dict[str, tuple[float, ...]] = {
    "queue_wait": (
        0.05,
        0.25,
        1,
        5,
        15,
        _MINUTE,
        5 * _MINUTE,
        15 * _MINUTE,
        _HOUR,
        4 * _HOUR,
        12 * _HOUR,
        _DAY,
    ),
    "claim": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    "first_step": (0.5, 1, 2, 5, 10, 20, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE),
    "run": (1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR, _DAY, 7 * _DAY),
}
"""Upper bounds in seconds of the histograms that the scripts keep; one more bucket is above them all."""
CLASSES = (("low", 33), ("normal", 66), ("high", 100))
"""Classes of priority, each with its highest."""


@final
class Histogram(NamedTuple):
    """Of one label set: observations a bucket (not cumulated), and their sum in seconds."""

    buckets: tuple[int, ...]
    sum: float


@final
class Counts(NamedTuple):
    """By name, then by label values."""

    counters: dict[str, dict[tuple[str, ...], int]]
    histograms: dict[str, dict[tuple[str, ...], Histogram]]


@final
class Tallies:
    """Reads one namespace; writes nothing. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def counts(self) -> Counts:
        """Everything that was counted so far."""
        return _sorted_out(self._read("counts"))

    def population(self) -> dict[tuple[str, str, str], int]:
        """How many jobs there are now, by (project, kind, state); what is not named is 0."""
        found: dict[tuple[str, str, str], int] = {}
        for field, number in self._read("population").items():
            project, kind, state = field.split("|")
            found[project, kind, state] = max(0, int(number))
        return found

    def _read(self, what: str) -> dict[str, str]:
        with speaking(self._client):
            found: Any = self._client.hgetall(f"{self._root}:{what}")
        return dict(found)


def _sorted_out(fields: Mapping[str, str]) -> Counts:
    counters: dict[str, dict[tuple[str, ...], int]] = {}
    buckets: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    sums: dict[tuple[str, tuple[str, ...]], float] = {}
    for field, number in fields.items():
        name, *labels = field.split("|")
        if name not in BUCKETS:
            counters.setdefault(name, {})[tuple(labels)] = int(number)
            continue
        *labels, place = labels
        key = (name, tuple(labels))
        if place == "sum":
            sums[key] = int(number) / 1e6
        else:
            buckets.setdefault(key, [0] * (len(BUCKETS[name]) + 1))[int(place) - 1] = int(number)
    histograms: dict[str, dict[tuple[str, ...], Histogram]] = {}
    for (name, values), counted in buckets.items():
        histograms.setdefault(name, {})[values] = Histogram(tuple(counted), sums.get((name, values), 0.0))
    return Counts(counters, histograms)
