"""ELBO by decoder passes and by seconds: the model's own iterations beside refiners of each row's own q."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from closegap_core.config.comparison import ComparisonConfig, FrontierFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.frontier import TITLES, lines, name
from closegap_core.report.comparison.inputs import ComparisonError, Entry
from closegap_core.report.comparison.panel import Curve, CurvePanel, Dash
from closegap_core.report.comparison.quantity import Value
from closegap_core.report.comparison.table import published_value

AXES: tuple[tuple[Literal["passes", "seconds"], str], ...] = (
    ("passes", "decoder passes a row"),
    ("seconds", "CPU seconds a row"),
)
SHAPES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot")


def frontier(figure: FrontierFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """Two panels for each evaluation, and one for what was published of its points."""
    evaluations: dict[Path, Entry] = {}
    for entry in entries:
        evaluations.setdefault(entry.folder, entry)
    panels = [
        _measured(entry, axis, title, entry.label if len(evaluations) > 1 else "measured")
        for entry in evaluations.values()
        for axis, title in AXES
    ]
    published = _published(entries, [kind for entry in entries for kind, _ in lines(entry)])
    return Drawn(
        (*panels, published) if published.curves else tuple(panels),
        "ELBO of held-out rows after so many decoder passes, and after so much CPU time, a row: the model's own "
        "iterations, and refiners of each row's own q under the same decoder, each at the best of its rates. A pass is "
        "the decoder and its gradient for one sample. The axes are logarithmic, so what costs nothing is not shown; "
        "what falls below the prior's ELBO is cut off.",
        3 if published.curves else 2,
        bool(published.curves),
    )


def _measured(entry: Entry, axis: Literal["passes", "seconds"], title: str, called: str) -> CurvePanel:
    found = lines(entry)
    curves = []
    for number, (key, line) in enumerate(found.items()):
        points = [point for point in line["points"] if point["passes"] > 0]
        if not points:
            continue  # a one-pass encoder costs nothing
        curves.append(
            Curve(
                name(key, line),
                tuple(float(point[axis]) for point in points),
                tuple(float(point["elbo"]) for point in points),
                tuple(float(point["standard_error"]) for point in points),
                number,
                SHAPES[number % len(SHAPES)],
            )
        )
    if not curves:
        raise ComparisonError(
            f"no line of the frontier of `{entry.label}` costs a decoder pass: nothing to draw"
        )
    # What overshoots by thousands of nats would leave the rest without contrast: nothing below the prior is shown.
    prior = float(next(iter(found.values()))["points"][0]["elbo"])
    low, high = max(prior, min(min(curve.y) for curve in curves)), max(max(curve.y) for curve in curves)
    margin = 0.05 * (high - low)
    frame = (low - margin, high + margin) if margin > 0 else None
    return CurvePanel(f"{called}, by {axis}", title, "ELBO (nats)", tuple(curves), log_x=True, y_range=frame)


def _published(entries: Sequence[Entry], kinds: Sequence[str]) -> CurvePanel:
    """kinds: of the measured lines in order; a published line is drawn as the first measured one of its kind."""
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        value = published_value(entry.config.published.get("frontier.elbo"))
        if isinstance(value, Value) and entry.config.point is not None and entry.config.point.passes > 0:
            found.setdefault(entry.config.point.line, []).append((entry.config.point.passes, value.value))
    curves, order = [], [*kinds, *found]
    for line in sorted(found, key=order.index):
        at, elbo = zip(*sorted(found[line]), strict=True)
        number = order.index(line)
        curves.append(
            Curve(TITLES.get(line, line), at, elbo, None, number, SHAPES[number % len(SHAPES)], marked=True)
        )
    return CurvePanel("published", AXES[0][1], "ELBO (nats)", tuple(curves), log_x=True)
