"""What a job has measured so far: its metrics as series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api.context import Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer

_X = ("epoch", "iteration", "step", "rows")
"""What a reported value is drawn over: the first of these that the event has."""
_NOT_SERIES = frozenset({"progress", "log", "state", "wish", "change", "end", "trial"})
_DEEPEST = 4
Point = tuple[float, float | None]
router = APIRouter(tags=["metrics"])


@final
class Series(BaseModel):
    """One curve."""

    name: str = Field(description="Path of the value in the events: `train.elbo`.")
    event: str = Field(description="Type of the events that it comes from.")
    x: str = Field(description="Name of what it is drawn over; `event` is their order.")
    points: list[tuple[float, float | None]] = Field(
        description="(x, y), by x; of a value reported twice the last. A y that is not finite is null."
    )
    count: int = Field(description="Points there are, of which `points` may be some.")


@final
class SeriesList(BaseModel):
    """Every curve of a job."""

    series: list[Series]


@router.get(
    "/v1/jobs/{job}/metrics",
    responses=answers(
        404,
        409,
        example={
            "series": [
                {
                    "name": "valid.elbo",
                    "event": "epoch",
                    "x": "epoch",
                    "points": [[1, -152.3], [2, -131.0]],
                    "count": 2,
                }
            ]
        },
    ),
)
def metrics(
    job: JobName,
    context: Ctx,
    caller: Viewer,
    name: Annotated[list[str] | None, Query(max_length=100, description="Only these series.")] = None,
    points: Annotated[
        int, Query(ge=2, le=10_000, description="Points of a series at most; extremes are kept.")
    ] = 1000,
) -> SeriesList:
    """All numbers that a job has reported, as series."""
    found = context.queue.get(job, caller.projects)
    told = context.queue.reported(found.id, _NOT_SERIES)
    return SeriesList(series=_series(told, points, None if name is None else frozenset(name)))


def _series(
    told: Iterator[tuple[str, dict[str, Any]]], most: int, wanted: frozenset[str] | None
) -> list[Series]:
    """Of (type, data) in the order in which they were told."""
    curves: dict[tuple[str, str, str], list[Point]] = {}
    for number, (kind, data) in enumerate(told):
        x = next((name for name in _X if _is_number(data.get(name))), "event")
        place = float(data[x]) if x != "event" else float(number)
        for path, value in _numbers(data):
            if path != x and (wanted is None or path in wanted):
                curves.setdefault((path, kind, x), []).append((place, value))
    found = []
    for (name, kind, x), told_points in sorted(curves.items()):
        known = _ordered(told_points)
        if any(value is not None for _, value in known):
            found.append(Series(name=name, event=kind, x=x, points=thinned(known, most), count=len(known)))
    return found


def _ordered(points: list[Point]) -> list[Point]:
    """By x; of a value that was reported twice, after a restart, the last."""
    if all(before[0] < after[0] for before, after in pairwise(points)):
        return points
    return sorted(dict(points).items(), key=_first)


def _first(point: tuple[float, float | None]) -> float:
    return point[0]


def _numbers(value: Mapping[str, Any], prefix: str = "", depth: int = 1) -> list[tuple[str, float | None]]:
    """Numbers of nested objects by dotted name; null is one that was not finite. Lists are no series."""
    found: list[tuple[str, float | None]] = []
    for name, item in value.items():
        kind = type(item)
        if kind is float or item is None:
            found.append((prefix + name, item))
        elif kind is int:
            found.append((prefix + name, float(item)))
        elif kind is dict and depth < _DEEPEST:
            found += _numbers(item, f"{prefix}{name}.", depth + 1)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points: the ends, and the lowest and highest of equal stretches between them."""
    if len(points) <= most:
        return list(points)
    stretches = max(1, (most - 2) // 2)
    inner = points[1:-1]
    kept: list[Point] = []
    for index in range(stretches):
        part = inner[index * len(inner) // stretches : (index + 1) * len(inner) // stretches]
        heights = [y for _, y in part if y is not None]
        if not heights:
            kept += part[:1]
            continue
        low, high = min(heights), max(heights)
        extremes = [next(point for point in part if point[1] == height) for height in {low, high}]
        kept += sorted(extremes, key=_first)
    return [points[0], *kept, points[-1]][:most]
