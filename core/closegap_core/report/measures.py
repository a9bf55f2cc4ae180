"""The page's sections on gaps, the frontier of passes and seconds, gradients, dimensions of z, and the surface."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from closegap_core.report.charts import Figure, number
from closegap_core.report.comparison.panel import (
    BarPanel,
    Curve,
    CurvePanel,
    Dash,
    Panel,
    Stack,
    SurfacePanel,
    around,
)
from closegap_core.report.inputs import ModelReport
from closegap_core.report.measured import Frontier
from closegap_core.report.plotted import plotted

DASHES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot")
DEPTH = 60.0
"""Nats below its top to which a surface is shown."""
Section = tuple[str, str, str]
"""Heading, body as HTML, how to read it."""


def sections(models: Sequence[ModelReport], figures: dict[str, Figure]) -> list[Section]:
    """Those for which the evaluations hold something."""
    found = (_verdicts(models), _gaps(models, figures), _gap_table(models))
    charts = (
        *(_frontier(place, model, figures) for place, model in enumerate(models)),
        _gradients(models, figures),
        _dimensions(models, figures),
        *(_surface(place, model, figures) for place, model in enumerate(models)),
    )
    return [section for section in (*found, *charts) if section is not None]


def _row(panels: Sequence[Panel], name: str, figures: dict[str, Figure]) -> str:
    shown = (plotted(panel, f"{name}-{place}", figures) for place, panel in enumerate(panels))
    return f'<div class="row">{"".join(shown)}</div>'


def _verdicts(models: Sequence[ModelReport]) -> Section | None:
    lines = []
    for model in models:
        said = list(model.evaluation.verdict)
        for part, gaps in (model.evaluation.gaps or {}).items():
            said += [f"{word}, on {part} rows" for word in gaps.verdict if word not in said]
        lines += [f"<li>{escape(model.name)}: {escape(word)}</li>" for word in said]
    if not lines:
        return None
    return (
        "In words",
        f"<ul>{''.join(lines)}</ul>",
        "What the figures below say about the models and about themselves.",
    )


def _gaps(models: Sequence[ModelReport], figures: dict[str, Figure]) -> Section | None:
    bars = [
        (f"{model.name}, {part}", gaps)
        for model in models
        for part, gaps in (model.evaluation.gaps or {}).items()
    ]
    if not bars:
        return None
    stacks = []
    for colour, (name, title) in enumerate(
        (("approximation_gap", "approximation gap"), ("amortization_gap", "amortization gap"))
    ):
        found = [getattr(gaps, name) for _, gaps in bars]
        values, errors = ([getattr(gap, key) for gap in found] for key in ("value", "standard_error"))
        stacks.append(Stack(title, tuple(values), tuple(errors), colour))
    panel = BarPanel(
        "log p(x) − ELBO", "nats", tuple(label for label, _ in bars), tuple(stacks), stacked=True
    )
    reading = (
        "How far the ELBO is below log p(x), in two parts (Cremer, Li &amp; Duvenaud 2018): what the family of q costs "
        "(approximation), and what is lost because q comes from an encoder (amortization). Bars: one standard error "
        "over rows. An amortization gap that is larger on test rows is the encoder's overfitting."
    )
    return "Where the ELBO falls short", _row([panel], "gaps", figures), reading


def _gap_table(models: Sequence[ModelReport]) -> Section | None:
    lines = []
    for model in models:
        for part, gaps in (model.evaluation.gaps or {}).items():
            cells = "".join(
                f'<td>{number(gap.value)} <span class="error">± {number(gap.standard_error)}, '
                f"estimator ± {number(gap.estimator_error)}</span></td>"
                for gap in (gaps.approximation_gap, gaps.amortization_gap, gaps.inference_gap)
            )
            evidence = f"<td>{number(gaps.log_evidence.value)} ({escape(gaps.log_evidence.estimator)})</td>"
            head = f'<th scope="row">{escape(model.name)}, {escape(part)}, {gaps.rows} rows</th>'
            lines.append(f"<tr>{head}{evidence}{cells}</tr>")
    if not lines:
        return None
    heads = ("", "log p(x)", "approximation gap", "amortization gap", "inference gap")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    reading = (
        "The first error is over rows, as another sample of rows would differ; the second is of the Monte-Carlo "
        "estimates on these very rows. Inference gap = approximation gap + amortization gap."
    )
    return "Gaps in figures", table, reading


def _frontier(place: int, model: ModelReport, figures: dict[str, Figure]) -> Section | None:
    frontier = model.evaluation.frontier
    if frontier is None:
        return None
    panels = [
        _gap_curves(frontier, "passes", "decoder passes a row"),
        _gap_curves(frontier, "seconds", "CPU seconds a row"),
    ]
    reading = (
        f"The amortization gap left, L[q*] − L[q], on {frontier.rows} rows under the decoder of {escape(model.name)}: "
        "after so many decoder passes (one sample of one row with its gradient), and after so much CPU time. Lower and "
        "further left is better. What begins at the prior may lie above the frame; double-click to see all."
    )
    name = f"Gap by pass and by second, {escape(model.name)}"
    return name, _row(panels, f"frontier-{place}", figures), reading


def _gap_curves(frontier: Frontier, axis: str, title: str) -> CurvePanel:
    curves = []
    for colour, line in enumerate(frontier.lines):
        # The model's own line begins at the prior, which would hide all else.
        own = line.refiner is None and len(line.points) > 1
        points = line.points[1:] if own else line.points
        curves.append(
            Curve(
                line.name,
                tuple(float(getattr(point, axis)) for point in points),
                tuple(point.gap for point in points),
                tuple(point.gap_standard_error for point in points),
                colour,
                DASHES[colour % len(DASHES)],
                marked=len(points) == 1 or own,
            )
        )
    near = [
        gap
        for line, curve in zip(frontier.lines, curves, strict=True)
        if line.start != "prior"
        for gap in curve.y
    ]
    top = 1.15 * max(near) if near else None
    y_range = (
        None if top is None else (min(0.0, *(gap for curve in curves for gap in curve.y)) - 0.03 * top, top)
    )
    return CurvePanel(f"by {title}", title, "gap left, nats", tuple(curves), y_range=y_range)


def _gradients(models: Sequence[ModelReport], figures: dict[str, Figure]) -> Section | None:
    shown = [model for model in models if model.evaluation.gradient_by_iteration]
    if not shown:
        return None
    panels = []
    for key, title in (("mean", "mean of q"), ("log_var", "log-variance of q")):
        curves = []
        for colour, model in enumerate(shown):
            points = model.evaluation.gradient_by_iteration or ()
            xs, ys = (tuple(float(getattr(point, name)) for point in points) for name in ("iteration", key))
            curves.append(Curve(model.name, xs, ys, None, colour, DASHES[colour % len(DASHES)], marked=True))
        panels.append(CurvePanel(title, "inference iteration", "mean |gradient|", tuple(curves), log_y=True))
    reading = (
        "Mean magnitude of the gradient of each row's ELBO at q after so many inference iterations; 0 is the start. "
        f"Estimated with {shown[0].evaluation.samples} samples: at an optimum what is left is their noise."
    )
    return "Gradients over inference iterations", _row(panels, "gradients", figures), reading


def _dimensions(models: Sequence[ModelReport], figures: dict[str, Figure]) -> Section | None:
    curves = []
    for colour, model in enumerate(models):
        kl, units = model.evaluation.kl_by_dimension, model.evaluation.active_units
        if kl is None or units is None:
            continue
        name = f"{model.name}, {units.count} of {len(units.variance)} active"
        places = tuple(float(place) for place in range(1, len(kl) + 1))
        curves.append(
            Curve(
                name,
                places,
                tuple(sorted(kl, reverse=True)),
                None,
                colour,
                DASHES[colour % len(DASHES)],
                marked=True,
            )
        )
    if not curves:
        return None
    panel = CurvePanel("KL by dimension", "dimension of z, by rank", "nats", tuple(curves))
    reading = (
        "What each dimension of z costs, largest first. A dimension counts as active where the mean of q varies over "
        "rows by more than 0.01 (Burda, Grosse &amp; Salakhutdinov 2016). If none is, the decoder ignores z."
    )
    return "What the dimensions carry", _row([panel], "dimensions", figures), reading


def _surface(place: int, model: ModelReport, figures: dict[str, Figure]) -> Section | None:
    arrays, said = model.pictures.surface, model.evaluation.surface
    if arrays is None or said is None:
        return None
    names = ["the model's own iterations", *(path["kind"] for path in said.paths[1:] if path is not None)]
    first, second = said.dimensions
    panels = []
    for row, heights in enumerate(arrays.heights):
        best = arrays.optimum[row]
        paths = [Curve("best q", (float(best[0]),), (float(best[1]),), None, 0, marked=True)]
        for colour, (name, path) in enumerate(zip(names, arrays.paths, strict=True), 1):
            xs, ys = (tuple(side.tolist()) for side in path[row].T)
            paths.append(Curve(name, xs, ys, None, colour, marked=colour == 1))
        titles = (f"row {row + 1}", f"mean of z, dimension {first + 1}", f"dimension {second + 1}", "nats")
        # Far from its top a bound falls by thousands of nats, which would leave the rest without contrast.
        shown = heights.clip(min=float(heights.max()) - DEPTH)
        frame = around([best[None], *(path[row] for path in arrays.paths)], arrays.axis)
        panels.append(SurfacePanel(*titles, arrays.axis, arrays.axis, shown, tuple(paths), frame))
    objective = "log p(x, z) at z = mean" if said.objective == "log_joint" else "The ELBO"
    reading = (
        f"{objective} of single rows over two dimensions of q's mean, all else as in the row's best q; what is more "
        f"than {DEPTH:g} nats below the top is shown as if it were {DEPTH:g}. Lines are where inference went, from "
        "the prior; only the part around them is shown at first."
    )
    return (
        f"Paths of inference, {escape(model.name)}",
        _row(panels, f"surface-{place}", figures),
        reading,
    )
