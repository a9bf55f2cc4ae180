"""Which faults come, when, and for how long: drawn up front, so that one seed is one plan."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHARES: Mapping[str, float] = {
    "attempt-kill": 18,
    "worker-kill": 14,
    "worker-pause": 8,
    "machine-pause": 7,
    "store-kill": 12,
    "store-full": 3,
    "store-pause": 3,
    "api-kill": 9,
    "rank-kill": 7,
    "attempt-pause": 3,
    "attempt-full": 6,
    "wire-mute": 6,
    "wire-cut": 5,
    "blackout": 3,
}
"""Every kind of fault, and how often it comes among a hundred or so."""
WINDOWS = ("claimed", "starting", "working", "working", "sealed", "ended")
"""What an attempt is doing when a fault that chooses its moment strikes it."""
LONGER_THAN_A_LEASE = ("worker-pause", "machine-pause", "wire-cut")


@dataclass(frozen=True)
class Planned:
    """One fault of the plan. Times in seconds."""

    number: int
    kind: str
    after: float
    """Since the fault before it."""
    lasts: float
    """Until what was killed is started again, or what was stopped goes on."""
    window: str
    pick: float
    """In [0, 1): which of the possible victims."""

    def line(self) -> dict[str, Any]:
        """As the record has it."""
        return asdict(self)


def plan(seed: int, faults: int, lease: float, without: frozenset[str] = frozenset()) -> list[Planned]:
    """As many faults, every kind among them where there is room for it."""
    draw = random.Random(f"closegap chaos {seed}")
    kinds = [kind for kind in SHARES if kind not in without]
    drawn = draw.sample(kinds, min(faults, len(kinds)))
    drawn += draw.choices(kinds, [SHARES[kind] for kind in kinds], k=faults - len(drawn))
    draw.shuffle(drawn)
    return [
        Planned(
            number=number,
            kind=kind,
            after=round(draw.uniform(0.3, 3.7), 3),
            lasts=round(_lasts(draw, kind, lease), 3),
            window=draw.choice(WINDOWS),
            pick=round(draw.random(), 6),
        )
        for number, kind in enumerate(drawn, 1)
    ]


def _lasts(draw: random.Random, kind: str, lease: float) -> float:
    if kind in LONGER_THAN_A_LEASE:
        # Others claim what a silent worker holds at their next look, at most two seconds after its lease.
        return lease + draw.uniform(2.2, 3.5)
    if kind == "wire-mute":
        return draw.uniform(0.2, 1.0)
    if kind == "store-full":
        return draw.uniform(2.0, 4.0)
    return draw.uniform(0.0, 2.0)
