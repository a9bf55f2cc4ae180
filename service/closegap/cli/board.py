"""How jobs in motion are drawn: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from closegap.cli import words
from closegap.cli.output import talk

_LINE_SECONDS = 10.0
_WIDE = 110


@dataclass(frozen=True)
class Row:
    """One job as it is drawn now. `done` and `total` are counts of `unit`; `rate` is units a second; `eta` seconds."""

    id: str
    name: str
    kind: str
    state: str
    done: float = 0.0
    total: float | None = None
    unit: str = "step"
    rate: float | None = None
    eta: float | None = None
    note: str = ""

    @property
    def share(self) -> float:
        """Progress in [0, 1]; a succeeded job is whole."""
        if self.state == "succeeded":
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else 0.0


class Board(ABC):
    """Shows rows again and again; a context manager."""

    @abstractmethod
    def show(self, rows: Sequence[Row]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  a board without a terminal has nothing to give back
        """Give the terminal back."""


@final
class LiveBoard(Board):
    """A table with a bar a job, redrawn in place."""

    def __init__(self) -> None:
        self._live = Live(console=talk(), auto_refresh=False, transient=False)
        self._live.start()

    def show(self, rows: Sequence[Row]) -> None:
        self._live.update(bars(rows, self._live.console.width), refresh=True)

    def close(self) -> None:
        self._live.stop()


@final
class PlainBoard(Board):
    """A line when a job changes its state, and one about every ten seconds while it runs."""

    def __init__(self) -> None:
        self._console = talk()
        self._last: dict[str, tuple[str, float]] = {}

    def show(self, rows: Sequence[Row]) -> None:
        now = time.monotonic()
        for row in rows:
            state, told = self._last.get(row.id, ("", 0.0))
            due = row.state == "running" and now - told >= _LINE_SECONDS
            if row.state != state or due:
                self._last[row.id] = (row.state, now)
                self._console.print(escape(sentence(row)), soft_wrap=True)


@final
class SilentBoard(Board):
    """Draws nothing, for `--json`."""

    def show(self, rows: Sequence[Row]) -> None:
        pass


def board(quiet: bool = False) -> Board:
    """The board that suits standard error."""
    if quiet:
        return SilentBoard()
    return LiveBoard() if sys.stderr.isatty() else PlainBoard()


def bars(rows: Sequence[Row], width: int = 120) -> Table:
    """A table of rows with progress bars; on a narrow terminal the notes give way first, then the rates."""
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(width=24 if wide else 14)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    for row in rows:
        pace = [words.rate(row.rate, row.unit) if wide else "", remaining(row)]
        table.add_row(
            escape(row.name),
            words.state(row.state),
            bar(row, 24 if wide else 14),
            percent(row),
            " ".join(part for part in pace if part) if row.state == "running" else "",
            escape(row.note),
        )
    return table


def bar(row: Row, width: int = 24) -> ProgressBar:
    """The bar of one row."""
    return ProgressBar(
        total=1.0, completed=row.share, width=width, complete_style="cyan", finished_style="green"
    )


def percent(row: Row) -> str:
    """`42 %`, or nothing before the first progress."""
    return f"{100 * row.share:.0f} %" if row.total or row.state == "succeeded" else ""


def remaining(row: Row) -> str:
    """`eta 12 s`, or nothing when unknown."""
    return "" if row.eta is None else f"eta {words.duration(row.eta)}"


def sentence(row: Row) -> str:
    """One plain line about a row."""
    parts = [f"{row.name}: {row.state}", percent(row) if row.state == "running" else ""]
    if row.state == "running":
        parts += [words.rate(row.rate, row.unit), remaining(row)]
    return "  ".join(part for part in [*parts, row.note] if part)
