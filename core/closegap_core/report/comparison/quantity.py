"""The figures of an evaluation by the names that a comparison gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

from closegap_core.report.comparison.frontier import point
from closegap_core.report.comparison.inputs import ComparisonError, Entry

Better = Literal["higher", "lower", "neither"]


class Value(NamedTuple):
    """A figure and its standard error, where it has one."""

    value: float
    error: float | None = None


@final
@dataclass(frozen=True)
class Quantity:
    """How a figure is told, and where it is found."""

    title: str
    unit: str
    of: Callable[[Entry], Value]
    """Raises ComparisonError where the evaluation does not have it."""
    better: Better = "neither"
    digits: int = 2
    rows: str = ""
    """The array of an evaluation that holds it row by row, if one does."""
    exponential: bool = False
    """Whether it is the exponential of the mean over rows."""
    section: tuple[str, ...] = ()
    """Of metrics.json, which says of how many rows the figure is; empty: of those of the identity."""

    @property
    def heading(self) -> str:
        """With the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def count(self, entry: Entry) -> Any:
        """Of how many rows of the entry it is."""
        found: Any = entry.metrics if self.section else entry.identity
        for name in self.section:
            found = found[name]
        return found.get("rows")


def _stored(*path: str, error: str = "") -> Callable[[Entry], Value]:
    """A figure of metrics.json; its standard error is beside it, or has a name of its own."""

    def read(entry: Entry) -> Value:
        found = entry.part(path[0])
        for depth, name in enumerate(path[1:], start=2):
            if not isinstance(found, dict) or found.get(name) is None:
                raise ComparisonError(f"the evaluation of `{entry.label}` has no {'.'.join(path[:depth])}")
            found = found[name]
        if isinstance(found, dict):
            return Value(float(found["value"]), found.get("standard_error"))
        return Value(float(found), float(entry.part(error)) if error else None)

    return read


def _gradient(last: bool) -> Callable[[Entry], Value]:
    """Mean absolute gradient of the ELBO with respect to the mean of q, at the start or after the last iteration."""

    def read(entry: Entry) -> Value:
        iteration = entry.part("iterations") if last else 0
        return Value(float(entry.part("gradient_by_iteration")[iteration]["mean"]))

    return read


def _of_point(name: str, error: str = "") -> Callable[[Entry], Value]:
    """A figure of the entry's point of the frontier."""

    def read(entry: Entry) -> Value:
        found = point(entry)
        return Value(float(found[name]), float(found[error]) if error else None)

    return read


_NATS = "nats"
_FRONTIER = ("frontier",)
PARTS = ("train", "valid", "test")
_PLAIN = {
    "elbo": Quantity("ELBO", _NATS, _stored("elbo", error="elbo_standard_error"), "higher", rows="rows_elbo"),
    "log_likelihood": Quantity("log-likelihood", _NATS, _stored("log_likelihood")),
    "kl": Quantity("KL", _NATS, _stored("kl")),
    "iwae": Quantity("IWAE bound", _NATS, _stored("iwae"), "higher", rows="rows_iwae"),
    "bits_per_dimension": Quantity(
        "bits/dim, ELBO", "", _stored("bits_per_dimension", "elbo"), "lower", 3, "rows_elbo_in_unit"
    ),
    "bits_per_dimension_iwae": Quantity(
        "bits/dim, IWAE", "", _stored("bits_per_dimension", "iwae"), "lower", 3, "rows_iwae_in_unit"
    ),
    "perplexity": Quantity(
        "perplexity ≤, ELBO", "", _stored("perplexity", "elbo"), "lower", 1, "rows_elbo_in_unit", True
    ),
    "perplexity_iwae": Quantity(
        "perplexity, IWAE", "", _stored("perplexity", "iwae"), "lower", 1, "rows_iwae_in_unit", True
    ),
    "active_units": Quantity("active units", "", _stored("active_units", "count"), digits=0),
    "refined_elbo": Quantity("best by Adam on q", _NATS, _stored("refinement", "best"), "higher"),
    "first_gradient": Quantity("|dL/d mean|, iteration 0", "", _gradient(last=False), digits=4),
    "last_gradient": Quantity("|dL/d mean|, last iteration", "", _gradient(last=True), digits=4),
    "frontier.elbo": Quantity(
        "ELBO", _NATS, _of_point("elbo", "standard_error"), "higher", section=_FRONTIER
    ),
    "frontier.gap": Quantity(
        "gap left", _NATS, _of_point("gap", "gap_standard_error"), "lower", section=_FRONTIER
    ),
    "frontier.seconds": Quantity("CPU time a row", "s", _of_point("seconds"), digits=5, section=_FRONTIER),
}
_OF_A_PART: dict[str, tuple[str, Better]] = {
    "elbo": ("L[q]", "higher"),
    "optimal_elbo": ("L[q*]", "higher"),
    "optimal_flow_elbo": ("L[q*] of the local flow", "higher"),
    "log_evidence": ("log p(x)", "higher"),
    "approximation_gap": ("approximation gap", "neither"),
    "amortization_gap": ("amortization gap", "neither"),
    "inference_gap": ("inference gap", "neither"),
    "flow_gain": ("gain of the local flow", "neither"),
    "flow_approximation_gap": ("approximation gap of the local flow", "neither"),
}
QUANTITIES = _PLAIN | {
    f"{part}.{name}": Quantity(
        f"{title}, {part}",
        _NATS,
        _stored("gaps", part, name),
        better,
        rows=f"rows_{part}_{name}",
        section=("gaps", part),
    )
    for part in PARTS
    for name, (title, better) in _OF_A_PART.items()
}
"""By the names of `closegap_core.config.comparison.Quantity`."""
