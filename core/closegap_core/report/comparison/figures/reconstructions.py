"""Rows and the means of p(x | z) at the mean of q, over inference iterations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from closegap_core.config.comparison import ComparisonConfig, ReconstructionsFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.inputs import ComparisonError, Entry
from closegap_core.report.comparison.panel import Strip, StripPanel
from closegap_core.report.images import drawable, grey_levels

SHOWN = 8
"""About so many iterations, unless they are named."""


def reconstructions(
    figure: ReconstructionsFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]
) -> Drawn:
    """A panel an entry: the rows, then a strip for each iteration shown."""
    panels = tuple(_panel(figure, entry) for entry in entries)
    return Drawn(
        panels,
        "Each column is one held-out row: at the top the row itself, below it the mean of p(x | z) at the mean of q "
        "after so many inference iterations; 0 is the prior.",
    )


def _panel(figure: ReconstructionsFigureConfig, entry: Entry) -> StripPanel:
    originals, steps, shape = entry.arrays("originals", "reconstructions", "shape")
    sides = tuple(int(side) for side in shape)
    if not drawable(sides):
        raise ComparisonError(
            f"rows of `{entry.label}` have shape {sides}; pictures need (height, width[, 1 or 3])"
        )
    low, high = float(originals.min()), float(originals.max())
    shown = slice(0, figure.rows)
    strips = [Strip("data", grey_levels(originals[shown], low, high))]
    for iteration in _chosen(figure, entry, len(steps)):
        strips.append(Strip(str(iteration), grey_levels(steps[iteration][shown], low, high)))
    return StripPanel(entry.label, sides, tuple(strips))


def _chosen(figure: ReconstructionsFigureConfig, entry: Entry, steps: int) -> list[int]:
    if figure.iterations is None:
        return sorted({round(float(place)) for place in np.linspace(0, steps - 1, min(SHOWN, steps))})
    if max(figure.iterations) >= steps:
        raise ComparisonError(
            f"iteration {max(figure.iterations)} of `{entry.label}` was not measured; the last is {steps - 1}"
        )
    return list(figure.iterations)
