"""Putting the page together: one HTML file that needs no other, no server and no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from closegap_core.durable import write_bytes
from closegap_core.report import charts, images, measures, tables
from closegap_core.report.charts import Figure, number
from closegap_core.report.inputs import EncodingReport, ModelReport, ReportError

TERMS = (("elbo", "ELBO"), ("log_likelihood", "log-likelihood"), ("kl", "KL"))


def build(
    out: Path,
    *,
    standard: ModelReport,
    iterative: ModelReport,
    encoding: EncodingReport | None = None,
    title: str = "Closing the amortization gap",
) -> Path:
    """Write the page that compares both models; returns `out`. Raises ReportError, StorageError."""
    gain = iterative.evaluation.elbo - standard.evaluation.elbo
    lead = (
        f"On {iterative.evaluation.rows} held-out rows the {escape(iterative.name)} model reaches an ELBO of "
        f"{number(iterative.evaluation.elbo)} nats after {iterative.evaluation.iterations} inference iterations, "
        f"{number(abs(gain))} {'above' if gain >= 0 else 'below'} the {escape(standard.name)} model's "
        f"{number(standard.evaluation.elbo)}. Higher is better: the ELBO is a lower bound on log p(x)."
    )
    return _write(out, title, lead, [iterative, standard], encoding)


def build_single(
    out: Path, *, model: ModelReport, encoding: EncodingReport | None = None, title: str | None = None
) -> Path:
    """Write the page of one model; returns `out`. Raises ReportError, StorageError."""
    lead = (
        f"On {model.evaluation.rows} held-out rows the model reaches an ELBO of "
        f"{number(model.evaluation.elbo)} nats. Higher is better: the ELBO is a lower bound on log p(x)."
    )
    return _write(out, title or f"The model {model.name}", lead, [model], encoding)


def _write(
    out: Path, title: str, lead: str, models: Sequence[ModelReport], encoding: EncodingReport | None
) -> Path:
    figures: dict[str, Figure] = {}
    sections = [
        section("In figures", tables.figures(models), _reading_of_figures()),
        _learning(models, figures),
        _iterations(models, figures),
        *(section(*parts) for parts in measures.sections(models, figures)),
        _reconstructions(models),
        _prior_samples(models),
        *(_encoding(models[0], encoding, figures) if encoding else ()),
    ]
    return write_page(out, title, lead, sections, figures, tables.provenance(models[0].evaluation))


def write_page(
    out: Path, title: str, lead: str, sections: Sequence[str], figures: dict[str, Figure], footer: str
) -> Path:
    """Write one self-contained page; returns `out`. All but the title is HTML. Raises ReportError, StorageError."""
    page = Template(_resource("page.html")).substitute(
        title=escape(title),
        lead=lead,
        style=_resource("page.css"),
        script=_resource("page.js"),
        sections="\n".join(sections),
        footer=footer,
        # A figure's text must not be able to close the element it stands in.
        figures=json.dumps(figures, allow_nan=False).replace("<", "\\u003c"),
        plotly=_plotly(),
    )
    write_bytes(out, page.encode())
    return out


def _reading_of_figures() -> str:
    return (
        "Nats, means over rows, ± one standard error. ELBO = log-likelihood − KL. The IWAE bound is tighter than the "
        "ELBO. “Best by Adam on q” is the highest ELBO found by optimising each row's own q under the same decoder; "
        "its distance from the ELBO estimates the amortization gap from below, since Adam need not have converged."
    )


def _learning(models: Sequence[ModelReport], figures: dict[str, Figure]) -> str:
    panels = []
    for term, name in TERMS:
        figures[f"learning-{term}"] = charts.learning_curve(models, term)  # type: ignore[arg-type]
        panels.append(f'<div><h3>{name}</h3><div class="chart" id="learning-{term}"></div></div>')
    reading = (
        "Each panel is one term of ELBO = log-likelihood − KL by epoch. Solid lines are validation rows, dotted lines "
        "training rows: where the two part, the model begins to learn its training rows by heart. The first tenth of "
        "the epochs may lie outside the frame; double-click a panel to see all."
    )
    keys = [
        f'<span class="key {style}" style="--key:{colour}">{escape(model.name)}, {part}</span>'
        for model, colour in zip(models, charts.COLOURS, strict=False)
        for part, style in (("validation", "solid"), ("train", "dotted"))
    ]
    body = f'<p class="legend">{"".join(keys)}</p><div class="row">{"".join(panels)}</div>'
    return section("Learning curves", body, reading)


def _iterations(models: Sequence[ModelReport], figures: dict[str, Figure]) -> str:
    figures["iterations"] = charts.iterations(models)
    table = f"<details><summary>as a table</summary>{tables.by_iteration(models)}</details>"
    start = models[0].evaluation.elbo_by_iteration[0].elbo
    reading = (
        "How good q is after each inference iteration (band: ± one standard error over rows; the curves share their "
        "rows, so they differ more surely than bands suggest), or after so many Adam steps on each row's own q under "
        f"the {escape(models[0].name)} model's decoder. A curve further up and to the left closes the gap with "
        f"less work. A one-pass encoder is a level line, under its own decoder. Iteration 0 is the prior: "
        f"{number(start)} nats."
    )
    return section(
        "ELBO over inference iterations", f'<div class="chart tall" id="iterations"></div>{table}', reading
    )


def _reconstructions(models: Sequence[ModelReport]) -> str:
    pictures = models[0].pictures
    if not images.drawable(pictures.shape):
        return section("Reconstructions over iterations", "", _undrawable(pictures.shape))
    low, high = float(pictures.originals.min()), float(pictures.originals.max())
    lines = [_strip("data", images.grey_levels(pictures.originals, low, high), pictures.shape)]
    for model in models:
        steps = model.pictures.reconstructions
        for iteration in range(1 if len(steps) == 2 else 0, len(steps)):
            name = f"{model.name}, " + ("one pass" if len(steps) == 2 else f"iteration {iteration}")
            levels = images.grey_levels(steps[iteration], low, high)
            first = iteration == 0 or len(steps) == 2
            lines.append(_strip(name, levels, pictures.shape, apart=first))
    reading = (
        "Each column is one held-out row, each line the mean of p(x | z) at the mean of q: the first line is the data, "
        "iteration 0 the prior's mean, and below it every inference iteration."
    )
    return section(
        "Reconstructions over iterations", f'<table class="strips">{"".join(lines)}</table>', reading
    )


def _strip(name: str, levels: np.ndarray, shape: tuple[int, ...], apart: bool = False) -> str:
    source = images.strip(levels, shape)
    opening = '<tr class="apart">' if apart else "<tr>"
    return (
        f'{opening}<th scope="row">{escape(name)}</th><td><img alt="{escape(name)}" src="{source}"></td></tr>'
    )


def _prior_samples(models: Sequence[ModelReport]) -> str:
    shape = models[0].pictures.shape
    if not images.drawable(shape):
        return section("Samples from the prior", "", _undrawable(shape))
    panels = []
    for model in models:
        samples = model.pictures.prior_samples
        low, high = float(model.pictures.originals.min()), float(model.pictures.originals.max())
        columns = max(1, round(float(np.sqrt(len(samples)))))
        source = images.sheet(images.grey_levels(samples, low, high), shape, columns)
        name = escape(model.name)
        panels.append(
            f'<div class="sheet"><h3>{name}</h3><img alt="prior samples, {name}" src="{source}"></div>'
        )
    reading = (
        "Means of p(x | z) with z drawn from the prior: what the decoder has learned of the data, without inference. "
        "Blur or odd shapes show where q does not cover the prior."
    )
    return section("Samples from the prior", f'<div class="row">{"".join(panels)}</div>', reading)


def _encoding(model: ModelReport, encoding: EncodingReport, figures: dict[str, Figure]) -> list[str]:
    figures["encoded"] = charts.encoded(encoding, model.evaluation)
    rate = "" if encoding.rows_per_second is None else f" at {encoding.rows_per_second:,.0f} rows a second"
    reading = (
        f"{len(encoding.elbo)} rows were encoded with the exported file{rate}; each row carries its own ELBO. The two "
        "means use different noise draws, so they agree only up to a little noise; a row far on the left is one that "
        "the model explains badly."
    )
    histogram = section("Encoded rows", '<div class="chart" id="encoded"></div>', reading)
    if not encoding.checks:
        return [histogram]
    reading = (
        "Relative errors of a row against a float64 oracle, on validation rows: of the exported file, and of the "
        "trained float32 model itself, whose rounding the file may share. An export beyond a limit fails and "
        "leaves no file."
    )
    return [histogram, section("Parity of the exported file", tables.parity(encoding), reading)]


def section(name: str, body: str, reading: str) -> str:
    """A section of a page; body and reading are HTML."""
    return f'<section>\n<h2>{name}</h2>\n{body}\n<p class="reading">{reading}</p>\n</section>'


def _undrawable(shape: tuple[int, ...]) -> str:
    return f"Rows of shape {shape} are not pictures (height, width, and 1 or 3 colours), so none are shown."


def _resource(name: str) -> str:
    return resources.files("closegap_core.report").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ReportError("a report needs plotly and Pillow: install closegap[train]") from error
    return str(get_plotlyjs())
