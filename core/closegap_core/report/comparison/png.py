"""Panels as a PNG by matplotlib, through its object interface: no global state, no display."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from closegap_core.report.comparison.inputs import ComparisonError
from closegap_core.report.comparison.panel import (
    PALETTE,
    BarPanel,
    Curve,
    CurvePanel,
    Panel,
    StripPanel,
    SurfacePanel,
)
from closegap_core.report.images import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
WIDTH, HEIGHT = 5.6, 4.0
"""Inches of a panel."""
DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MARKERS = "os^Dv<>Ph"


def png(title: str, footnote: str, panels: Sequence[Panel], columns: int) -> bytes:
    """The picture as a file's bytes. Raises ComparisonError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ComparisonError("a comparison's picture needs matplotlib: install closegap[train]") from error
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    heights = [max(_height(panel) for panel in panels[row * columns :][:columns]) for row in range(rows)]
    figure = Figure(figsize=(WIDTH * columns, sum(heights) + 0.7), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for place, axes in enumerate(grid.flat):
        if place < len(panels):
            _draw(axes, panels[place])
        else:
            axes.set_axis_off()
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.supxlabel(footnote, fontsize=8, color="0.35")
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _height(panel: Panel) -> float:
    if isinstance(panel, StripPanel):
        height, width = panel.shape[:2]
        across = max(len(strip.images) for strip in panel.strips) * width
        return 0.4 + 0.85 * WIDTH * len(panel.strips) * height / across
    if isinstance(panel, SurfacePanel):
        return WIDTH * 0.9
    return HEIGHT


def _draw(axes: Axes, panel: Panel) -> None:
    match panel:
        case CurvePanel():
            _curves(axes, panel)
        case BarPanel():
            _bars(axes, panel)
        case StripPanel():
            _strips(axes, panel)
        case SurfacePanel():
            _surface(axes, panel)
    axes.set_title(panel.title, fontsize=10)


def _curves(axes: Axes, panel: CurvePanel) -> None:
    for curve in panel.curves:
        _curve(axes, curve)
        if curve.error is not None:
            y, error = np.asarray(curve.y), np.asarray(curve.error)
            axes.fill_between(
                curve.x, y - error, y + error, color=_colour(curve.colour), alpha=0.13, linewidth=0
            )
    _frame(axes, panel.x_title, panel.y_title)
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    if len(panel.curves) > 1:
        axes.legend(fontsize=8, frameon=False)


def _curve(axes: Axes, curve: Curve, size: float = 4.5) -> None:
    marker = MARKERS[curve.colour % len(MARKERS)] if curve.marked else None
    axes.plot(
        curve.x, curve.y, DASHES[curve.dash], color=_colour(curve.colour), marker=marker, markersize=size,
        linewidth=1.6, label=curve.name,
    )  # fmt: skip


def _bars(axes: Axes, panel: BarPanel) -> None:
    places, base = np.arange(len(panel.labels)), np.zeros(len(panel.labels))
    for stack in panel.stacks:
        values = np.array([np.nan if value is None else value for value in stack.values])
        errors = np.array([0.0 if error is None else error for error in stack.errors])
        colour = _colour(stack.colour)
        if panel.stacked:
            axes.bar(
                places, values, 0.5, base, yerr=errors, capsize=3, color=colour, alpha=0.85, label=stack.name
            )
            base = base + np.nan_to_num(values)
        else:
            axes.errorbar(places, values, errors, fmt="o", capsize=4, color=colour, label=stack.name)
            axes.set_xlim(-0.6, len(places) - 0.4)
    axes.set_xticks(places, panel.labels, rotation=20 if max(map(len, panel.labels)) > 14 else 0, fontsize=8)
    _frame(axes, "", panel.y_title)
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    if len(panel.stacks) > 1:
        axes.legend(fontsize=8, frameon=False, ncols=len(panel.stacks), loc="upper center")


def _strips(axes: Axes, panel: StripPanel) -> None:
    sheet = np.concatenate([canvas(strip.images, panel.shape, len(strip.images)) for strip in panel.strips])
    axes.imshow(sheet, interpolation="nearest", aspect="equal")
    each = len(sheet) / len(panel.strips)
    names = [strip.name for strip in panel.strips]
    axes.set_yticks([(number + 0.5) * each - 0.5 for number in range(len(names))], names, fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _surface(axes: Axes, panel: SurfacePanel) -> None:
    levels = np.linspace(float(panel.z.min()), float(panel.z.max()), 25)
    filled = axes.contourf(panel.x, panel.y, panel.z, levels, cmap="Greys", alpha=0.6)
    if axes.figure is not None:
        bar = axes.figure.colorbar(filled, ax=axes, shrink=0.7)
        bar.set_label(panel.z_title, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    for path in reversed(panel.paths):  # the first, the model's, lies on top
        _curve(axes, path, size=2.5)
        axes.plot(path.x[-1:], path.y[-1:], "*", color=_colour(path.colour), markersize=10)
    axes.set_xlim(float(panel.x[0]), float(panel.x[-1]))
    axes.set_ylim(float(panel.y[0]), float(panel.y[-1]))
    axes.set_aspect("equal")
    _frame(axes, panel.x_title, panel.y_title)
    axes.legend(fontsize=7, loc="lower right")


def _frame(axes: Axes, x_title: str, y_title: str) -> None:
    axes.set_xlabel(x_title, fontsize=9)
    axes.set_ylabel(y_title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
