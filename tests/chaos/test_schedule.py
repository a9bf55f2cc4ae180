"""One seed is one plan, of faults and of work."""

from __future__ import annotations

from pathlib import Path

from closegap.specs import spec
from tests.chaos.faults import KINDS
from tests.chaos.schedule import SHARES, plan
from tests.chaos.workload import wanted


def test_one_seed_is_one_plan() -> None:
    assert plan(7, 300, 4.0) == plan(7, 300, 4.0)
    assert plan(7, 300, 4.0) != plan(8, 300, 4.0)
    assert [wanted(7, n, Path("/d")) for n in range(50)] == [wanted(7, n, Path("/d")) for n in range(50)]


def test_every_kind_of_fault_comes() -> None:
    assert set(KINDS) == set(SHARES)
    assert {planned.kind for planned in plan(1, len(SHARES), 4.0)} == set(SHARES)
    assert "rank-kill" not in {planned.kind for planned in plan(1, 300, 4.0, frozenset({"rank-kill"}))}
    assert [planned.number for planned in plan(1, 300, 4.0)] == list(range(1, 301))


def test_what_is_submitted_is_valid_unless_it_must_be_refused() -> None:
    for number in range(200):
        job = wanted(3, number, Path("/d"))
        if job.expected == "accepted":
            assert len(spec.parse(job.body())) == len(job.specs)
