"""Panels as a PNG by matplotlib, through its object interface: no global state, no display."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
from closegap_core.report.images import GAP, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
WIDTH, HEIGHT = 5.6, 4.0
"""Inches of a panel."""
CHARACTERS = {"title": 9.5, "footnote": 15.5}
"""About so many of the text's characters take an inch."""
CROWDED, FEW = 5, 6
"""So many curves leave no room for a legend among them; so many places on an axis are ticked each."""
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
    figure.suptitle(_wrapped(title, "title", columns), fontsize=12, fontweight="bold")
    figure.supxlabel(_wrapped(footnote, "footnote", columns), fontsize=8, color="0.35")
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _wrapped(text: str, kind: str, columns: int) -> str:
    """Each line of the text within the picture's width."""
    width = int(CHARACTERS[kind] * WIDTH * columns)
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


def _height(panel: Panel) -> float:
    if isinstance(panel, StripPanel):
        height, width = panel.shape[:2]
        across = max(len(strip.images) for strip in panel.strips) * width
        return 0.4 + 0.85 * WIDTH * len(panel.strips) * height / across
    if isinstance(panel, SurfacePanel):
        return WIDTH * 0.85
    return HEIGHT * 0.8 if isinstance(panel, BarPanel) else HEIGHT


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
    _scales(axes, panel)
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    if len(panel.curves) >= CROWDED:
        axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    elif len(panel.curves) > 1:
        axes.legend(fontsize=8, frameon=False)


def _scales(axes: Axes, panel: CurvePanel) -> None:
    """Logarithmic axes with plain figures; a tick at each place where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for log, set_scale, axis in (
        (panel.log_x, axes.set_xscale, axes.xaxis),
        (panel.log_y, axes.set_yscale, axes.yaxis),
    ):
        if log:
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    places = sorted({place for curve in panel.curves for place in curve.x})
    if not panel.log_x and len(places) <= FEW:
        axes.set_xticks(places, [f"{place:g}" for place in places])


def _curve(axes: Axes, curve: Curve) -> None:
    marker = MARKERS[curve.colour % len(MARKERS)] if curve.marked else None
    axes.plot(
        curve.x, curve.y, DASHES[curve.dash], color=_colour(curve.colour), marker=marker, markersize=4.5,
        linewidth=1.6, label=curve.name,
    )  # fmt: skip


def _bars(axes: Axes, panel: BarPanel) -> None:
    places = np.arange(len(panel.labels))
    above, below = np.zeros(len(places)), np.zeros(len(places))  # what is negative hangs below zero
    for stack in panel.stacks:
        values = np.array([np.nan if value is None else value for value in stack.values])
        errors = np.array([np.nan if error is None else error for error in stack.errors])
        colour = _colour(stack.colour)
        if panel.stacked:
            base = np.where(values < 0, below, above)
            axes.bar(
                places, values, 0.5, base, yerr=errors, capsize=3, color=colour, alpha=0.85, label=stack.name
            )
            above, below = above + np.fmax(values, 0.0), below + np.fmin(values, 0.0)
        else:
            axes.errorbar(places, values, errors, fmt="o", capsize=4, color=colour, label=stack.name)
            axes.set_xlim(-0.6, len(places) - 0.4)
    for place, note in enumerate(panel.notes):
        (stack,) = panel.stacks
        if note and (value := stack.values[place]) is not None:
            axes.annotate(note, (place, value), (8, 0), textcoords="offset points", fontsize=8, va="center")
    width = int(CHARACTERS["footnote"] * 0.9 * WIDTH / len(places))
    axes.set_xticks(places, [textwrap.fill(label, width) for label in panel.labels])
    _frame(axes, "", panel.y_title)
    axes.grid(visible=False, axis="x")
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    if len(panel.stacks) > 1:
        axes.legend(fontsize=8, frameon=False, ncols=len(panel.stacks), loc="upper center")


def _strips(axes: Axes, panel: StripPanel) -> None:
    images = np.concatenate([strip.images for strip in panel.strips])
    axes.imshow(
        canvas(images, panel.shape, len(panel.strips[0].images)), interpolation="nearest", aspect="equal"
    )
    names, height = [strip.name for strip in panel.strips], panel.shape[0]
    middles = [number * (height + GAP) + (height - 1) / 2 for number in range(len(names))]
    axes.set_yticks(middles, names, fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _surface(axes: Axes, panel: SurfacePanel) -> None:
    from matplotlib.ticker import MaxNLocator

    levels = np.linspace(float(panel.z.min()), float(panel.z.max()), 25)
    filled = axes.contourf(panel.x, panel.y, panel.z, levels, cmap="Greys", alpha=0.6)
    if axes.figure is not None:
        bar = axes.figure.colorbar(filled, ax=axes, shrink=0.7)
        bar.set_label(panel.z_title, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    for number, path in enumerate(panel.paths):
        _path(axes, path, len(panel.paths) - number)
    (left, right), (bottom, top) = panel.frame or ((panel.x[0], panel.x[-1]), (panel.y[0], panel.y[-1]))
    axes.set_xlim(float(left), float(right))
    axes.set_ylim(float(bottom), float(top))
    axes.set_aspect("equal")
    _frame(axes, panel.x_title, panel.y_title)
    axes.legend(fontsize=7, loc="best", framealpha=0.7)


def _path(axes: Axes, path: Curve, layer: int) -> None:
    """A path that ends in a star; a single point is a star alone."""
    colour = _colour(path.colour)
    star: dict[str, Any] = {
        "marker": "*",
        "markersize": 11,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }
    if len(path.x) == 1:
        axes.plot(path.x, path.y, color=colour, linestyle="", label=path.name, zorder=9, **star)
        return
    axes.plot(
        path.x, path.y, ".-", color=colour, linewidth=1.1, markersize=3.5, label=path.name, zorder=2 + layer
    )
    axes.plot(path.x[-1:], path.y[-1:], color=colour, zorder=2 + layer, **star)


def _frame(axes: Axes, x_title: str, y_title: str) -> None:
    axes.set_xlabel(x_title, fontsize=9)
    axes.set_ylabel(y_title, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
