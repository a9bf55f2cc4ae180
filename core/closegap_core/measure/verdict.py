"""What a reader should take from the figures, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TIGHT = 0.1
"""Nats between the two sides of the certificate up to which an estimator counts as tight."""
SHORT = 0.05
"""Nats that q* may lack before it is said."""
SURE = 2.0
"""Standard errors beyond which a difference is said."""
FEW_NATS = 0.1
"""A difference of ELBOs that is worth saying."""

Figures = Mapping[str, Any]


def of_gaps(found: Figures) -> list[str]:
    """Of one part's gap report."""
    approximation, amortization = found["approximation_gap"]["value"], found["amortization_gap"]["value"]
    # Of a model whose q is a flow, the best diagonal Gaussian is in neither gap.
    said = _of_optimum(found["optimal_elbo"], found["rows"]) if found["family"] == "gaussian" else []
    if (flow := found["optimal_flow_elbo"]) and not flow["converged"]:
        said.append(
            "the flow had not converged within flow.optimum.max_steps: its approximation gap is at most what is shown"
        )
    said += _of_certificate(found["certificate"])
    larger = "amortization" if amortization > approximation else "approximation"
    said.append(f"the {larger} gap is the larger part ({max(amortization, approximation):.2f} nats)")
    return said + _of_flow(found) if flow else said


def _of_optimum(optimal: Figures, rows: int) -> list[str]:
    """What the best diagonal Gaussian lacks, which the amortization gap is measured from."""
    said, unfinished, short = [], optimal["unfinished_rows"], optimal["shortfall"]
    if unfinished:
        said.append(
            f"q* of {unfinished} of {rows} rows had not converged within optimum.max_steps: the amortization gap is at "
            "least what is shown"
        )
    if short["value"] > max(SHORT, SURE * short["standard_error"]):
        said.append(
            f"q* is about {short['value']:.2f} nats short of the best: so much more is amortization gap"
        )
    return said


def _of_certificate(certificate: Figures | None) -> list[str]:
    if certificate is None:
        return ["log p(x) has no certificate: the approximation gap is at least what is shown"]
    width = certificate["width"]["value"]
    if width > TIGHT:
        return [
            f"the estimator of log p(x) is not tight: certified only to {width:.2g} nats; use more temperatures"
        ]
    return []


def _of_flow(found: Figures) -> list[str]:
    gain, left = found["flow_gain"]["value"], found["flow_approximation_gap"]
    said = [
        f"of the approximation gap an auxiliary flow closes {gain:.2f} nats and leaves {left['value']:.2f}"
    ]
    if left["value"] < -SURE * left["estimator_error"]:
        said.append("the flow's bound is above the estimate of log p(x), which is therefore not tight")
    return said


def of_evaluation(found: Figures) -> list[str]:
    """Of the whole evaluation: posterior collapse, convergence at T, encoder overfitting, tight estimators."""
    return [*_of_units(found), *_of_iterations(found), *_of_parts(found), *_of_estimator(found)]


def _of_units(found: Figures) -> list[str]:
    units, levels = found["active_units"], found["kl_by_level"] or ()
    count, total = units["count"], len(units["variance"])
    if not count:
        return ["posterior collapse: no dimension of z depends on x"]
    dead = [str(level["level"]) for level in levels if not level["active_units"]]
    if dead:
        return [f"posterior collapse of level {', '.join(dead)}: none of its dimensions depends on x"]
    if count * 10 < total:
        return [f"posterior collapse in part: {count} of {total} dimensions of z depend on x"]
    return []


def _of_iterations(found: Figures) -> list[str]:
    """Paired differences over rows stand in `after_iterations`."""
    change = found["after_iterations"]
    if change is None or abs(change["value"]) < max(FEW_NATS, SURE * change["standard_error"]):
        return []
    last, reported = found["elbo_by_iteration"][-1]["iteration"], found["iterations"]
    if change["value"] > 0:
        return [f"not converged at T = {reported}: iteration {last} is {change['value']:.2f} nats better"]
    return [f"unstable beyond T = {reported}: iteration {last} is {-change['value']:.2f} nats worse"]


def _of_parts(found: Figures) -> list[str]:
    gaps = found["gaps"] or {}
    if "train" not in gaps or len(gaps) < 2:
        return []
    train = gaps["train"]["amortization_gap"]
    said = []
    for part, report in gaps.items():
        other = report["amortization_gap"]
        error = math.hypot(train["standard_error"], other["standard_error"])
        if part != "train" and other["value"] - train["value"] > max(FEW_NATS, SURE * error):
            said.append(
                f"the encoder overfits: its amortization gap is {train['value']:.2f} nats on train rows and "
                f"{other['value']:.2f} on {part} rows"
            )
    return said


def _of_estimator(found: Figures) -> list[str]:
    said = [
        word for report in (found["gaps"] or {}).values() for word in _of_certificate(report["certificate"])
    ]
    return list(dict.fromkeys(said))
