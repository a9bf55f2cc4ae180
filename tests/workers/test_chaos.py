"""A short run under faults, as `make chaos` is a long one: real processes, every sentence of the contract audited."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from closegap_workers.cluster import Cluster
from tests.chaos import report
from tests.chaos.auditor import audit
from tests.chaos.run import Plan, Run

SEED = 11
SLOW = frozenset({"rank-kill", "attempt-pause", "store-pause", "wire-cut", "machine-pause"})
"""What takes long, or Ray jobs; `make chaos` has them all."""


@pytest.mark.timeout(280)
def test_what_is_delivered_while_everything_dies(cluster: Cluster, tmp_path: Path) -> None:
    plan = Plan(
        SEED,
        faults=9,
        jobs=6,
        without=SLOW,
        lease=2.0,
        grace=2.0,
        workers=2,
        moment=0.5,
        breath=0.5,
        backlog=2,
    )
    history = Run(plan, tmp_path / "run", cluster, lambda what, done: None).through()
    # How late things may be is for `make chaos` to say: here other tests run beside.
    verdicts = audit(replace(history, busy=60.0))
    report.show(history, verdicts)
    for log in sorted((tmp_path / "run" / "logs").iterdir()):
        sys.stdout.write(f"{log.name}\n{log.read_text(errors='replace')[-3000:]}\n")
    assert [breach for verdict in verdicts for breach in verdict.breaches] == []
