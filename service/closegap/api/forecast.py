"""What would happen to specs that are not submitted: resources, what they wait for, and how long they would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from pydantic import BaseModel, Field

from closegap.errors import Refused
from closegap.job import Job, Project, State, Worker
from closegap.queue import estimate, fleet, waiting
from closegap.queue.census import Census
from closegap.queue.queue import Queue
from closegap.specs import pipeline, spec
from closegap.specs.kinds import Spec


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
    unblocked_by: str = Field("", description="What would let it run.")
    place: int | None = Field(None, description="1 is next; null while it needs another job.")
    ahead: int = Field(description="Jobs that wait now with at least its priority.")
    workers: int = Field(description="Live workers that could hold it.")
    refused: str | None = Field(None, description="Why it would be refused, where it would.")
    seconds: float | None = Field(None, description="How long it would run, where a measured rate is known.")
    seconds_from: str = Field("", description="The job whose rate that is.")
    seconds_why: str = Field("", description="How that was found; or why it is unknown.")


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
            "reason": "a worker is about to claim it",
            "unblocked_by": "the next claim of an idle worker",
            "place": 1,
            "ahead": 0,
            "workers": 1,
            "refused": None,
            "seconds": 41.5,
            "seconds_from": "train-7f3a91c2",
            "seconds_why": "20 epochs of 2.07 s, as train-7f3a91c2 took for each",
        }
    ],
}


def plan(queue: Queue, census: Census, specs: Sequence[Spec], project: str) -> Plan:
    """Records nothing. Raises SpecError: needs or outputs that there are not."""
    queue.check(specs, project)
    workers = [worker for worker in queue.workers() if worker.alive]
    [limits] = queue.projects({project})
    # Of each priority and kind once, however many specs there are.
    ahead = {priority: census.ahead(priority) for priority in {item.priority for item in specs}}
    done = {kind: estimate.known(queue, kind, project) for kind in {item.kind for item in specs}}
    fits = _refused(queue, specs, project) is None
    jobs = [
        _planned(
            item, limits, workers, ahead[item.priority], done[item.kind],
            None if fits else _refused(queue, [item], project),
        )
        for item in specs
    ]  # fmt: skip
    return Plan(project=project, jobs=jobs)


def _planned(
    item: Spec,
    project: Project,
    workers: Sequence[Worker],
    ahead: int,
    done: Sequence[Job],
    refused: str | None,
) -> Planned:
    cpus, gpus = item.resources.total_cpus, item.resources.total_gpus
    able = [worker for worker in workers if fleet.holds(worker.capacity, item.kind, cpus, gpus)]
    needs = sorted(pipeline.uses(item))
    position = waiting.queued(item.kind, waiting.Standing(ahead + 1, cpus, gpus), workers, project)
    takes = estimate.estimate(item, done, project.name)
    return Planned(
        spec=spec.dump(item),
        digest=spec.digest(item),
        cpus=cpus,
        gpus=gpus,
        needs=needs,
        state=State.BLOCKED if needs else State.QUEUED,
        reason=f"it would wait for {', '.join(needs)}" if needs else position.reason,
        unblocked_by=f"the success of {', '.join(needs)}" if needs else position.unblocked_by,
        place=None if needs else ahead + 1,
        ahead=ahead,
        workers=len(able),
        refused=refused,
        seconds=takes.seconds,
        seconds_from=takes.source,
        seconds_why=takes.why,
    )


def _refused(queue: Queue, specs: Sequence[Spec], project: str) -> str | None:
    """Why the first of these that can never run cannot."""
    try:
        queue.refuse_impossible(specs, project)
    except Refused as error:
        return str(error)
    return None
