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
    shown = [plotted(panel, f"panel-{number}", figures) for number, panel in enumerate(drawn.panels)]
    lines = [shown[first : first + drawn.columns] for first in range(0, len(shown), drawn.columns)]
    picture = "".join(f'<div class="row">{"".join(line)}</div>' for line in lines)
    lead = f"Scale {escape(table.scale)}." if table.scale else escape(" ".join(table.data))
    sections = [
        section("In figures", _table(table), "<br>".join(escape(note) for note in table.footnotes)),
        section("The picture", picture, escape(drawn.reading)),
    ]
    return write_page(out, table.title, lead, sections, figures, "")


def _table(table: Table) -> str:
    heads = ["", *([] if table.one_quantity else ["figure"]), *table.heads]
    rows, group, label = [], "", ""
    for line in table.lines:
        if line.group not in (group, line.label):
            rows.append(f'<tr><th scope="rowgroup" colspan="{len(heads)}">{escape(line.group)}</th></tr>')
        again = (line.group, line.label) == (group, label)
        group, label = line.group, line.label
        figure = "" if table.one_quantity else f"<td>{escape(QUANTITIES[line.quantity].heading)}</td>"
        measured, *others = table.cells(line)
        cells = f"<td{' class=best' if line.best else ''}>{escape(measured)}</td>"
        cells += "".join(f"<td>{escape(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{"" if again else escape(label)}</th>{figure}{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
