"""Numbers that are kept by the process are those that the store has, however they were read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from closegap.api.context import Context
from closegap.api.readings import EMPTY, Readings, Shelf
from closegap.job import Capacity, Lease
from closegap.specs import spec
from tests.api.conftest import TRAIN


@pytest.fixture
def lease(context: Context) -> Lease:
    """Of a training that runs."""
    context.queue.submit(spec.parse(dict(TRAIN)), project="ours")
    claim = context.queue.claim("w", Capacity(cpus=4), 60)
    assert claim is not None
    context.queue.start(claim.lease)
    return claim.lease


def epoch(number: int, elbo: float) -> dict[str, Any]:
    curve = [elbo - 9.0, elbo]
    return {
        "type": "epoch",
        "epoch": number,
        "valid": {"elbo": elbo, "elbo_by_iteration": curve},
        "seconds": 1,
    }


def told(readings: Readings) -> tuple[object, object]:
    return readings.columns, readings.iterations


def anew(context: Context, lease: Lease) -> tuple[object, object]:
    readings = Readings()
    readings.go_on(context.queue, lease.job)
    return told(readings)


def test_what_is_read_in_parts_is_what_is_read_at_once(
    context: Context, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closegap.queue.events.AT_ONCE", 3)  # so that one look is several scripts
    shelf = Shelf(context.queue)
    with shelf.of(lease.job) as readings:
        assert told(readings) == ({}, {})
    for first in (1, 6, 4):  # the third attempt makes two epochs once more
        batch = [epoch(number, -100.0 / number - first) for number in range(first, first + 5)]
        context.queue.report(
            lease, [*batch, {"type": "log", "line": "x"}, {"type": "check", "error": first / 8}]
        )
        with shelf.of(lease.job) as readings:
            assert told(readings) == anew(context, lease)
            assert readings.columns["check", "event"]["error"][1][-1] == first / 8
    with shelf.of(lease.job) as readings:
        assert sorted(readings.iterations) == list(range(1, 11))
        assert readings.iterations[6] == [-100.0 / 6 - 4 - 9.0, -100.0 / 6 - 4]
        assert len(readings.columns["epoch", "epoch"]["valid.elbo"][0]) == 15


def test_an_epoch_of_another_shape_spoils_no_curve(context: Context, lease: Lease) -> None:
    strange = [
        {"type": "epoch", "epoch": 2, "valid": -3.0},
        {"type": "epoch", "valid": {"elbo_by_iteration": [1.0]}},
    ]
    context.queue.report(lease, [epoch(1, -1.0), *strange, epoch(3, -2.0)])
    with Shelf(context.queue).of(lease.job) as readings:
        assert sorted(readings.iterations) == [1, 3]
        assert readings.columns["epoch", "epoch"]["valid.elbo"] == ([1.0, 3.0], [-1.0, -2.0])


def test_threads_that_look_at_once_read_once(context: Context, lease: Lease) -> None:
    context.queue.report(lease, [epoch(number, -1.0) for number in range(1, 200)])
    shelf = Shelf(context.queue)

    def look(_: int) -> int:
        with shelf.of(lease.job) as readings:
            return len(readings.columns["epoch", "epoch"]["valid.elbo"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(24))) == [199] * 24


def test_only_so_many_numbers_are_kept(
    context: Context, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.queue.report(lease, [epoch(number, -1.0) for number in range(1, 11)])
    shelf = Shelf(context.queue)

    def kept(before: Readings | None, job: str) -> tuple[bool, Readings]:
        with shelf.of(job) as readings:
            return readings is before, readings

    _, first = kept(None, lease.job)
    assert first.size() == 30  # epoch, its ELBO, its seconds
    _, other = kept(None, "train-other")
    assert kept(first, lease.job)[0]
    assert kept(other, "train-other")[0]
    monkeypatch.setattr("closegap.api.readings.VALUES", 30 + EMPTY)
    assert kept(first, lease.job)[0]  # the last to be asked for stays, the other goes
    again, _ = kept(other, "train-other")
    assert not again
    monkeypatch.setattr("closegap.api.readings.VALUES", 20)
    assert not kept(first, lease.job)[0]
    assert told(kept(None, lease.job)[1]) == anew(context, lease)  # more than is kept, and yet whole
