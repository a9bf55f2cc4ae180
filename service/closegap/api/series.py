"""What a job has measured so far: its metrics as series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.job import Event, Job

_X = ("epoch", "iteration", "step", "rows")
"""What a reported value is drawn over: the first of these that the event has."""
_NOT_SERIES = frozenset({"progress", "log", "state", "wish", "change", "end", "trial"})
_DEEPEST = 4
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
    series = _series(_events(context, found), points)
    return SeriesList(series=[item for item in series if name is None or item.name in name])


def _events(context: Context, job: Job) -> Iterator[Event]:
    after = "0"
    while page := context.queue.events(job.id, after):
        yield from page
        after = page[-1].id


def _series(events: Iterator[Event], most: int) -> list[Series]:
    curves: dict[tuple[str, str, str], dict[float, float | None]] = {}
    for number, event in enumerate(events):
        if event.type in _NOT_SERIES:
            continue
        x = next((name for name in _X if _is_number(event.data.get(name))), "event")
        place = float(event.data[x]) if x != "event" else float(number)
        for path, value in _numbers(event.data):
            if path != x:
                curves.setdefault((path, event.type, x), {})[place] = value
    return [
        Series(
            name=name,
            event=kind,
            x=x,
            points=thinned(sorted(points.items(), key=_first), most),
            count=len(points),
        )
        for (name, kind, x), points in sorted(curves.items())
        if any(value is not None for value in points.values())
    ]


def _first(point: tuple[float, float | None]) -> float:
    return point[0]


def _numbers(
    value: Mapping[str, Any], prefix: str = "", depth: int = 1
) -> Iterator[tuple[str, float | None]]:
    """Numbers of nested objects by dotted name; null is one that was not finite. Lists are no series."""
    for name, item in value.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if item is None or _is_number(item):
            yield path, None if item is None else float(item)
        elif isinstance(item, Mapping) and depth < _DEEPEST:
            yield from _numbers(item, path, depth + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def thinned(points: Sequence[tuple[float, float | None]], most: int) -> list[tuple[float, float | None]]:
    """At most `most` of the points: the ends, and the lowest and highest of equal stretches between them."""
    if len(points) <= most:
        return list(points)
    stretches = max(1, (most - 2) // 2)
    inner = points[1:-1]
    kept = []
    for index in range(stretches):
        part = inner[index * len(inner) // stretches : (index + 1) * len(inner) // stretches]
        known = [point for point in part if point[1] is not None] or list(part)
        extremes = {min(known, key=_height), max(known, key=_height)} if known else set()
        kept += sorted(extremes, key=_first)
    return [points[0], *kept, points[-1]][:most]


def _height(point: tuple[float, float | None]) -> float:
    return 0.0 if point[1] is None else point[1]
