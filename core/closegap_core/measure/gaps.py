"""Where a model's ELBO falls short of log p(x): the gaps of Cremer, Li & Duvenaud 2018, with their errors.

inference gap = log p(x) - L[q], approximation gap = log p(x) - L[q*], amortization gap = L[q*] - L[q], q* the best
diagonal Gaussian of each row. On request each row's own auxiliary flow splits the approximation gap into what it gains
on q* and what it leaves. log p(x) is the higher of two lower bounds, IWAE and AIS; a sandwich on simulated rows
(bidirectional Monte Carlo) certifies the second. Two errors go with every figure: `standard_error`, over rows, and
`estimator_error`, of the Monte-Carlo estimate on these very rows.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import torch

from closegap_core.config import FlowConfig, GapConfig
from closegap_core.measure import optimum
from closegap_core.measure.estimators import Estimates, Flowed, elbo, flow_bound, importance, shortfall
from closegap_core.measure.evidence import Annealed, Certificate
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.moments import Columns, Moments
from closegap_core.measure.optimum import best_of
from closegap_core.measure.stage import Found, Stage, counted
from closegap_core.measure.subject import Portion
from closegap_core.measure.verdict import of_gaps
from closegap_core.model import Model

FLOW_ROWS = 64
"""Rows whose flows are fitted together; more only cost memory, for each has its networks."""


@final
class Bounds(Stage):
    """L[q], L[q*] and the importance-weighted bound with q* as its proposal."""

    def __init__(self, portion: Portion, config: GapConfig) -> None:
        self.portion, self.config = portion, config
        self.name, self.rows = f"bounds.{portion.name}", _rows(portion, config)
        self.chunk = optimum.ROWS
        self.cost = 4 * config.elbo_samples + config.importance_samples

    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        portion, samples, words = self.portion, self.config.elbo_samples, (self.portion.seed, rows.start)
        model, batch, best = portion.model, portion.batch(rows), best_of(found, portion, rows)
        with torch.no_grad():
            own = elbo(model, batch.x, portion.infer(batch), samples, *words)
            optimal = elbo(model, batch.x, best, samples, *words)
            yield 2 * samples
            short = shortfall(model, batch.x, best, samples, *words)
            yield 4 * samples
            weighted = importance(model, batch.x, best, self.config.importance_samples, *words)
        return {
            **own.columns("elbo"),
            **optimal.columns("optimal"),
            **weighted.columns("iwae"),
            "shortfall": short,
        }


@final
class LocalFlow(Stage):
    """The bound of each row's own auxiliary flow, begun at q*."""

    def __init__(self, portion: Portion, config: GapConfig, flow: FlowConfig) -> None:
        self.portion, self.config, self.flow = portion, config, flow
        self.name, self.rows = f"flow.{portion.name}", _rows(portion, config)
        self.chunk, settings = FLOW_ROWS, flow.optimum
        steps = len(settings.learning_rates) * settings.window * (settings.patience + 2)
        self.cost = 3 * settings.samples * min(steps, settings.max_steps) + config.elbo_samples

    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        portion, samples = self.portion, self.flow.optimum.samples
        best, x = best_of(found, portion, rows), portion.batch(rows).x
        draws, words = self.config.elbo_samples, (portion.seed, rows.start)
        work = flow_bound(portion.model, x, best, self.flow, draws, *words)
        flowed = yield from counted(work, lambda made: 3 * samples * made // len(rows), self.cost)
        columns = {"converged": flowed.converged, "gained": flowed.gained}
        return {**flowed.bound.columns("flow"), **columns}


def gap_stages(portion: Portion, config: GapConfig) -> list[Stage]:
    """What a part's report needs beside q*."""
    return [
        Bounds(portion, config),
        *([LocalFlow(portion, config, config.flow)] if config.flow else []),
        *([Annealed(portion, _rows(portion, config), config.ais)] if config.ais else []),
    ]


def certificate_of(model: Model, config: GapConfig, seed: int) -> Certificate | None:
    """The certificate, where one is asked for."""
    if config.ais is None or not config.certificate_rows:
        return None
    return Certificate(model, config.certificate_rows, config.ais, seed)


@final
@dataclass(frozen=True)
class Gaps:
    """What the stages found of one part, row by row."""

    amortized: Estimates
    optimal: Estimates
    evidence: dict[str, Estimates]
    """Lower bounds on log p(x), by estimator."""
    flow: Flowed | None
    richer: bool
    """Whether the model's own q is a flow; its best is the row's own flow, where one was fitted."""
    config: GapConfig

    @classmethod
    def read(cls, ledger: Ledger, part: str, config: GapConfig, richer: bool) -> Gaps:
        """From the ledger, once every stage is through."""
        names = [f"{name}{ending}" for name in ("elbo", "optimal", "iwae") for ending in ("", "_variance")]
        bounds = ledger.columns(f"bounds.{part}", *names)
        evidence = {"iwae": Estimates.read(bounds, "iwae")}
        if config.ais is not None:
            evidence["ais"] = Estimates.read(ledger.columns(f"ais.{part}", "ais", "ais_variance"), "ais")
        flow = _flowed(ledger, part) if config.flow else None
        own, optimal = (Estimates.read(bounds, name) for name in ("elbo", "optimal"))
        return cls(own, optimal, evidence, flow, richer, config)

    @cached_property
    def used(self) -> str:
        """The estimator of log p(x) that the gaps are measured from."""
        return _better(self.evidence)

    @property
    def family(self) -> str:
        """Whose best member q* is."""
        return "auxiliary_flow" if self.richer and self.flow else "gaussian"

    def bounds(self) -> dict[str, Estimates]:
        """Bounds by name, of each row."""
        found = {
            "elbo": self.amortized,
            "optimal_elbo": self.optimal,
            "log_evidence": self.evidence[self.used],
        }
        return found | ({"optimal_flow_elbo": self.flow.bound} if self.flow else {})

    def gaps(self) -> dict[str, Estimates]:
        """Gaps by name, of each row; those of a flow only where flows were fitted."""
        evidence = self.evidence[self.used]
        best = self.flow.bound if self.richer and self.flow else self.optimal
        gaps = {
            "approximation_gap": evidence.minus(best),
            "amortization_gap": best.minus(self.amortized),
            "inference_gap": evidence.minus(self.amortized),
        }
        if self.flow is None:
            return gaps
        flow = self.flow.bound
        return gaps | {"flow_gain": flow.minus(self.optimal), "flow_approximation_gap": evidence.minus(flow)}

    def arrays(self, part: str) -> dict[str, np.ndarray]:
        """rows_<part>_<name>, (R,) nats: what two models' gaps are compared by."""
        found = self.bounds() | self.gaps()
        return {f"rows_{part}_{name}": estimates.value for name, estimates in found.items()}


def gap_report(ledger: Ledger, part: str, found: Gaps, certificate: dict[str, Any] | None) -> dict[str, Any]:
    """The report of one part from what its stages found."""
    lacking = ledger.columns(f"bounds.{part}", "shortfall")["shortfall"]
    converged = ledger.columns(f"optimum.{part}", "converged")["converged"][: len(lacking)]
    gaps: dict[str, Any] = dict.fromkeys(("flow_gain", "flow_approximation_gap"))
    gaps |= {name: estimates.to_dict() for name, estimates in found.gaps().items()}
    draws, evidence = {"samples": found.config.elbo_samples}, _evidence(found)
    report = {
        "rows": len(found.amortized.value),
        "elbo": found.amortized.to_dict() | draws,
        "optimal_elbo": {
            **found.optimal.to_dict(),
            **draws,
            "converged": bool(converged.all()),
            "unfinished_rows": int((~converged).sum()),
            # What q* lacks of the best member of its family: an estimate, in no other figure.
            "shortfall": Moments.of(lacking).to_dict(),
        },
        "optimal_flow_elbo": found.flow.to_dict() | draws if found.flow else None,
        "log_evidence": {**found.evidence[found.used].to_dict(), "estimator": found.used, **evidence},
        "family": found.family,
        **gaps,
        "certificate": certificate,
    }
    return {**report, "verdict": of_gaps(report)}


def _evidence(found: Gaps) -> dict[str, dict[str, Any]]:
    """log p(x) by each estimator, and what it was given for that."""
    config = found.config
    given = {"iwae": {"samples": config.importance_samples}}
    if config.ais is not None:
        given["ais"] = config.ais.model_dump(mode="json")
    return {name: estimates.to_dict() | given[name] for name, estimates in found.evidence.items()}


def _better(evidence: dict[str, Estimates]) -> str:
    """Of lower bounds the higher; of those that differ by no more than their noise the one with less of it."""
    figures = {name: estimates.to_dict() for name, estimates in evidence.items()}
    highest = max(figures, key=lambda name: figures[name]["value"])

    def close(name: str) -> bool:
        apart = evidence[highest].minus(evidence[name]).to_dict()
        return apart["value"] <= 2 * apart["estimator_error"]

    return min(filter(close, figures), key=lambda name: figures[name]["estimator_error"])


def _flowed(ledger: Ledger, part: str) -> Flowed:
    columns = ledger.columns(f"flow.{part}", "flow", "flow_variance", "converged", "gained")
    return Flowed(Estimates.read(columns, "flow"), columns["converged"], columns["gained"])


def _rows(portion: Portion, config: GapConfig) -> int:
    return min(portion.size, config.rows)
