"""Where along an ascent its ELBO is measured."""

from __future__ import annotations

import math


def marks(last: int) -> tuple[int, ...]:
    """Steps after which the ELBO of an ascent is measured: all to 16, then ever further apart, and the last."""
    found, step = set(range(min(last, 16) + 1)), 16
    while step < last:
        step = min(last, math.ceil(step * 1.25))
        found.add(step)
    return tuple(sorted(found))
