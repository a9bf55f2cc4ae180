"""The table of a comparison: figures with their errors, differences from the group's first, and what was published.

`table.json` holds it whole; `table.md` is the same for people; the command line and the page draw it from this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from closegap_core.config.comparison import ComparisonConfig, Published
from closegap_core.report.comparison.guard import grouped
from closegap_core.report.comparison.inputs import ComparisonError, Entry
from closegap_core.report.comparison.notation import decimals, signed, spread
from closegap_core.report.comparison.quantity import QUANTITIES, Value

NOTHING = "–"


@final
@dataclass(frozen=True)
class Line:
    """One figure of one entry. Differences are from the group's first entry that has this figure."""

    group: str
    label: str
    quantity: str
    measured: float
    standard_error: float | None
    difference: float | None
    difference_error: float | None
    """Of the paired difference: both were measured on the same rows."""
    published: float | str | None
    published_error: float | None
    published_difference: float | None
    best: bool
    """The best of its group, where the figure ranks."""

    @property
    def name(self) -> str:
        """Group and label, once where they are the same."""
        return self.label if self.group in ("", self.label) else f"{self.group}, {self.label}"

    @property
    def digits(self) -> int:
        """Decimals that are told."""
        return QUANTITIES[self.quantity].digits

    @property
    def measured_text(self) -> str:
        """`−84.14 ± 0.02`."""
        return spread(self.measured, self.standard_error, self.digits)

    @property
    def published_text(self) -> str:
        """As measured_text, or the words that stand for it."""
        if isinstance(self.published, str):
            return self.published
        if self.published is None:
            return NOTHING
        # As it was published: no digits that were not, and as many of the value as of its error.
        digits = max(decimals(self.published), decimals(self.published_error))
        return spread(self.published, self.published_error, digits)

    @property
    def published_difference_text(self) -> str:
        """`+0.30`: with the digits that the figure was published with."""
        if self.published_difference is None or isinstance(self.published, str):
            return ""
        digits = max(decimals(self.published), decimals(round(self.published_difference, 6)))
        return signed(self.published_difference, None, digits)


@final
@dataclass(frozen=True)
class Table:
    """What is told of a comparison."""

    title: str
    scale: str
    data: tuple[str, ...]
    """On what each group was measured, in words."""
    lines: tuple[Line, ...]
    published_in: str
    notes: tuple[str, ...]

    @property
    def heads(self) -> list[str]:
        """Of the cells of a line."""
        names = {QUANTITIES[line.quantity].heading for line in self.lines}
        measured = names.pop() if len(names) == 1 else "measured"
        difference = ["difference"] if self._differs else []
        return [measured, *difference, *(["published", *difference] if self.published_in else [])]

    def cells(self, line: Line) -> list[str]:
        """Measured, its difference where there is any; where something was published, that and its difference."""
        measured, published = [line.measured_text], [line.published_text]
        if self._differs:
            measured.append(signed(line.difference, line.difference_error, line.digits))
            published.append(line.published_difference_text)
        return [*measured, *(published if self.published_in else [])]

    @property
    def _differs(self) -> bool:
        return any(line.difference is not None for line in self.lines)

    @property
    def one_quantity(self) -> bool:
        """Whether all lines show the same figure, which then stands in the head."""
        return len({line.quantity for line in self.lines}) == 1

    @property
    def footnotes(self) -> list[str]:
        """Everything below the table."""
        return [
            *(f"Scale {self.scale}." for _ in (1,) if self.scale),
            *self.data,
            *(f"Published: {self.published_in}." for _ in (1,) if self.published_in),
            *(
                [
                    "Differences are from the first entry (of each group) that has the figure, paired by rows; "
                    "± is one standard error."
                ]
                if self._differs
                else []
            ),
            *self.notes,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_dict(cls, value: dict[str, Any]) -> Table:
        """From what `to_dict` gave."""
        lines = tuple(Line(**line) for line in value["lines"])
        return cls(**{**value, "data": tuple(value["data"]), "notes": tuple(value["notes"]), "lines": lines})

    def to_markdown(self) -> str:
        """A page of Markdown."""
        heads = ["", *([] if self.one_quantity else ["figure"]), *self.heads]
        rows = [
            "| " + " | ".join(_escaped(cell) for cell in cells) + " |"
            for cells in [heads, [":--", *["--:"] * (len(heads) - 1)]]
        ]
        for line in self.lines:
            figure = [] if self.one_quantity else [QUANTITIES[line.quantity].heading]
            measured, *others = self.cells(line)
            cells = [line.name, *figure, f"**{measured}**" if line.best else measured, *others]
            rows.append("| " + " | ".join(_escaped(cell) for cell in cells) + " |")
        return "\n".join([f"# {self.title}", "", *rows, "", *(f"{note}\n" for note in self.footnotes)])


def table(config: ComparisonConfig, entries: Sequence[Entry]) -> Table:
    """The table of entries. Raises ComparisonError where one lacks a figure that is asked for."""
    lines = [line for _, members in grouped(entries) for line in _of_group(members, config.columns)]
    told = {name: _data(members[0]) for name, members in grouped(entries)}
    alike = len(set(told.values())) == 1
    data = {text if alike or not name else f"{name}: {text}": None for name, text in told.items()}
    return Table(config.title, config.scale, tuple(data), tuple(lines), config.published_in, config.notes)


def _of_group(members: Sequence[Entry], columns: Sequence[str]) -> list[Line]:
    shown = {entry.label: entry.config.columns or columns for entry in members}
    names = dict.fromkeys(name for names in shown.values() for name in names)
    having = {name: [entry for entry in members if name in shown[entry.label]] for name in names}
    best = {name: _best(name, found) for name, found in having.items()}
    return [
        _line(entry, name, having[name][0], entry.label in best[name])
        for entry in members
        for name in shown[entry.label]
    ]


def _line(entry: Entry, name: str, reference: Entry, best: bool) -> Line:
    measured, published = QUANTITIES[name].of(entry), published_value(entry.config.published.get(name))
    difference = difference_error = published_difference = None
    if reference is not entry:
        difference, difference_error = between(name, entry, reference)
        theirs = published_value(reference.config.published.get(name))
        if isinstance(published, Value) and isinstance(theirs, Value):
            published_difference = published.value - theirs.value
    value, error = published if isinstance(published, Value) else (published, None)
    return Line(
        entry.group, entry.label, name, measured.value, measured.error, difference, difference_error,
        value, error, published_difference, best,
    )  # fmt: skip


def between(name: str, entry: Entry, reference: Entry) -> Value:
    """How far a figure of one entry is above another's, paired by rows; no error where the rows were not kept.

    Raises ComparisonError where they are not of as many rows: gaps and frontiers are of the first ones only.
    """
    quantity = QUANTITIES[name]
    ours, theirs = quantity.of(entry).value, quantity.of(reference).value
    counts = quantity.count(entry), quantity.count(reference)
    if counts[0] != counts[1]:
        raise ComparisonError(
            f"{quantity.heading} of `{entry.label}` is of {counts[0]} rows and that of `{reference.label}` of "
            f"{counts[1]}; put them into different groups, or measure them alike"
        )
    rows = [side.rows(quantity.rows) if quantity.rows else None for side in (entry, reference)]
    if rows[0] is None or rows[1] is None or len(rows[0]) < 2:
        return Value(ours - theirs)
    slopes = (ours, theirs) if quantity.exponential else (1.0, 1.0)
    differences = slopes[0] * rows[0] - slopes[1] * rows[1]
    return Value(ours - theirs, float(np.std(differences, ddof=1)) / math.sqrt(len(differences)))


def published_value(given: Published | None) -> Value | str | None:
    """A published figure, the words in its place, or None."""
    if given is None or isinstance(given, str):
        return given
    return Value(*given) if isinstance(given, tuple) else Value(given)


def _best(name: str, members: Sequence[Entry]) -> set[str]:
    """Labels of the best of several."""
    better = QUANTITIES[name].better
    if better == "neither" or len(members) < 2:
        return set()
    found = {entry.label: QUANTITIES[name].of(entry).value for entry in members}
    top = max(found.values()) if better == "higher" else min(found.values())
    return {label for label, value in found.items() if value == top}


def _data(entry: Entry) -> str:
    """On what an entry was measured."""
    identity = entry.identity
    drawn = {
        "none": "as they are",
        "binarise": "binarised by one draw",
        "dequantise": "dequantised by one draw",
        "dequantise_legacy": "dequantised as published, by one draw",
    }[identity["draw"]]
    return (
        f"{identity['source']}, {identity['rows']} {identity['part']} rows, {drawn}; "
        f"{identity['samples']} samples each ELBO, {identity['importance_samples']} each IWAE bound{_fewer(entry)}."
    )


def _fewer(entry: Entry) -> str:
    """On how many rows the gaps of each part and the frontier were measured, where they were."""
    gaps, frontier = (entry.metrics.get(name) or {} for name in ("gaps", "frontier"))
    told = ", ".join(f"{report['rows']} {part} rows" for part, report in gaps.items() if "rows" in report)
    gaps_told = f"; gaps of {told}" if told else ""
    return gaps_told + (f"; frontier of {frontier['rows']} rows" if "rows" in frontier else "")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
