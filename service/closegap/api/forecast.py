"""What would happen to specs that are not submitted: resources, what they wait for, and how long they would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from pydantic import BaseModel, Field

from closegap import fleet, pipeline, spec
from closegap.census import Census
from closegap.errors import Refused
from closegap.job import Job, State, Worker
from closegap.kinds import Spec, TrainSpec
from closegap.queue import Queue
from closegap.selector import Selector

_RECENT = 100
"""Jobs among which one that is alike is looked for."""


@final
class Planned(BaseModel):
    """One job, as it would be."""

    spec: dict[str, Any] = Field(description="Normalised: every default written out.")
    digest: str
    cpus: float
    gpus: float
    needs: list[str] = Field(description="What must succeed first.")
    state: State = Field(description="It would begin as.")
    reason: str = Field(description="Why it would wait, or that it would not.")
    ahead: int = Field(description="Jobs that wait now with at least its priority.")
    workers: int = Field(description="Live workers that could hold it.")
    refused: str | None = Field(None, description="Why it would be refused, where it would.")
    seconds: float | None = Field(None, description="How long it would run, where a measured rate is known.")
    seconds_from: str = Field("", description="The job whose rate that is.")


@final
class Plan(BaseModel):
    """In the order of submission."""

    project: str
    jobs: list[Planned]


EXAMPLE = {
    "project": "default",
    "jobs": [
        {
            "spec": {"kind": "train", "name": "digits"},
            "digest": "9f2c" * 16,
            "cpus": 1.0,
            "gpus": 0.0,
            "needs": [],
            "state": "queued",
            "reason": "a worker would claim it at once",
            "ahead": 0,
            "workers": 1,
            "refused": None,
            "seconds": 41.5,
            "seconds_from": "train-7f3a91c2",
        }
    ],
}


def plan(queue: Queue, census: Census, specs: Sequence[Spec], project: str) -> Plan:
    """Records nothing. Raises SpecError: needs or outputs that there are not."""
    queue.check(specs, project)
    workers = [worker for worker in queue.workers() if worker.alive]
    return Plan(
        project=project,
        jobs=[_planned(queue, item, project, workers, census.ahead(item.priority)) for item in specs],
    )


def _planned(queue: Queue, item: Spec, project: str, workers: Sequence[Worker], ahead: int) -> Planned:
    cpus, gpus = item.resources.total_cpus, item.resources.total_gpus
    able = [worker for worker in workers if fleet.holds(worker.capacity, item.kind, cpus, gpus)]
    needs = sorted(pipeline.uses(item))
    seconds, source = _seconds(queue, item, project)
    return Planned(
        spec=spec.dump(item),
        digest=spec.digest(item),
        cpus=cpus,
        gpus=gpus,
        needs=needs,
        state=State.BLOCKED if needs else State.QUEUED,
        reason=_reason(needs, workers, able, ahead),
        ahead=ahead,
        workers=len(able),
        refused=_refused(queue, item, project),
        seconds=seconds,
        seconds_from=source,
    )


def _reason(needs: Sequence[str], workers: Sequence[Worker], able: Sequence[Worker], ahead: int) -> str:
    if needs:
        return f"it would wait for {', '.join(needs)}"
    if not workers:
        return "no worker is alive"
    if not able:
        return "no live worker could hold it"
    if all(worker.jobs for worker in able):
        return f"every worker that could run it is busy; {ahead} ahead of it"
    return "a worker would claim it at once" if not ahead else f"{ahead} ahead of it"


def _refused(queue: Queue, item: Spec, project: str) -> str | None:
    try:
        queue.refuse_impossible([item], project)
    except Refused as error:
        return str(error)
    return None


def _seconds(queue: Queue, item: Spec, project: str) -> tuple[float | None, str]:
    """From the newest job that succeeded with the same spec; of training, also with other epochs, by the epoch."""
    alike = Selector(
        projects=frozenset({project}), states=frozenset({State.SUCCEEDED}), kinds=frozenset({item.kind})
    )
    wanted = _work(spec.dump(item))
    for job in queue.jobs(alike, _RECENT).jobs:
        if job.started is None or job.finished is None or _work(job.spec) != wanted:
            continue
        took = (job.finished - job.started).total_seconds()
        return took * _epochs(item) / _epochs_of(job), job.id
    return None, ""


def _work(value: dict[str, Any]) -> dict[str, Any]:
    """What decides how long it takes: not its names, and of training not how often it goes over the data."""
    left = ("name", "priority", "labels", "needs", "register", "retries", "preemptible")
    kept = {name: item for name, item in value.items() if name not in left}
    if isinstance(kept.get("training"), dict):
        kept["training"] = {
            name: item for name, item in kept["training"].items() if name not in ("epochs", "seed")
        }
    return kept


def _epochs(item: Spec) -> float:
    return float(item.training.epochs) if isinstance(item, TrainSpec) else 1.0


def _epochs_of(job: Job) -> float:
    return float(job.spec["training"]["epochs"]) if job.kind == "train" else 1.0
