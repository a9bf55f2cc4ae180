"""What a job has measured so far: its metrics as series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import lt
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
Columns = dict[str, tuple[list[float], list[float | None]]]
"""By name: x and y of each point."""
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
    tables: dict[tuple[str, str], Columns] = {}
    for number, (kind, data) in enumerate(told):
        x = next((name for name in _X if _is_number(data.get(name))), "event")
        place = float(data[x]) if x != "event" else float(number)
        _file(data, "", 1, place, tables.setdefault((kind, x), {}))
    found = []
    for (kind, x), columns in tables.items():
        for name, (xs, ys) in columns.items():
            if name == x or (wanted is not None and name not in wanted) or ys.count(None) == len(ys):
                continue
            points = _ordered(xs, ys)
            found.append(Series(name=name, event=kind, x=x, points=thinned(points, most), count=len(points)))
    return sorted(found, key=lambda one: (one.name, one.event, one.x))


def _file(value: Mapping[str, Any], prefix: str, depth: int, place: float, columns: Columns) -> None:
    """Numbers of nested objects into columns by dotted name; null is one that was not finite. Lists are no series."""
    for name, item in value.items():
        kind = type(item)
        if kind is float or kind is int or item is None:
            path = prefix + name
            if path not in columns:
                columns[path] = ([], [])
            xs, ys = columns[path]
            xs.append(place)
            ys.append(item)
        elif kind is dict and depth < _DEEPEST:
            _file(item, f"{prefix}{name}.", depth + 1, place, columns)


def _ordered(xs: list[float], ys: list[float | None]) -> list[Point]:
    """By x; of a value that was reported twice, after a restart, the last."""
    if all(map(lt, xs, xs[1:])):
        return list(zip(xs, ys, strict=True))
    return sorted(dict(zip(xs, ys, strict=True)).items(), key=_first)


def _first(point: tuple[float, float | None]) -> float:
    return point[0]


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
