"""The validation ELBO over inference iterations, as it changes from epoch to epoch."""

from __future__ import annotations

from typing import Annotated, final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from closegap.api.context import Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.errors import NotFound

router = APIRouter(tags=["metrics"])


@final
class Epoch(BaseModel):
    """One epoch's curve."""

    epoch: int
    elbo: list[float | None] = Field(
        description="(T + 1,) nats, by iteration; 0 is where inference starts. Null was not finite."
    )


@final
class Iterations(BaseModel):
    """Some epochs' curves, by epoch: the first, the last, and those between evenly."""

    epochs: list[Epoch]
    count: int = Field(description="Epochs there are, of which `epochs` may be some.")


@router.get(
    "/v1/jobs/{job}/iterations",
    responses=answers(
        404,
        409,
        example={"epochs": [{"epoch": 40, "elbo": [-206.9, -101.3, -99.1, -98.7, -98.5, -98.4]}], "count": 1},
    ),
)
def iterations(
    job: JobName,
    context: Ctx,
    caller: Viewer,
    most: Annotated[int, Query(ge=1, le=500, description="Epochs at most.")] = 40,
) -> Iterations:
    """What further inference iterations gain, over the epochs of a training."""
    found = context.queue.get(job, caller.projects)
    if found.kind != "train":
        raise NotFound(f"job {found.id} is of kind {found.kind}, which has no epochs")
    with context.shelf.of(found.id) as readings:
        numbers = sorted(readings.iterations)
        chosen = {number: readings.iterations[number] for number in _spread(numbers, most)}
    return Iterations(
        epochs=[Epoch(epoch=number, elbo=curve) for number, curve in chosen.items()], count=len(numbers)
    )


def _spread(numbers: list[int], most: int) -> list[int]:
    """The last, the first, and between them evenly, at most so many."""
    if len(numbers) <= most:
        return numbers
    last = len(numbers) - 1
    return [numbers[round(index * last / (most - 1))] for index in range(most)] if most > 1 else numbers[-1:]
