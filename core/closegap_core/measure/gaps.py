"""Where a model's ELBO falls short of log p(x): the gaps of Cremer, Li & Duvenaud 2018, with their errors.

inference gap = log p(x) - L[q], approximation gap = log p(x) - L[q*], amortization gap = L[q*] - L[q], q* the best
diagonal Gaussian of each row. On request each row's own auxiliary flow splits the approximation gap into what it gains
on q* and what it leaves. log p(x) is the higher of two lower bounds, IWAE and AIS; a sandwich on simulated rows
(bidirectional Monte Carlo) certifies the second. Two errors go with every figure: `standard_error`, over rows, and
`estimator_error`, of the Monte-Carlo estimate on these very rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import CHUNK_ROWS
from closegap_core.config import FlowConfig, GapConfig
from closegap_core.flow import AuxiliaryFlow, best_flow, pairs
from closegap_core.measure.ais import Walk, backward, estimate, forward, simulate, standard_error
from closegap_core.measure.optimum import optimum
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.progress import Pace, Progress

TIGHT = 0.1
"""Nats between the two sides of the certificate up to which an estimator counts as tight."""
FLOW_ROWS = 64
"""Rows whose flows are fitted together; more only cost memory."""


class Rows(NamedTuple):
    """A figure of each row, (B,), nats, and the variance of its Monte-Carlo estimate, (B,)."""

    value: Tensor
    variance: Tensor

    def minus(self, other: Rows) -> Rows:
        """The difference; the two estimates are independent."""
        return Rows(
            self.value.double() - other.value.double(), self.variance.double() + other.variance.double()
        )

    def to_dict(self) -> dict[str, float]:
        """{"value", "standard_error", "estimator_error"}."""
        count, value = len(self.value), self.value.double()
        return {
            "value": float(value.mean()),
            "standard_error": float(value.std()) / math.sqrt(count) if count > 1 else 0.0,
            "estimator_error": float(self.variance.double().sum().sqrt()) / count,
        }


class Flowed(NamedTuple):
    """The bound of each row's own flow, whether its ascent converged, and in how many rows it gained on q*."""

    bound: Rows
    converged: bool
    gained: int

    def to_dict(self) -> dict[str, Any]:
        """{"value", "standard_error", "estimator_error", "converged", "gained_rows"}."""
        return {**self.bound.to_dict(), "converged": self.converged, "gained_rows": self.gained}


class GapReport(NamedTuple):
    """The summary of one part."""

    summary: dict[str, Any]


def measure_gaps(
    model: Model, x: Tensor, infer: Callable[[Tensor], Posterior], config: GapConfig, seed: int
) -> Iterator[Progress | GapReport]:
    """The gap report of rows x (B, X); `infer` gives the amortized q of rows."""
    temperatures = config.ais.temperatures if config.ais else 0
    certificate = 2 * temperatures if config.certificate_rows else 0
    begun = 3 if config.flow else 2
    pace = Pace(begun + temperatures + certificate + 1, "step")
    with torch.no_grad():
        q = infer(x)
        amortized = elbo(model, x, q, config.elbo_samples, seed)
        best, converged = optimum(model, x, q, config.optimum, seed)
        optimal = elbo(model, x, best, config.elbo_samples, seed)
        yield pace.at(1)
        evidence = {"iwae": importance(model, x, best, config.importance_samples, seed)}
        yield pace.at(2)
        flow = flow_bound(model, x, best, config.flow, config.elbo_samples, seed) if config.flow else None
    if config.ais is not None:
        walk = yield from _last(forward(model, x, config.ais, seed), pace, begun)
        evidence["ais"] = Rows(estimate(walk), standard_error(walk).square())
    sandwich = None
    if config.ais is not None and config.certificate_rows:
        sandwich = yield from _certificate(model, config, seed, pace, begun + temperatures)
    yield GapReport(_summary(amortized, optimal, evidence, converged, flow, sandwich))
    yield pace.at(pace.total)


def _certificate(
    model: Model, config: GapConfig, seed: int, pace: Pace, done: int
) -> Generator[Progress, None, dict[str, Any]]:
    """Both sides of log p(x) on simulated rows; returns {"rows", "lower", "upper", "width"}."""
    if config.ais is None:
        raise TypeError("a certificate needs AIS")
    noise, x = simulate(model, config.certificate_rows, seed)
    up = yield from _last(forward(model, x, config.ais, seed + 1), pace, done)
    down = yield from _last(
        backward(model, x, noise, config.ais, seed + 2), pace, done + config.ais.temperatures
    )
    lower = Rows(estimate(up), standard_error(up).square())
    upper = Rows(-estimate(down), standard_error(down).square())
    return {
        "rows": config.certificate_rows,
        "lower": lower.to_dict(),
        "upper": upper.to_dict(),
        "width": upper.minus(lower).to_dict(),
    }


def _last(walks: Iterator[Walk], pace: Pace, done: int) -> Generator[Progress, None, Walk]:
    """The last of `walks`, with progress from `done` on."""
    walk = next(walks)
    for step, walk in enumerate(walks):  # noqa: B007 the last one is what is wanted
        if (due := pace.due(done + step)) is not None:
            yield due
    return walk


def elbo(model: Model, x: Tensor, q: Posterior, samples: int, seed: int) -> Rows:
    """L[q] of each row with its error, in chunks of antithetic draws."""
    chunk = max(2, CHUNK_ROWS // x.shape[0] // 2 * 2)
    means = []
    for first in range(0, samples, chunk):
        size = (chunk // 2, x.shape[0], model.noise_width)
        half = seeds.normal(size, model.dtype, seed, seeds.GAPS, first).to(x.device)
        means.append(model.bound(x, q, torch.cat([half, -half])).elbo)
    values = torch.stack(means)
    variance = values.var(0) / len(means) if len(means) > 1 else torch.zeros_like(values[0])
    return Rows(values.mean(0), variance)


@torch.no_grad()
def importance(model: Model, x: Tensor, q: Posterior, samples: int, seed: int) -> Rows:
    """The IWAE bound of each row (Burda et al. 2016) with the delta-method variance of its logarithm."""
    chunk = max(1, CHUNK_ROWS // x.shape[0])
    first_moment = torch.full((x.shape[0],), -math.inf, dtype=x.dtype, device=x.device)
    second_moment = first_moment.clone()
    for first in range(0, samples, chunk):
        size = (min(chunk, samples - first), x.shape[0], model.noise_width)
        noise = seeds.normal(size, model.dtype, seed, seeds.GAPS, 1, first).to(x.device)
        log_weights = model.log_weights(x, q, noise)
        first_moment = torch.logaddexp(first_moment, torch.logsumexp(log_weights, 0))
        second_moment = torch.logaddexp(second_moment, torch.logsumexp(2 * log_weights, 0))
    spread = (second_moment - 2 * first_moment).exp() - 1.0 / samples
    return Rows(first_moment - math.log(samples), spread.clamp(min=0.0))


def flow_bound(
    model: Model, x: Tensor, best: Posterior, config: FlowConfig, samples: int, seed: int
) -> Flowed:
    """L of each row's own flow, begun at its best diagonal Gaussian; few rows at a time, for each has its networks."""
    flow, found = AuxiliaryFlow(model.generative.latent, config), []
    for first in range(0, x.shape[0], FLOW_ROWS):
        rows = slice(first, first + FLOW_ROWS)
        base = Posterior(best.mean[rows], best.log_var[rows])
        fitted = best_flow(model, x[rows], base, config, seed)
        words, count = (seed, seeds.GAPS, 6, first), max(2, samples // 2)
        draws = pairs(model, flow, fitted.values, base, x[rows], count, words, shared=False)
        found.append(
            Flowed(Rows(draws.mean(0), draws.var(0) / len(draws)), fitted.converged, int(fitted.gained.sum()))
        )
    return Flowed(
        Rows(*(torch.cat(parts) for parts in zip(*(part.bound for part in found), strict=True))),
        all(part.converged for part in found),
        sum(part.gained for part in found),
    )


def _summary(
    amortized: Rows,
    optimal: Rows,
    evidence: dict[str, Rows],
    converged: bool,
    flow: Flowed | None,
    sandwich: dict[str, Any] | None,
) -> dict[str, Any]:
    used = max(evidence, key=lambda name: float(evidence[name].value.mean()))
    log_evidence = evidence[used]
    gaps = {
        "approximation_gap": log_evidence.minus(optimal).to_dict(),
        "amortization_gap": optimal.minus(amortized).to_dict(),
        "inference_gap": log_evidence.minus(amortized).to_dict(),
        "flow_gain": flow.bound.minus(optimal).to_dict() if flow else None,
        "flow_approximation_gap": log_evidence.minus(flow.bound).to_dict() if flow else None,
    }
    return {
        "rows": len(amortized.value),
        "elbo": amortized.to_dict(),
        "optimal_elbo": {**optimal.to_dict(), "converged": converged},
        "optimal_flow_elbo": flow.to_dict() if flow else None,
        "log_evidence": {**log_evidence.to_dict(), "estimator": used}
        | {name: rows.to_dict() for name, rows in evidence.items()},
        **gaps,
        "certificate": sandwich,
        "verdict": _verdict(gaps, converged, flow, sandwich),
    }


def _verdict(
    gaps: dict[str, Any], converged: bool, flow: Flowed | None, sandwich: dict[str, Any] | None
) -> list[str]:
    """What a reader should take from the figures, in words."""
    approximation, amortization = gaps["approximation_gap"]["value"], gaps["amortization_gap"]["value"]
    said = []
    if not converged:
        said.append(
            "q* had not converged within optimum.max_steps: the amortization gap is at least what is shown"
        )
    if flow and not flow.converged:
        said.append(
            "the flow had not converged within flow.optimum.max_steps: its approximation gap is at most what is shown"
        )
    if sandwich is None:
        said.append("log p(x) has no certificate: the approximation gap is at least what is shown")
    elif sandwich["width"]["value"] > TIGHT:
        said.append(
            f"log p(x) is certified only to {sandwich['width']['value']:.2g} nats: use more temperatures"
        )
    larger = "amortization" if amortization > approximation else "approximation"
    said.append(f"the {larger} gap is the larger part ({max(amortization, approximation):.2f} nats)")
    return said + _flow_verdict(gaps) if flow else said


def _flow_verdict(gaps: dict[str, Any]) -> list[str]:
    gain, left = gaps["flow_gain"]["value"], gaps["flow_approximation_gap"]
    said = [
        f"of the approximation gap an auxiliary flow closes {gain:.2f} nats and leaves {left['value']:.2f}",
    ]
    if left["value"] < -2 * left["estimator_error"]:
        said.append("the flow's bound is above the estimate of log p(x), which is therefore not tight")
    return said
