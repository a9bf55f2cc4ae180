"""A figure against a number, a line a series; entries without a series are level lines."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig, LinesFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import Curve, CurvePanel, Dash
from closegap_core.report.comparison.quantity import QUANTITIES, Value
from closegap_core.report.comparison.table import published_value


def lines(figure: LinesFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """Measured and published side by side."""
    names = [(entry.config.columns or config.columns)[0] for entry in entries]
    y_title = figure.y or QUANTITIES[names[0]].heading
    named = list(zip(entries, names, strict=True))
    measured = [(entry, QUANTITIES[name].of(entry)) for entry, name in named]
    published = [
        (entry, value)
        for entry, name in named
        if isinstance(value := published_value(entry.config.published.get(name)), Value)
    ]
    series = list(dict.fromkeys(entry.config.series for entry in entries if entry.config.series))
    panels = [_panel("measured", (figure.x, y_title), measured, series)]
    if published:
        panels.append(_panel("published", (figure.x, y_title), published, series))
    return Drawn(
        tuple(panels),
        f"{y_title} against {figure.x or 'x'}, ± one standard error over rows. Level lines have no "
        "place on the axis. Measured and published panels have axes of their own.",
        published=bool(published),
    )


def _panel(
    title: str, axes: tuple[str, str], points: Sequence[tuple[Entry, Value]], series: Sequence[str]
) -> CurvePanel:
    places = sorted(
        {entry.config.at for entry, _ in points if entry.config.series and entry.config.at is not None}
    )
    curves = []
    for number, called in enumerate(series, start=1):
        own = sorted(
            (entry.config.at or 0.0, value) for entry, value in points if entry.config.series == called
        )
        if own:
            errors = tuple(value.error for _, value in own if value.error is not None)
            curves.append(
                Curve(
                    called,
                    tuple(at for at, _ in own),
                    tuple(value.value for _, value in own),
                    errors if len(errors) == len(own) else None,
                    number,
                    marked=True,
                )
            )
    level = [(entry, value) for entry, value in points if not entry.config.series]
    ends = (places[0], places[-1]) if places else (0.0, 1.0)
    dashes: tuple[Dash, ...] = ("dash", "dot", "dashdot")
    for number, (entry, value) in enumerate(level):
        curves.append(
            Curve(entry.label, ends, (value.value, value.value), None, 0, dashes[number % len(dashes)])
        )
    return CurvePanel(title, *axes, tuple(curves))
