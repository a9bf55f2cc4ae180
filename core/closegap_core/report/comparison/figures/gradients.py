"""How large the gradient of the ELBO still is after each inference iteration."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig, GradientsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import Curve, CurvePanel

TERMS = (("mean", "mean"), ("log_var", "log-variance"))


def gradients(figure: GradientsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel for the mean of q, one for its log-variance; a curve an entry."""
    panels = tuple(_panel(key, title, entries) for key, title in TERMS)
    return Drawn(
        panels,
        "Mean absolute value, over held-out rows and latent dimensions, of the gradient of each row's ELBO with "
        "respect to q's mean and log-variance after so many inference iterations; 0 is the prior. At an optimum it "
        "is noise.",
    )


def _panel(key: str, title: str, entries: Sequence[Entry]) -> CurvePanel:
    curves = []
    for number, entry in enumerate(entries):
        points = entry.part("gradient_by_iteration")
        curves.append(
            Curve(
                entry.label,
                tuple(float(point["iteration"]) for point in points),
                tuple(float(point[key]) for point in points),
                None,
                number,
                marked=True,
            )
        )
    return CurvePanel(f"{title} of q", "inference iteration", "mean |gradient|", tuple(curves), log_y=True)
