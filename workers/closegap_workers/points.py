"""The trials of a sweep: a list of points that depends on the spec alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from closegap.specs.kinds import SweepSpec
from closegap.specs.space import Dimension

Point = dict[str, Any]
"""Values by dotted path."""


def points(spec: SweepSpec) -> list[Point]:
    """A grid's points, the last path fastest; or `trials` seeded random ones.

    Paths are taken by name: a record of a spec need not keep the order in which they were written.
    """
    space = {path: spec.space[path] for path in sorted(spec.space)}
    if spec.search.algorithm == "grid":
        values = [dimension.values or () for dimension in space.values()]
        grid = [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]
        return grid[: spec.search.trials]
    random = np.random.Generator(np.random.PCG64(spec.search.seed))
    return [
        {path: draw(dimension, random) for path, dimension in space.items()}
        for _ in range(spec.search.trials or 0)
    ]


def draw(dimension: Dimension, random: np.random.Generator) -> Any:
    """One value of a dimension; of a grid, as of a choice, any value evenly."""
    if dimension.values is not None:
        return dimension.values[int(random.integers(len(dimension.values)))]
    if dimension.randint is not None:
        return int(random.integers(*dimension.randint))
    if dimension.uniform is not None:
        return float(random.uniform(*dimension.uniform))
    assert dimension.log_uniform is not None
    low, high = dimension.log_uniform
    return math.exp(random.uniform(math.log(low), math.log(high)))
