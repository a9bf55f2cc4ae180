"""Where the ELBO falls short of log p(x): approximation and amortization gap, stacked, on each part of the data."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig, GapsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.guard import grouped
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import BarPanel, Stack

PARTS = ("train", "valid", "test")


def gaps(figure: GapsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel a group and part."""
    panels = []
    for group, members in grouped(entries):
        parts = [part for part in PARTS if all(part in entry.part("gaps") for entry in members)]
        panels += [_panel(f"{group} {part}".strip(), part, members) for part in parts]
    return Drawn(
        tuple(panels),
        "The inference gap log p(x) - L[q] as two parts: the approximation gap log p(x) - L[q*], which the family of q "
        "costs, and above it the amortization gap L[q*] - L[q], which the inference model costs. ± one standard "
        "error over rows.",
    )


def _panel(title: str, part: str, members: Sequence[Entry]) -> BarPanel:
    stacks = []
    for number, (name, title_of) in enumerate(
        (("approximation_gap", "approximation gap"), ("amortization_gap", "amortization gap"))
    ):
        found = [entry.part("gaps")[part][name] for entry in members]
        stacks.append(
            Stack(
                title_of,
                tuple(float(gap["value"]) for gap in found),
                tuple(float(gap["standard_error"]) for gap in found),
                number,
            )
        )
    return BarPanel(title, "nats", tuple(entry.label for entry in members), tuple(stacks), stacked=True)
