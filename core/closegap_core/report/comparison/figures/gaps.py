"""Where the ELBO falls short of log p(x): approximation and amortization gap, stacked, on each part of the data."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig, GapsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.guard import grouped
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import BarPanel, Stack
from closegap_core.report.comparison.quantity import PARTS, QUANTITIES


def gaps(figure: GapsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel a group and part."""
    panels = []
    for group, members in grouped(entries):
        parts = [part for part in PARTS if all(part in entry.part("gaps") for entry in members)]
        panels += [_panel(f"{group} {part}".strip(), part, members) for part in parts]
    return Drawn(
        tuple(panels),
        "The inference gap log p(x) - L[q] as two parts: the approximation gap log p(x) - L[q*], which the family of q "
        "costs, and above it the amortization gap L[q*] - L[q], which the inference model costs; q* is the best member "
        "of the family that the model was trained with. ± one standard error over rows.",
    )


def _panel(title: str, part: str, members: Sequence[Entry]) -> BarPanel:
    stacks = []
    for number, name in enumerate(("approximation", "amortization")):
        found = [QUANTITIES[f"{part}.{name}_gap"].of(entry) for entry in members]
        values, errors = tuple(gap.value for gap in found), tuple(gap.error for gap in found)
        stacks.append(Stack(f"{name} gap", values, errors, number))
    return BarPanel(title, "nats", tuple(entry.label for entry in members), tuple(stacks), stacked=True)
