"""ELBO by inference iteration, beside a refiner on each row's own q under the same decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from closegap_core.config.comparison import ComparisonConfig, IterationsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import Curve, CurvePanel, Dash

STARTS: tuple[tuple[str, str, Dash], ...] = (
    ("the prior", "from_prior", "dot"),
    ("the encoder", "from_encoder", "dashdot"),
)
"""Of the refiner: in words, in metrics.json, and how its line is drawn."""
MARGIN = 0.1
"""Of what is shown, above it; below it twice as much."""


def iterations(figure: IterationsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """One panel for each entry: its iterations, and Adam on q from the prior and from where the model ends."""
    panels = tuple(_panel(entry) for entry in entries)
    return Drawn(
        panels,
        "ELBO of held-out rows after so many inference iterations of the model, or steps of a refiner on each row's "
        "own q, all under the model's own decoder. No errors are drawn: over rows they are those of the table, and the "
        "curves share the rows. The frame begins near the ELBO after the first iteration: the prior's is far below.",
        columns=min(2, len(panels)),
    )


def _panel(entry: Entry) -> CurvePanel:
    points = entry.part("elbo_by_iteration")
    own = Curve(
        entry.label,
        tuple(float(point["iteration"]) for point in points),
        tuple(point["elbo"] for point in points),
        None,
        0,
        marked=len(points) < 40,
    )
    refinement = entry.metrics.get("refinement")
    curves = (own, *_refined(refinement)) if refinement else (own,)
    axes = ("iteration, or step of the refiner", "ELBO (nats)")
    return CurvePanel(entry.label, *axes, curves, y_range=_frame(own, curves))


def _frame(own: Curve, curves: Sequence[Curve]) -> tuple[float, float] | None:
    """From what the model reaches after its first iteration: the prior, far below, would squash the rest."""
    low, high = min(own.y[1:] or own.y), max(max(curve.y) for curve in curves)
    margin = MARGIN * (high - low)
    return (low - 2 * margin, high + margin) if margin > 0 else None


def _refined(refinement: dict[str, Any]) -> list[Curve]:
    kind = refinement.get("kind", "adam")
    return [
        Curve(
            f"{kind} on q from {start}",
            tuple(float(point["step"]) for point in refinement[name]),
            tuple(point["elbo"] for point in refinement[name]),
            None,
            number,
            dash,
        )
        for number, (start, name, dash) in enumerate(STARTS, start=1)
    ]
