"""The table of a comparison, on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from closegap.cli import output

if TYPE_CHECKING:
    from closegap_core.report.comparison.table import Table as Comparison


class Compared(NamedTuple):
    """The table of a comparison, and the place that its picture and its page lie under."""

    table: Comparison
    place: str


def of_folder(folder: Path, place: str = "") -> Compared:
    """Of a folder with `table.json`; `place`: of the rest, absent: the same folder. Raises ComparisonError."""
    from closegap_core.report.comparison.build import read_table

    return Compared(read_table(folder), place or str(folder))


def tell(found: Compared) -> None:
    """Print the table of a compare job that succeeded, and where its picture and page are."""
    output.data().print(rendered(found.table))
    output.line(f"picture  {found.place}/figure.png")
    output.line(f"page     {found.place}/report.html\n")


def rendered(found: Comparison) -> RenderableType:
    """Title, table, and what has to be known of it."""
    from closegap_core.report.comparison.quantity import QUANTITIES

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    if not found.one_quantity:
        table.add_column("figure")
    for head in found.heads:
        table.add_column(head, justify="right")
    group, label = "", None
    for line in found.lines:
        if line.group not in (group, line.label):
            table.add_row(f"[bold]{escape(line.group)}[/]")
        again = (line.group, line.label) == (group, label)
        group, label = line.group, line.label
        measured, *others = (escape(cell) for cell in found.cells(line))
        figure = [] if found.one_quantity else [escape(QUANTITIES[line.quantity].heading)]
        table.add_row(
            "" if again else escape(label),
            *figure,
            f"[bold]{measured}[/]" if line.best else measured,
            *others,
        )
    notes = [Text(note, style="dim") for note in found.footnotes]
    return Group(Text(f"\n{found.title}", style="bold"), Text(""), table, Text(""), *notes, Text(""))
