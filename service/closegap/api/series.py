"""What a job has measured so far: its metrics as series."""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import Annotated, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api.context import Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.api.readings import Readings

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
    with context.shelf.of(found.id) as readings:
        return SeriesList(series=_series(readings, points, None if name is None else frozenset(name)))


def _series(readings: Readings, most: int, wanted: frozenset[str] | None) -> list[Series]:
    found = []
    for (kind, x), columns in readings.columns.items():
        for name, (xs, ys) in columns.items():
            if name == x or (wanted is not None and name not in wanted) or ys.count(None) == len(ys):
                continue
            points = _ordered(xs, ys)
            found.append(Series(name=name, event=kind, x=x, points=thinned(points, most), count=len(points)))
    return sorted(found, key=lambda one: (one.name, one.event, one.x))


def _ordered(xs: list[float], ys: list[float | None]) -> list[Point]:
    """By x; of a value that was reported twice, after a restart, the last."""
    if all(map(lt, xs, xs[1:])):
        return list(zip(xs, ys, strict=True))
    return sorted(dict(zip(xs, ys, strict=True)).items(), key=_first)


def _first(point: tuple[float, float | None]) -> float:
    return point[0]


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
    return [points[0], *kept[: most - 2], points[-1]]
