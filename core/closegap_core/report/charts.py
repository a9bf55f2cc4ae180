"""The page's charts as plotly figures: plain values, with colours by name that the page's style resolves.

A colour `var(--first)` is looked up when the page is shown, so that one figure serves light and dark. Models also
differ by dash and marker: colour alone never tells them apart.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from closegap_core.report.inputs import EncodingReport, Evaluation, ModelReport

Figure = dict[str, Any]
COLOURS = ("var(--first)", "var(--second)")
TICKS = [digit * power for power in (1, 10, 100, 1000, 10_000) for digit in (1, 2, 3, 5)]
BANDS = ("var(--first-band)", "var(--second-band)")


def learning_curve(models: Sequence[ModelReport], term: Literal["elbo", "log_likelihood", "kl"]) -> Figure:
    """One term of the ELBO by epoch, train and validation, for each model."""
    traces: list[Figure] = []
    shown: list[float] = []
    for model, colour in zip(models, COLOURS, strict=False):
        epochs = [entry.epoch for entry in model.history]
        for part, dash in (("valid", "solid"), ("train", "dot")):
            values = [getattr(getattr(entry, part), term) for entry in model.history]
            shown += values[len(values) // 10 :]
            label = {"valid": "validation", "train": "train"}[part]
            traces.append(_line(f"{html.escape(model.name)}, {label}", epochs, values, colour, dash))
    frame = layout("epoch", _range(shown))
    return {"data": traces, "layout": {**frame, "showlegend": False}}


def iterations(models: Sequence[ModelReport]) -> Figure:
    """Held-out ELBO by inference iteration, beside one-pass encoders and Adam on q under the first model's decoder."""
    first = models[0]
    last = max(_last_step(first.evaluation), len(first.evaluation.elbo_by_iteration) - 1, 2)
    traces: list[Figure] = []
    shown: list[float] = []
    for model, colour, band in zip(models, COLOURS, BANDS, strict=False):
        points = [point for point in model.evaluation.elbo_by_iteration if point.iteration > 0]
        shown += [point.elbo for point in points]
        if len(points) == 1:
            name = f"{html.escape(model.name)} encoder, one pass"
            traces.append(_line(name, [1, last], [points[0].elbo] * 2, colour, "dash"))
            continue
        xs, ys = [point.iteration for point in points], [point.elbo for point in points]
        errors = [point.standard_error for point in points]
        traces.append(_band(xs, ys, errors, band))
        traces.append(_line(f"{html.escape(model.name)} encoder", xs, ys, colour, "solid", markers=True))
    traces += _adam(first)
    if first.evaluation.refinement is not None:
        shown.append(first.evaluation.refinement.best)
    frame = layout("inference iteration, or Adam step", _range(shown))
    frame["xaxis"] |= {
        "type": "log",
        "range": [-0.03, float(np.log10(last)) + 0.03],
        "tickvals": [tick for tick in TICKS if tick <= last],
    }
    if len(first.evaluation.elbo_by_iteration) > 2:
        frame |= _mark(first.evaluation.iterations)
    return {"data": traces, "layout": frame}


def encoded(encoding: EncodingReport, evaluation: Evaluation) -> Figure:
    """Histogram of the ELBO of each encoded row, with its mean and the evaluation's."""
    mean = float(np.mean(encoding.elbo))
    counts, edges = np.histogram(encoding.elbo, bins=min(40, max(5, len(encoding.elbo) // 10)))
    bars = {
        "type": "bar",
        "x": ((edges[:-1] + edges[1:]) / 2).tolist(),
        "y": counts.tolist(),
        "width": np.diff(edges).tolist(),
        "name": "encoded rows",
        "marker": {"color": "var(--first-band)", "line": {"color": "var(--first)", "width": 1}},
        "hovertemplate": "%{x:.1f} nats: %{y} rows<extra></extra>",
    }
    top = float(counts.max()) * 1.05
    lines = [
        _line(f"mean of the encoding, {number(mean)}", [mean, mean], [0.0, top], "var(--first)", "solid"),
        _line(
            f"evaluation, {number(evaluation.elbo)}",
            [evaluation.elbo] * 2,
            [0.0, top],
            "var(--second)",
            "dash",
        ),
    ]
    frame = layout("ELBO of a row (nats)", [0.0, top], y_title="rows")
    frame["bargap"] = 0
    return {"data": [bars, *lines], "layout": frame}


def number(value: float, digits: int = 2) -> str:
    """With a real minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


# --- pieces -----------------------------------------------------------------------------------------------


def _adam(model: ModelReport) -> list[Figure]:
    refinement = model.evaluation.refinement
    if refinement is None:
        return []
    traces = []
    for start, steps, dash in (
        ("the prior", refinement.from_prior, "dot"),
        (f"the {html.escape(model.name)} encoder", refinement.from_encoder, "dashdot"),
    ):
        kept = [step for step in steps if step.step > 0]
        # Where it ends stands in the legend: from the prior it may still be below the frame.
        end = f"{number(steps[-1].elbo, 1)} after {steps[-1].step}"
        xs, ys = [step.step for step in kept], [step.elbo for step in kept]
        traces.append(_line(f"Adam on q from {start}, {end}", xs, ys, "var(--adam)", dash))
    return traces


def _last_step(evaluation: Evaluation) -> int:
    refinement = evaluation.refinement
    return refinement.from_prior[-1].step if refinement and refinement.from_prior else 1


def _line(
    name: str, x: Sequence[float], y: Sequence[float], colour: str, dash: str, markers: bool = False
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "dash": dash, "width": 2.2},
        "marker": {"size": 7},
        "hovertemplate": "%{y:.2f}",
    }


def _band(x: Sequence[float], y: Sequence[float], error: Sequence[float], colour: str) -> Figure:
    upper = [value + spread for value, spread in zip(y, error, strict=True)]
    lower = [value - spread for value, spread in zip(y, error, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*upper, *reversed(lower)],
        "fill": "toself",
        "fillcolor": colour,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _mark(iteration: int) -> Figure:
    at = {"xref": "x", "yref": "paper"}
    line = {"type": "line", **at, "x0": iteration, "x1": iteration, "y0": 0, "y1": 1}
    text = {**at, "x": float(np.log10(iteration)), "y": 1, "text": " as trained", "showarrow": False}
    return {
        "shapes": [{**line, "line": {"color": "var(--soft)", "dash": "dot", "width": 1}}],
        "annotations": [
            {**text, "xanchor": "left", "yanchor": "top", "font": {"color": "var(--soft)", "size": 12}}
        ],
    }


def _range(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 1.0
    return [low - margin, high + margin]


def layout(x_title: str, y_range: Sequence[float] | None, y_title: str = "nats") -> Figure:
    """Of every chart; y_range absent: all that is there."""
    axis = {"gridcolor": "var(--grid)", "linecolor": "var(--soft)", "zeroline": False, "automargin": True}
    return {
        "font": {"family": "inherit", "size": 13, "color": "var(--text)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "font": {"color": "var(--text)"},
            "bordercolor": "var(--grid)",
        },
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "font": {"size": 12}},
        "xaxis": {**axis, "title": {"text": x_title}},
        "yaxis": {
            **axis,
            "title": {"text": y_title},
            **({} if y_range is None else {"range": list(y_range)}),
        },
    }
