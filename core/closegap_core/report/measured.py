"""What an evaluation measured beyond the bounds themselves: gaps, the frontier, dimensions, gradients, a surface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np

from closegap_core.report.base import Count, Input, Nats


@final
class Gap(Input):
    """A difference of two bounds with its two errors: over rows, and of the estimate on these rows."""

    value: Nats
    standard_error: Nats
    estimator_error: Nats


@final
class Evidence(Input):
    """The estimate of log p(x)."""

    value: Nats
    estimator: str


@final
class PartGaps(Input):
    """The gap report of one part of the data."""

    rows: Count
    approximation_gap: Gap
    amortization_gap: Gap
    inference_gap: Gap
    log_evidence: Evidence
    verdict: tuple[str, ...]


@final
class FrontierPoint(Input):
    """After so many decoder passes and CPU seconds a row."""

    passes: Count
    seconds: Nats
    elbo: Nats
    gap: Nats
    gap_standard_error: Nats


@final
class FrontierLine(Input):
    """A refiner from a start, or the model's own iterations."""

    start: str | int
    refiner: dict[str, Any] | None
    points: tuple[FrontierPoint, ...]

    @property
    def name(self) -> str:
        if self.refiner is None:
            return "the model's own iterations"
        begun = {"prior": "the prior", "model": "the model"}.get(str(self.start), f"iteration {self.start}")
        return f"{self.refiner['kind']}, rate {self.refiner['learning_rate']:g}, from {begun}"


@final
class Frontier(Input):
    """Every line under one budget."""

    rows: Count
    lines: tuple[FrontierLine, ...]


@final
class Units(Input):
    """Which dimensions of z depend on x."""

    count: Count
    threshold: Nats
    variance: tuple[Nats, ...]


@final
class Gradient(Input):
    """Mean magnitude of the gradient at q after an iteration."""

    iteration: Count
    mean: Nats
    log_var: Nats


@final
class Paths(Input):
    """What walks on the surface: None for the model's own iterations, else a refiner."""

    dimensions: tuple[Count, Count]
    objective: str
    paths: tuple[dict[str, Any] | None, ...]


@final
class SurfaceArrays(Input):
    """axis (P,), heights (R, P, P), optimum (R, 2), and paths (R, steps + 1, 2)."""

    axis: np.ndarray
    heights: np.ndarray
    optimum: np.ndarray
    paths: tuple[np.ndarray, ...]

    @classmethod
    def among(cls, arrays: Mapping[str, np.ndarray]) -> Self | None:
        """Those of an evaluation, None where no surface was asked for. Raises KeyError when one is missing."""
        if "surface_axis" not in arrays:
            return None
        count = sum(name.startswith("surface_path_") for name in arrays)
        paths = tuple(arrays[f"surface_path_{number}"] for number in range(count))
        axis, heights, optimum = (arrays[f"surface_{name}"] for name in ("axis", "heights", "optimum"))
        return cls(axis=axis, heights=heights, optimum=optimum, paths=paths)
