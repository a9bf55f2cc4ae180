"""The workers that have been heard of, and telling one to claim nothing more."""

from __future__ import annotations

from typing import Annotated, final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from closegap.api.context import Context, Ctx
from closegap.api.documents import answers
from closegap.api.identity import Caller, GlobalAdmin, Viewer
from closegap.job import Worker

WorkerName = Annotated[
    str, Path(alias="worker", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$", examples=["node1-4711-9f2c"])
]
router = APIRouter(tags=["workers"])


@final
class Taken(BaseModel):
    """What the jobs of a worker hold together."""

    cpus: float
    gpus: float


@final
class Workers(BaseModel):
    """By name."""

    workers: list[Worker]
    taken: dict[str, Taken] = Field(
        default_factory=dict, description="By worker, what its jobs hold, also those of other projects."
    )


_WORKER = {
    "id": "node1-4711-9f2c",
    "capacity": {"cpus": 8.0, "gpus": 1.0, "kinds": None},
    "seen": "2026-11-21T14:03:05Z",
    "alive": True,
    "drained_by": None,
    "jobs": ["train-7f3a91c2"],
}


@router.get(
    "/v1/workers",
    responses=answers(
        example={"workers": [_WORKER], "taken": {"node1-4711-9f2c": {"cpus": 1.0, "gpus": 0.0}}}
    ),
)
def workers(context: Ctx, caller: Viewer) -> Workers:
    """Who could run jobs, who does, and when each was last heard of. Jobs of other projects are left out."""
    found = context.queue.workers()
    held = [(worker.id, job) for worker in found for job in worker.jobs]
    taken = {worker.id: Taken(cpus=0, gpus=0) for worker in found}
    for (worker, _), (cpus, gpus) in zip(
        held, context.census.requests([job for _, job in held]), strict=True
    ):
        taken[worker] = Taken(cpus=taken[worker].cpus + cpus, gpus=taken[worker].gpus + gpus)
    return Workers(workers=[_seen(context, caller, worker) for worker in found], taken=taken)


@router.post("/v1/workers/{worker}:drain", responses=answers(404, example=_WORKER | {"drained_by": "alice"}))
def drain(
    name: WorkerName,
    context: Ctx,
    caller: GlobalAdmin,
    now: Annotated[bool, Query(description="Also give back what it runs, with a checkpoint.")] = False,
) -> Worker:
    """Let a worker claim nothing more."""
    found = context.queue.drain(name, now, caller.actor)
    context.audit.record(caller.actor, "worker.drain", "", found.id, caller.token, caller.request_id)
    return found


@router.post("/v1/workers/{worker}:undrain", responses=answers(404, example=_WORKER))
def undrain(name: WorkerName, context: Ctx, caller: GlobalAdmin) -> Worker:
    """Let a drained worker claim again."""
    found = context.queue.undrain(name)
    context.audit.record(caller.actor, "worker.undrain", "", found.id, caller.token, caller.request_id)
    return found


def _seen(context: Context, caller: Caller, worker: Worker) -> Worker:
    if caller.projects is None or not worker.jobs:
        return worker
    visible = context.census.visible(worker.jobs, caller.projects)
    return worker.model_copy(update={"jobs": tuple(job for job in worker.jobs if job in visible)})
