"""Why a job waits, its place over all lines, and what would let it run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from closegap.job import Job, Position, Project, State, Worker
from closegap.queue.fleet import holds, words
from closegap.queue.records import Records


class Standing(NamedTuple):
    """Where a queued job stands."""

    place: int | None
    cpus: float
    gpus: float


def positions(
    jobs: Sequence[Job], records: Records, workers: Sequence[Worker], projects: Sequence[Project]
) -> list[Position]:
    """In words, of each job, from what is recorded now."""
    alive = [worker for worker in workers if worker.alive]
    named = {project.name: project for project in projects}
    ids = [job.id for job in jobs if job.state is State.QUEUED]
    asked = zip(records.places(ids), records.requests(ids), strict=True)
    standings = {name: Standing(place, *request) for name, (place, request) in zip(ids, asked, strict=True)}
    return [_position(job, records, standings, alive, named[job.project]) for job in jobs]


def _position(
    job: Job, records: Records, standings: Mapping[str, Standing], alive: Sequence[Worker], project: Project
) -> Position:
    if job.state is State.BLOCKED:
        return _blocked(job, records)
    if job.state is State.PAUSED:
        return Position(None, f"it is {job.reason}", f"closegap resume {job.id}")
    if job.state is not State.QUEUED:
        return Position(None, f"it does not wait: it is {job.state} ({job.reason})", "")
    if job.not_before:
        until = f"{job.not_before:%Y-%m-%d %H:%M:%S} UTC"
        return Position(None, f"it backs off until {until}: {job.reason}", until)
    return queued(job.kind, standings[job.id], alive, project)


def _blocked(job: Job, records: Records) -> Position:
    needs = zip(job.needs, records.read_all(list(job.needs.values())), strict=True)
    open_needs = [(name, need) for name, need in needs if need.state is not State.SUCCEEDED]
    reason = ", ".join(f"{name} ({need.id}, {need.state})" for name, need in open_needs)
    return Position(
        None, f"it waits for {reason}", f"the success of {', '.join(need.id for _, need in open_needs)}"
    )


def queued(kind: str, standing: Standing, alive: Sequence[Worker], project: Project) -> Position:
    """Of a job of this kind that stands so, or would."""
    place, cpus, gpus = standing
    ahead = f"{place - 1} ahead of it" if place and place > 1 else "it is next"
    if not alive:
        return Position(
            place, "no worker is alive", "a worker: `closegap worker`, or `closegap up` for everything"
        )
    able = [worker for worker in alive if holds(worker.capacity, kind, cpus, gpus)]
    if not able:
        request = f"{words(cpus, gpus)} for a job of kind {kind}"
        return Position(place, f"no live worker offers {request}", f"a worker with {request}")
    if limit := _limit(project, gpus):
        higher = f"a higher limit: closegap projects {project.name}"
        return Position(
            place, f"{limit}; {ahead}", f"the end of one of them, or {higher}" if project.running else higher
        )
    serving = [worker for worker in able if worker.drained_by is None]
    if not serving:
        names = " or ".join(worker.id for worker in able)
        return Position(
            place, "every worker that could run it is drained", f"closegap workers undrain {names}"
        )
    free = [worker for worker in serving if not worker.jobs]
    if free:
        idle = "a worker is about to claim it" if place == 1 else ahead
        return Position(place, idle, "the next claim of an idle worker")
    running = sorted({held for worker in serving for held in worker.jobs})
    return Position(
        place, f"every worker that could run it is busy; {ahead}", f"the end of {' or '.join(running)}"
    )


def _limit(project: Project, gpus: float) -> str:
    """Which limit of its project keeps a job from running; empty where none does."""
    if project.most_running is not None and project.running >= project.most_running:
        jobs = "1 job" if project.running == 1 else f"{project.running} jobs"
        return f"project {project.name} runs {jobs}, of at most {project.most_running}"
    if project.most_gpus is not None and project.gpus + gpus > project.most_gpus + 1e-9:
        return f"project {project.name} holds {project.gpus:g} GPUs, of at most {project.most_gpus:g}"
    return ""
