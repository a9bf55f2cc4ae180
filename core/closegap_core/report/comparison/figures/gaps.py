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
        stacks = {part: _stacks(part, members) for part in parts}
        frame = _frame([stack for found in stacks.values() for stack in found])
        labels = tuple(entry.label for entry in members)
        panels += [
            BarPanel(f"{group} {part}".strip(), "nats", labels, found, stacked=True, y_range=frame)
            for part, found in stacks.items()
        ]
    return Drawn(
        tuple(panels),
        "The inference gap log p(x) - L[q] as two parts: the approximation gap log p(x) - L[q*], which the family of q "
        "costs, and above it the amortization gap L[q*] - L[q], which the inference model costs; q* is the best member "
        "of the family that the model was trained with. ± one standard error over rows.",
    )


def _stacks(part: str, members: Sequence[Entry]) -> tuple[Stack, Stack]:
    """The approximation gap, and the amortization gap on top of it."""
    stacks = []
    for number, name in enumerate(("approximation", "amortization")):
        found = [QUANTITIES[f"{part}.{name}_gap"].of(entry) for entry in members]
        values, errors = tuple(gap.value for gap in found), tuple(gap.error for gap in found)
        stacks.append(Stack(f"{name} gap", values, errors, number))
    return stacks[0], stacks[1]


def _frame(stacks: Sequence[Stack]) -> tuple[float, float]:
    """The parts of a group share their axis, with room for the legend."""
    values = [[value or 0.0 for value in stack.values] for stack in stacks]
    pairs = zip(values[::2], values[1::2], strict=True)
    tops = [sum(both) for below, above in pairs for both in zip(below, above, strict=True)]
    lows = [value for row in values for value in row]
    return min(0.0, 1.3 * min(lows)), 1.3 * max(*tops, *lows)
