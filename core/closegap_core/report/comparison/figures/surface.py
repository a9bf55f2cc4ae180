"""The bound of single rows over two dimensions of q's mean, and the paths of inference on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from closegap_core.config.comparison import ComparisonConfig, SurfaceFigureConfig
from closegap_core.report.comparison.figures.figure import Drawn
from closegap_core.report.comparison.frontier import TITLES
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import Curve, SurfacePanel, around

DEPTH = 100.0
"""Nats below its top to which a surface is shown: far from it a bound falls by thousands."""
BEST = 0
"""The colour of the best q."""


def surface(figure: SurfaceFigureConfig, config: ComparisonConfig, entries: Sequence[Entry]) -> Drawn:
    """A panel for each row of each entry."""
    return Drawn(
        tuple(panel for entry in entries for panel in _panels(entry)),
        "The bound of single held-out rows over two dimensions of q's mean, all else as in the row's best q, and where "
        "inference went, from the prior; a star is where it ended. Only the part around the paths is shown, and what "
        f"is more than {DEPTH:g} nats below the top as if it were {DEPTH:g}.",
    )


def _panels(entry: Entry) -> list[SurfacePanel]:
    said = entry.part("surface")
    names = [entry.label if refiner is None else _refiner(refiner) for refiner in said["paths"]]
    axis, heights, optimum, *paths = entry.arrays(
        "surface_axis",
        "surface_heights",
        "surface_optimum",
        *(f"surface_path_{number}" for number in range(len(names))),
    )
    first, second = (f"mean of z, dimension {dimension + 1}" for dimension in said["dimensions"])
    title = "log p(x, z)" if said["objective"] == "log_joint" else "ELBO"
    panels = []
    for row, height in enumerate(heights):
        walked = [
            _path(name, path[row], colour)
            for colour, (name, path) in enumerate(zip(names, paths, strict=True), start=1)
        ]
        best = _path("best q", optimum[row][None], BEST)
        panels.append(
            SurfacePanel(
                f"{entry.label}, row {row + 1}",
                first,
                second,
                f"{title} (nats)",
                axis,
                axis,
                np.maximum(height, height.max() - DEPTH),
                (best, *walked),
                around([path[row] for path in (optimum[:, None], *paths)], axis),
            )
        )
    return panels


def _refiner(refiner: dict[str, Any]) -> str:
    kind = refiner["kind"]
    return f"{TITLES.get(kind, kind)}, rate {refiner['learning_rate']:g}"


def _path(name: str, points: np.ndarray, colour: int) -> Curve:
    """points (steps + 1, 2)"""
    return Curve(name, tuple(points[:, 0].tolist()), tuple(points[:, 1].tolist()), None, colour, marked=True)
