"""The page of a comparison: table and panels in one HTML file, in the dress of the report on a model."""

from __future__ import annotations

from html import escape
from pathlib import Path

from closegap_core.report.charts import Figure
from closegap_core.report.comparison.figures import Drawn
from closegap_core.report.comparison.quantity import QUANTITIES
from closegap_core.report.comparison.table import Table
from closegap_core.report.page import section, write_page
from closegap_core.report.plotted import plotted


def page(out: Path, table: Table, drawn: Drawn) -> Path:
    """Write the page; returns `out`. Raises ReportError, StorageError."""
    figures: dict[str, Figure] = {}
    shown = "".join(plotted(panel, f"panel-{number}", figures) for number, panel in enumerate(drawn.panels))
    lead = f"Scale {escape(table.scale)}. " if table.scale else ""
    sections = [
        section("In figures", _table(table), "<br>".join(escape(note) for note in table.footnotes)),
        section("The picture", f'<div class="row">{shown}</div>', escape(drawn.reading)),
    ]
    return write_page(out, table.title, lead + escape(" ".join(table.data)), sections, figures, "")


def _table(table: Table) -> str:
    heads = ["", *([] if table.one_quantity else ["figure"]), *table.heads]
    rows = []
    for line in table.lines:
        figure = "" if table.one_quantity else f"<td>{escape(QUANTITIES[line.quantity].heading)}</td>"
        measured, *others = table.cells(line)
        cells = f"<td{' class=best' if line.best else ''}>{escape(measured)}</td>"
        cells += "".join(f"<td>{escape(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{escape(line.name)}</th>{figure}{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
