"""The figures of an evaluation by the names that a comparison gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

from closegap_core.report.comparison.inputs import ComparisonError, Entry

Better = Literal["higher", "lower", "neither"]


class Value(NamedTuple):
    """A figure and its standard error, where it has one."""

    value: float
    error: float | None = None


@final
@dataclass(frozen=True)
class Quantity:
    """Where a figure stands in metrics.json, and how it is told."""

    title: str
    unit: str
    path: tuple[str, ...]
    error: tuple[str, ...] = ()
    """Where its standard error stands, if not beside it."""
    better: Better = "neither"
    digits: int = 2

    @property
    def heading(self) -> str:
        """With the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def of(self, entry: Entry) -> Value:
        """Raises ComparisonError where the evaluation does not have it."""
        found = _at(entry, self.path)
        if isinstance(found, dict):
            return Value(float(found["value"]), found.get("standard_error"))
        return Value(float(found), float(_at(entry, self.error)) if self.error else None)


def _at(entry: Entry, path: tuple[str, ...]) -> Any:
    found = entry.part(path[0])
    for depth, name in enumerate(path[1:], start=2):
        if not isinstance(found, dict) or found.get(name) is None:
            raise ComparisonError(f"the evaluation of `{entry.label}` has no {'.'.join(path[:depth])}")
        found = found[name]
    return found


_NATS = "nats"
_PLAIN = {
    "elbo": Quantity("ELBO", _NATS, ("elbo",), ("elbo_standard_error",), "higher"),
    "log_likelihood": Quantity("log-likelihood", _NATS, ("log_likelihood",)),
    "kl": Quantity("KL", _NATS, ("kl",)),
    "iwae": Quantity("IWAE bound", _NATS, ("iwae",), better="higher"),
    "bits_per_dimension": Quantity("bits/dim, ELBO", "bits", ("bits_per_dimension", "elbo"), (), "lower", 3),
    "bits_per_dimension_iwae": Quantity(
        "bits/dim, IWAE", "bits", ("bits_per_dimension", "iwae"), (), "lower", 3
    ),
    "perplexity": Quantity("perplexity ≤, ELBO", "", ("perplexity", "elbo"), (), "lower", 1),
    "perplexity_iwae": Quantity("perplexity, IWAE", "", ("perplexity", "iwae"), (), "lower", 1),
    "active_units": Quantity("active units", "", ("active_units", "count"), digits=0),
    "refined_elbo": Quantity("best by Adam on q", _NATS, ("refinement", "best"), better="higher"),
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
    f"{part}.{name}": Quantity(f"{title}, {part}", _NATS, ("gaps", part, name), (), better)
    for part in ("train", "valid", "test")
    for name, (title, better) in _OF_A_PART.items()
}
"""By the names of `closegap_core.config.comparison.Quantity`."""
