"""The page's tables, as HTML. Every string from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from closegap_core.report.charts import COLOURS, number
from closegap_core.report.inputs import EncodingReport, Evaluation, ModelReport


def figures(models: Sequence[ModelReport]) -> str:
    """One line a model: held-out bounds with their standard errors. The highest of a column is bold."""
    samples = models[0].evaluation.iwae.samples
    heads = [
        "model",
        "ELBO",
        "log-likelihood",
        "KL",
        f"IWAE bound, K = {samples}",
        "best by Adam on q",
        "amortization gap",
    ]
    elbos = [model.evaluation.elbo for model in models]
    bounds = [model.evaluation.iwae.value for model in models]
    lines = []
    for model, colour in zip(models, COLOURS, strict=False):
        found = model.evaluation
        refined = found.refinement
        lines.append(
            f'<tr><th scope="row"><span class="swatch" style="background:{colour}"></span>{escape(model.name)}</th>'
            + _cell(found.elbo, found.elbo_standard_error, found.elbo == max(elbos) and len(models) > 1)
            + _cell(found.log_likelihood)
            + _cell(found.kl)
            + _cell(
                found.iwae.value,
                found.iwae.standard_error,
                found.iwae.value == max(bounds) and len(models) > 1,
            )
            + (_cell(refined.best) + _cell(refined.amortization_gap) if refined else "<td>–</td><td>–</td>")
            + "</tr>"
        )
    return _table(heads, lines)


def by_iteration(models: Sequence[ModelReport]) -> str:
    """ELBO after each inference iteration, a column a model."""
    curves = [{p.iteration: p for p in model.evaluation.elbo_by_iteration} for model in models]
    lines = []
    for iteration in sorted(set().union(*curves)):
        points = [curve.get(iteration) for curve in curves]
        cells = [_cell(point.elbo, point.standard_error) if point else "<td></td>" for point in points]
        name = "0, the prior" if iteration == 0 else str(iteration)
        lines.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return _table(["iteration", *(escape(model.name) for model in models)], lines)


def parity(encoding: EncodingReport) -> str:
    """How far the exported file is from the trained model, against the limits at which export fails."""
    lines = []
    for check in encoding.checks:
        limit = "–" if check.limit is None else f"{check.limit:.1g}"
        cells = f"<td>{check.file:.1g}</td><td>{check.model:.1g}</td><td>{limit}</td>"
        lines.append(f'<tr><th scope="row">{escape(check.name)}</th>{cells}</tr>')
    return _table(["comparison", "exported file", "trained model", "limit for the file"], lines)


def provenance(evaluation: Evaluation) -> str:
    """What the figures were measured on."""
    return (
        f"Measured on {evaluation.rows} rows of the {escape(evaluation.part)} part, which training never saw; "
        f"{evaluation.samples} samples each ELBO; data sha256 {escape(evaluation.data_digest)}."
    )


def _cell(value: float, error: float | None = None, best: bool = False) -> str:
    spread = "" if error is None else f' <span class="error">± {number(error)}</span>'
    return f"<td{' class=best' if best else ''}>{number(value)}{spread}</td>"


def _table(heads: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
