"""The page of a comparison: table and panels in one HTML file, in the dress of the report on a model."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from closegap_core.report.charts import Figure, layout
from closegap_core.report.comparison.figures import Drawn
from closegap_core.report.comparison.panel import (
    PALETTE,
    BarPanel,
    Curve,
    CurvePanel,
    Panel,
    StripPanel,
    SurfacePanel,
)
from closegap_core.report.comparison.quantity import QUANTITIES
from closegap_core.report.comparison.table import Table
from closegap_core.report.images import strip
from closegap_core.report.page import section, write_page


def page(out: Path, table: Table, drawn: Drawn) -> Path:
    """Write the page; returns `out`. Raises ReportError, StorageError."""
    figures: dict[str, Figure] = {}
    shown = "".join(_panel(panel, f"panel-{number}", figures) for number, panel in enumerate(drawn.panels))
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
        label = f"{line.group}, {line.label}" if line.group else line.label
        figure = "" if table.one_quantity else f"<td>{escape(QUANTITIES[line.quantity].heading)}</td>"
        measured, *others = table.cells(line)
        cells = f"<td{' class=best' if line.best else ''}>{escape(measured)}</td>"
        cells += "".join(f"<td>{escape(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{figure}{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _panel(panel: Panel, name: str, figures: dict[str, Figure]) -> str:
    heading = f"<h3>{escape(panel.title)}</h3>"
    if isinstance(panel, StripPanel):
        lines = "".join(
            f'<tr><th scope="row">{escape(item.name)}</th><td><img alt="{escape(panel.title)}, {escape(item.name)}" '
            f'src="{strip(item.images, panel.shape)}"></td></tr>'
            for item in panel.strips
        )
        return f'<div>{heading}<table class="strips">{lines}</table></div>'
    if isinstance(panel, CurvePanel):
        figures[name] = _curves(panel)
    elif isinstance(panel, BarPanel):
        figures[name] = _bars(panel)
    else:
        figures[name] = _surface(panel)
    return f'<div>{heading}<div class="chart tall" id="{name}"></div></div>'


def _curves(panel: CurvePanel) -> Figure:
    frame = layout(panel.x_title, panel.y_range, panel.y_title)
    if panel.log_x:
        frame["xaxis"]["type"] = "log"
    if panel.log_y:
        frame["yaxis"]["type"] = "log"
    return {"data": [_curve(curve) for curve in panel.curves], "layout": frame}


def _curve(curve: Curve) -> dict[str, Any]:
    colour = PALETTE[curve.colour % len(PALETTE)]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if curve.marked else "lines",
        "name": escape(curve.name),
        "x": list(curve.x),
        "y": list(curve.y),
        "line": {"color": colour, "dash": curve.dash, "width": 2},
    }
    if curve.error is not None:
        trace["error_y"] = {"type": "data", "array": list(curve.error), "thickness": 1, "width": 2}
    return trace


def _bars(panel: BarPanel) -> Figure:
    frame = layout("", None, panel.y_title)
    frame["barmode"] = "stack"
    traces = []
    for stack in panel.stacks:
        colour = PALETTE[stack.colour % len(PALETTE)]
        traces.append(
            {
                "type": "bar" if panel.stacked else "scatter",
                **({} if panel.stacked else {"mode": "markers"}),
                "name": escape(stack.name),
                "x": [escape(label) for label in panel.labels],
                "y": list(stack.values),
                "error_y": {"type": "data", "array": [error or 0.0 for error in stack.errors]},
                "marker": {"color": colour, "size": 9} if not panel.stacked else {"color": colour},
            }
        )
    return {"data": traces, "layout": frame}


def _surface(panel: SurfacePanel) -> Figure:
    heights: dict[str, Any] = {
        "type": "heatmap",
        "x": panel.x.tolist(),
        "y": panel.y.tolist(),
        "z": panel.z.tolist(),
        "colorscale": "Greys",
        "colorbar": {"title": {"text": panel.z_title}},
    }
    frame = layout(panel.x_title, None, panel.y_title)
    frame["hovermode"] = "closest"
    return {"data": [heights, *(_curve(path) for path in panel.paths)], "layout": frame}
