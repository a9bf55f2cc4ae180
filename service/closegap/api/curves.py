"""The learning curve of every trial of a sweep."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from typing import Annotated, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api import workplace
from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.api.series import thinned
from closegap.api.sessions import verified
from closegap.errors import NotFound
from closegap.job import Job
from closegap_core.errors import BundleError

FILE = "curves.json"
_LIVE = "curve.txt"
_TRIAL = re.compile(r"trial-([0-9]{5,9})")
router = APIRouter(tags=["metrics"])
Points = list[tuple[float, float | None]]


@final
class Curve(BaseModel):
    """Of one trial."""

    trial: int
    points: Points = Field(description="(epoch, validation ELBO in nats), by epoch.")


@final
class Curves(BaseModel):
    """Of every trial that has an epoch behind it, by number."""

    curves: list[Curve]


@router.get(
    "/v1/jobs/{job}/curves",
    responses=answers(404, 409, example={"curves": [{"trial": 0, "points": [[1, -152.3], [2, -131.0]]}]}),
)
def curves(
    job: JobName,
    context: Ctx,
    caller: Viewer,
    points: Annotated[
        int, Query(ge=2, le=1000, description="Points of a curve at most; extremes are kept.")
    ] = 100,
) -> Curves:
    """How the trials of a sweep learn: live while it runs, as its bundle has it once it is over."""
    found = context.queue.get(job, caller.projects)
    if found.kind != "sweep":
        raise NotFound(f"job {found.id} is of kind {found.kind}, which has no trials")
    known = _sealed(context, found) if "sweep" in found.outputs else _live(context, found)
    return Curves(
        curves=[
            Curve(trial=number, points=thinned(curve, points)) for number, curve in known.items() if curve
        ]
    )


def _sealed(context: Context, job: Job) -> dict[int, Points]:
    bundle = context.artifacts.open(str(job.outputs["sweep"]), verify=False)
    if FILE not in bundle.files:
        return {}
    try:
        found = json.loads(verified(bundle, FILE))
        return {number: [(float(x), _height(y)) for x, y in curve] for number, curve in enumerate(found)}
    except (ValueError, TypeError) as error:
        raise BundleError(f"{bundle.path / FILE} is damaged") from error


def _live(context: Context, job: Job) -> dict[int, Points]:
    """As the trials write them, one file each."""
    held = context.artifacts.held(job.work)
    try:
        names = [] if held is None else os.listdir(held / "trials")
    except FileNotFoundError:
        names = []  # not yet, or no longer
    numbers = sorted(int(found.group(1)) for name in names if (found := _TRIAL.fullmatch(name)))
    return {
        number: _parsed(workplace.read(context, job, "trials", f"trial-{number:05d}", _LIVE) or b"")
        for number in numbers
    }


def _parsed(content: bytes) -> Points:
    """Lines of `epoch value`; one that is cut short, or of a value that is none, is left out."""
    values: dict[float, float | None] = {}
    for line in content.decode("ascii", "replace").splitlines(keepends=True):
        parts: Sequence[str] = line.split()
        if len(parts) == 2 and line.endswith("\n"):
            try:
                values[float(parts[0])] = _height(parts[1])
            except ValueError:
                continue
    return sorted(values.items(), key=lambda point: point[0])


def _height(value: str | float | None) -> float | None:
    """As the answer has it; None where it was not finite. Raises ValueError, TypeError."""
    height = math.nan if value is None else float(value)
    return height if math.isfinite(height) else None
