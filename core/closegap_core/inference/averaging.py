"""The mean of the iterates that follow training's last.

Near its end inference moves about the optimum, for every iteration has draws of its own, and drifts where training has
not shown it what comes after T. The mean of the iterates does neither (Polyak & Juditsky 1992).
"""

from __future__ import annotations

from closegap_core.ops import Ops, Value
from closegap_core.posterior import Posterior


def averaged(ops: Ops, before: Posterior, iterate: Posterior, late: Value) -> Posterior:
    """The mean of iterates 0 … `late`, of means and of log-variances, from that of 0 … late - 1.

    late: iterations beyond T; where it is at most 0 the iterate itself, bit for bit.
    """
    share = 1.0 / (ops.maximum(late, 0.0) + 1.0)
    mean, log_var = (new * share + old * (1.0 - share) for old, new in zip(before, iterate, strict=True))
    return Posterior(mean, log_var)
