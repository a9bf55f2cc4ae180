"""The search space of a sweep: dotted paths into a train configuration, each with the values it may take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, final

from pydantic import Field, ValidationError, model_validator

from closegap.errors import Problem
from closegap.specs.problems import describe, problem
from closegap.specs.references import Path
from closegap_core.config import Config, TrainConfig

LARGEST_PRODUCT = 512
"""Grids up to this many points are checked point by point; of larger ones each value by itself."""

Values = Annotated[tuple[Any, ...], Field(min_length=1)]


@final
class Dimension(Config):
    """The values of one field; exactly one of these."""

    choice: Values | None = Field(None, description="One of these values, drawn evenly.")
    grid: Values | None = Field(None, description="Every one of these values.")
    uniform: tuple[float, float] | None = Field(None, description="[low, high]")
    log_uniform: tuple[float, float] | None = Field(
        None, description="[low, high], low > 0, even in the logarithm."
    )
    randint: tuple[int, int] | None = Field(None, description="[low, high): whole numbers, high excluded.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Dimension:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of choice, grid, uniform, log_uniform, randint; found {given or 'none'}"
            )
        ends = self.uniform or self.log_uniform or self.randint
        if ends and not (all(map(math.isfinite, ends)) and ends[0] < ends[1]):
            raise ValueError(f"{given[0]} needs finite [low, high] with low < high; found {list(ends)}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs low > 0; found {self.log_uniform[0]}")
        return self

    @property
    def values(self) -> tuple[Any, ...] | None:
        """The values of a finite dimension; None of a continuous one or a range."""
        return self.choice or self.grid

    @property
    def field(self) -> str:
        """Which of the five it is."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    def samples(self) -> tuple[tuple[Path, Any], ...]:
        """(path below the dimension, value) of every value, or of both ends of a range."""
        if self.values is not None:
            return tuple(((self.field, index), value) for index, value in enumerate(self.values))
        ends = self.uniform or self.log_uniform
        low, high = ends if ends else (self.randint[0], self.randint[1] - 1) if self.randint else (0, 0)
        return (((self.field, 0), low), ((self.field, 1), high))


def apply(config: TrainConfig, point: Mapping[str, Any]) -> TrainConfig:
    """The configuration with each dotted path set to its value. Raises ValidationError, KeyError (no path)."""
    return TrainConfig.model_validate(_placed(config, point))


def _placed(config: TrainConfig, point: Mapping[str, Any]) -> dict[str, Any]:
    value = config.model_dump(mode="json")
    for path, item in point.items():
        *parents, last = path.split(".")
        inner: Any = value
        for part in parents:
            inner = _inside(inner, part)
        if isinstance(inner, dict):
            inner[last] = item  # An unknown last part is left to validation, which guesses what was meant.
        else:
            _inside(inner, last)
            inner[int(last)] = item
    return value


def _inside(value: Any, part: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    raise KeyError(part)


def check(config: TrainConfig, space: Mapping[str, Dimension], grid: bool, base: Path) -> list[Problem]:
    """Every way in which a point of the space is no valid configuration; `base` is the space's path."""
    found = _overlaps(space, base)
    for path, dimension in space.items():
        if grid and dimension.values is None:
            message = f"grid search cannot run over {dimension.field}"
            found.append(
                problem((*base, path), dimension.field, message, "choice or grid, or `algorithm: random`")
            )
        for below, value in dimension.samples():
            found += _attempt(config, {path: value}, (*base, path, *below), value)
    finite = [[(path, value) for value in dimension.values or ()] for path, dimension in space.items()]
    if found or not all(finite) or math.prod(map(len, finite)) > LARGEST_PRODUCT:
        return found
    for point in itertools.product(*finite):
        found += _attempt(config, dict(point), base, dict(point))
    return found


def _overlaps(space: Mapping[str, Dimension], base: Path) -> list[Problem]:
    return [
        problem(
            (*base, inner),
            None,
            f"lies inside `{outer}`, which is also searched",
            "paths of which none contains another",
        )
        for outer, inner in itertools.permutations(space, 2)
        if inner.startswith(f"{outer}.")
    ]


def _attempt(config: TrainConfig, point: Mapping[str, Any], path: Path, value: Any) -> list[Problem]:
    try:
        placed = _placed(config, point)
    except KeyError as error:
        message = f"`{', '.join(point)}` is no path of the train configuration: there is no {error}"
        return [
            problem(
                path, value, message, "dotted paths such as training.learning_rate, model.levels.0.latent"
            )
        ]
    try:
        TrainConfig.model_validate(placed)
    except ValidationError as error:
        causes = describe(error, placed, TrainConfig.model_json_schema())
        return [
            problem(path, value, f"makes train.{cause.path}: {cause.message}", cause.accepted)
            for cause in causes
        ]
    return []
