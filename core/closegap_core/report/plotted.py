"""Panels as plotly figures in their place on a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from closegap_core.report.charts import Figure, layout
from closegap_core.report.comparison.panel import (
    PALETTE,
    BarPanel,
    Curve,
    CurvePanel,
    Panel,
    StripPanel,
    SurfacePanel,
)
from closegap_core.report.images import strip


def plotted(panel: Panel, name: str, figures: dict[str, Figure]) -> str:
    """The panel's place on a page, as HTML; its figure is put among `figures` under `name`."""
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
        frame["xaxis"] |= {"type": "log", "tickformat": "~g"}
    if panel.log_y:
        frame["yaxis"] |= {"type": "log", "tickformat": "~g"}
    bands = [_band(curve, curve.error) for curve in panel.curves if curve.error is not None]
    return {"data": [*bands, *(_curve(curve) for curve in panel.curves)], "layout": frame}


def _curve(curve: Curve) -> dict[str, Any]:
    colour = PALETTE[curve.colour % len(PALETTE)]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if len(curve.x) == 1 else "lines+markers" if curve.marked else "lines",
        "name": escape(curve.name),
        "x": list(curve.x),
        "y": list(curve.y),
        "line": {"color": colour, "dash": curve.dash, "width": 2},
    }
    return trace


def _band(curve: Curve, error: Sequence[float]) -> dict[str, Any]:
    """± one standard error, as an area."""
    sides = list(zip(curve.y, error, strict=True))
    red, green, blue = bytes.fromhex(PALETTE[curve.colour % len(PALETTE)][1:])
    return {
        "type": "scatter",
        "mode": "none",
        "x": [*curve.x, *reversed(curve.x)],
        "y": [*(y + one for y, one in sides), *(y - one for y, one in reversed(sides))],
        "fill": "toself",
        "fillcolor": f"rgba({red}, {green}, {blue}, 0.15)",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _bars(panel: BarPanel) -> Figure:
    frame = layout("", panel.y_range, panel.y_title)
    frame["xaxis"]["range"] = [-0.6, len(panel.labels) - 0.4]
    frame["barmode"] = "relative"  # what is negative hangs below zero
    traces = []
    for stack in panel.stacks:
        colour = PALETTE[stack.colour % len(PALETTE)]
        traces.append(
            {
                "type": "bar" if panel.stacked else "scatter",
                **({} if panel.stacked else {"mode": "markers+text" if panel.notes else "markers"}),
                **(
                    {"text": [f"  {note}" for note in panel.notes], "textposition": "middle right"}
                    if panel.notes
                    else {}
                ),
                "name": escape(stack.name),
                "x": [escape(label) for label in panel.labels],
                "y": list(stack.values),
                "error_y": {
                    "type": "data",
                    "array": [error or 0.0 for error in stack.errors],
                    "visible": any(stack.errors),
                },
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
        "reversescale": True,
        "opacity": 0.6,
        "colorbar": {"title": {"text": panel.z_title}},
    }
    frame = layout(panel.x_title, None, panel.y_title)
    frame["hovermode"] = "closest"
    frame["yaxis"]["scaleanchor"] = "x"
    frame["legend"] = {**frame.get("legend", {}), "traceorder": "reversed"}
    if panel.frame is not None:
        frame["xaxis"]["range"], frame["yaxis"]["range"] = (list(side) for side in panel.frame)
    return {"data": [heights, *(_path(path) for path in reversed(panel.paths))], "layout": frame}


def _path(path: Curve) -> dict[str, Any]:
    """Small marks along the way and a star at its end."""
    last = len(path.x) - 1
    symbols = ["circle"] * last + ["star"]
    return {
        **_curve(path),
        "marker": {"symbol": symbols, "size": [4] * last + [11], "opacity": 1, "line": {"width": 0}},
    }
