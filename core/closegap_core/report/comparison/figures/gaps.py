"""Where the ELBO falls short of log p(x): approximation and amortization gap, stacked, on each part of the data."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig, GapsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.guard import grouped
from closegap_core.report.comparison.inputs import ComparisonError, Entry
from closegap_core.report.comparison.panel import BarPanel, Stack
from closegap_core.report.comparison.quantity import PARTS, QUANTITIES, Value
from closegap_core.report.comparison.table import published_value

GAPS = ("approximation_gap", "amortization_gap")


def gaps(figure: GapsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel a group and part, and one for each part of which both gaps were published.

    Raises ComparisonError where the entries of a group have no part in common.
    """
    panels, columns, published = [], 0, False
    for group, members in grouped(entries):
        parts = [part for part in PARTS if all(part in entry.part("gaps") for entry in members)]
        if not parts:
            measured = [f"`{entry.label}` of {' and '.join(entry.part('gaps'))} rows" for entry in members]
            raise ComparisonError(
                f"the gaps to be drawn side by side are {', '.join(measured)}: they have no part in common"
            )
        stacks = {part: _stacks(part, members) for part in parts}
        frame = _frame([stack for found in stacks.values() for stack in found])
        labels = tuple(entry.label for entry in members)
        told = {part: found for part in PARTS if (found := _published(part, members))}
        panels += [
            *(_panel(group, f"{part} rows", labels, found, frame) for part, found in stacks.items()),
            *(
                _panel("", f"published, {part} rows", labels, found, _frame(found))
                for part, found in told.items()
            ),
        ]
        columns = max(columns, len(stacks) + len(told))
        published = published or bool(told)
    return Drawn(
        tuple(panels),
        "The inference gap log p(x) - L[q] as two parts: the approximation gap log p(x) - L[q*], which the family of q "
        "costs, and above it the amortization gap L[q*] - L[q], which the inference model costs; q* is the best member "
        "of the family that the model was trained with. ± one standard error over rows. A gap below zero is noise of "
        "its estimate, and hangs below the axis. Published gaps have an axis of their own.",
        columns,
        published,
    )


def _panel(
    group: str, name: str, labels: tuple[str, ...], stacks: tuple[Stack, Stack], frame: tuple[float, float]
) -> BarPanel:
    title = f"{group}, {name}" if group else name
    return BarPanel(title, "nats", labels, stacks, stacked=True, y_range=frame)


def _stacks(part: str, members: Sequence[Entry]) -> tuple[Stack, Stack]:
    """The approximation gap, and the amortization gap on top of it."""
    found = [[QUANTITIES[f"{part}.{name}"].of(entry) for entry in members] for name in GAPS]
    return _stack(0, found[0]), _stack(1, found[1])


def _published(part: str, members: Sequence[Entry]) -> tuple[Stack, Stack] | None:
    """As _stacks; None where one of them was not published."""
    told = [
        [published_value(entry.config.published.get(f"{part}.{name}")) for entry in members] for name in GAPS
    ]
    found = [[value for value in row if isinstance(value, Value)] for row in told]
    if any(len(row) < len(members) for row in found):
        return None
    return _stack(0, found[0]), _stack(1, found[1])


def _stack(number: int, gaps: Sequence[Value]) -> Stack:
    name = GAPS[number].replace("_", " ")
    return Stack(name, tuple(gap.value for gap in gaps), tuple(gap.error for gap in gaps), number)


def _frame(stacks: Sequence[Stack]) -> tuple[float, float]:
    """The parts of a group share their axis, with room for the legend."""
    tops, lows = [0.0], [0.0]
    for below, above in zip(stacks[::2], stacks[1::2], strict=True):
        for gaps in zip(below.values, above.values, below.errors, above.errors, strict=True):
            first, second, *errors = (gap or 0.0 for gap in gaps)
            tops.append(max(first, 0.0) + max(second, 0.0) + max(errors))
            lows.append(min(first, 0.0) + min(second, 0.0) - max(errors) * (min(first, second) < 0.0))
    return 1.05 * min(lows), 1.2 * max(tops)
