"""Where a training step was not finite, in words."""

from __future__ import annotations

from closegap_core.generative import Bound
from closegap_core.parameters import Flat


def of_gradient(flat: Flat, bound: Bound | None) -> str:
    """The first parameter whose gradient is not finite, and the terms of the bound of this rank's rows that are not.

    bound: of the rows that were learned from; absent: this rank had none, or they are still being learned from.
    """
    name = next((name for name, grad in flat.grads.items() if not bool(grad.isfinite().all())), None)
    said = ["each is finite, but not their sum" if name is None else f"first that of {name}"]
    for term, values in zip(("log-likelihood", "KL"), () if bound is None else bound, strict=False):
        rows = int((~values.isfinite()).sum())
        if rows:
            said.append(f"the {term} of {rows} of {len(values)} rows is not finite")
    if bound is not None and len(said) == 1:
        said.append("log-likelihood and KL of the rows are finite")
    return "; ".join(said)
