"""The kinds of pictures: one file a kind, one line here."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config.comparison import ComparisonConfig
from closegap_core.report.comparison.figures.bars import bars
from closegap_core.report.comparison.figures.figure import Drawn as Drawn
from closegap_core.report.comparison.figures.figure import Kind as Kind
from closegap_core.report.comparison.figures.frontier import frontier
from closegap_core.report.comparison.figures.gaps import gaps
from closegap_core.report.comparison.figures.gradients import gradients
from closegap_core.report.comparison.figures.iterations import iterations
from closegap_core.report.comparison.figures.lines import lines
from closegap_core.report.comparison.figures.reconstructions import reconstructions
from closegap_core.report.comparison.figures.surface import surface
from closegap_core.report.comparison.inputs import Entry

KINDS: dict[str, Kind] = {
    "bars": bars,
    "lines": lines,
    "iterations": iterations,
    "frontier": frontier,
    "gradients": gradients,
    "gaps": gaps,
    "reconstructions": reconstructions,
    "surface": surface,
}
"""By the name that a configuration gives."""


def draw(config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """The picture of a comparison. Raises ComparisonError where an entry lacks what it shows."""
    return KINDS[config.figure.kind](config.figure, config, entries)
