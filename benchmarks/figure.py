"""One measured figure, the limit it stands against, and the mark it must reach."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

RELATIONS = {"<": operator.lt, "≥": operator.ge}


@final
@dataclass(frozen=True)
class Mark:
    """What must hold of a figure's value or of its share of the limit."""

    of: Literal["value", "share"]
    relation: Literal["<", "≥"]
    bound: float


@final
@dataclass(frozen=True)
class Figure:
    """A median over interleaved rounds. share = how much of the limit is reached, 1 being all of it."""

    name: str
    value: float
    unit: str
    limit: float
    limit_is: str
    share: float
    mark: Mark | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the mark is reached; None where there is none."""
        if self.mark is None:
            return None
        return bool(RELATIONS[self.mark.relation](getattr(self, self.mark.of), self.mark.bound))

    def to_dict(self) -> dict[str, Any]:
        """For --json."""
        return {**asdict(self), "passed": self.passed}


def table(figures: Sequence[Figure]) -> str:
    """Aligned columns, and below them what figures have to say."""
    heads = ("", "measured", "limit in this run", "reached", "mark", "")
    lines = [heads, *(_cells(figure) for figure in figures)]
    told = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*_aligned(lines), *(["", *told] if told else [])])


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in pairs).rstrip()
        for pairs in (enumerate(zip(line, widths, strict=True)) for line in lines)
    ]


def _cells(figure: Figure) -> tuple[str, ...]:
    mark, verdict = "", ""
    if figure.mark is not None:
        of_share = figure.mark.of == "share"
        bound = f"{figure.mark.bound:.0%}" if of_share else f"{figure.mark.bound:g} {figure.unit}"
        mark, verdict = f"{figure.mark.relation} {bound}", "pass" if figure.passed else "MISSED"
    measured, limit = (f"{value:,.4g} {figure.unit}" for value in (figure.value, figure.limit))
    return figure.name, measured, f"{limit} ({figure.limit_is})", f"{figure.share:.0%}", mark, verdict
