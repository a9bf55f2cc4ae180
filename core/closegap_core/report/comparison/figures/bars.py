"""Each entry's figure, measured and published."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import BarsFigureConfig, ComparisonConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.guard import grouped
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.notation import signed
from closegap_core.report.comparison.panel import BarPanel, Stack
from closegap_core.report.comparison.quantity import QUANTITIES, Value
from closegap_core.report.comparison.table import between, published_value


def bars(figure: BarsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel a group for what is measured, and one for what was published."""
    panels, shown = [], False
    for group, members in grouped(entries):
        name = (members[0].config.columns or config.columns)[0]
        measured = [QUANTITIES[name].of(entry) for entry in members]
        ahead = ["", *(_ahead(name, entry, members[0]) for entry in members[1:])]
        panels.append(_panel(_title(group, "measured"), name, members, measured, 0, tuple(ahead)))
        told = [published_value(entry.config.published.get(name)) for entry in members]
        published = [value if isinstance(value, Value) else None for value in told]
        if any(published):
            shown = True
            panels.append(_panel(_title(group, "published"), name, members, published, 1))
    return Drawn(
        tuple(panels),
        "Each figure with one standard error over rows; beside it the difference from the first, which is known better "
        "than the bars suggest: it is paired by rows. Measured and published figures have axes of their own: "
        "what can be compared across scales is which entry is ahead, and by how much.",
        2 if len(panels) > 1 else 1,
        shown,
    )


def _title(group: str, which: str) -> str:
    return f"{group}, {which}" if group else which


def _ahead(name: str, entry: Entry, first: Entry) -> str:
    """The difference from the first, as in the table."""
    return signed(*between(name, entry, first), QUANTITIES[name].digits)


def _panel(
    title: str,
    name: str,
    members: Sequence[Entry],
    values: Sequence[Value | None],
    colour: int,
    notes: tuple[str, ...] = (),
) -> BarPanel:
    stack = Stack(
        "measured" if colour == 0 else "published",
        tuple(value and value.value for value in values),
        tuple(value and value.error for value in values),
        colour,
    )
    labels = tuple(entry.label for entry in members)
    return BarPanel(title, QUANTITIES[name].heading, labels, (stack,), notes=notes)
