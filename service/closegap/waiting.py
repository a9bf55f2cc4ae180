"""Why a job waits, its place in the line, and what would let it run."""

from __future__ import annotations

from collections.abc import Sequence

from closegap.fleet import holds, words
from closegap.job import Job, Position, State, Worker
from closegap.records import Records


def position(job: Job, records: Records, workers: Sequence[Worker]) -> Position:
    """In words, from what is recorded now."""
    if job.state is State.BLOCKED:
        return _blocked(job, records)
    if job.state is not State.QUEUED:
        return Position(None, f"it does not wait: it is {job.state} ({job.reason})", "")
    if job.not_before:
        until = f"{job.not_before:%Y-%m-%d %H:%M:%S} UTC"
        return Position(None, f"it backs off until {until}: {job.reason}", until)
    return _queued(job, records, [worker for worker in workers if worker.alive])


def _blocked(job: Job, records: Records) -> Position:
    needs = zip(job.needs, records.read_all(list(job.needs.values())), strict=True)
    open_needs = [(name, need) for name, need in needs if need.state is not State.SUCCEEDED]
    reason = ", ".join(f"{name} ({need.id}, {need.state})" for name, need in open_needs)
    return Position(
        None, f"it waits for {reason}", f"the success of {', '.join(need.id for _, need in open_needs)}"
    )


def _queued(job: Job, records: Records, alive: Sequence[Worker]) -> Position:
    place = records.place(job.id)
    if not alive:
        return Position(
            place, "no worker is alive", "a worker: `closegap worker`, or `closegap up` for everything"
        )
    cpus, gpus = records.request(job.id)
    able = [worker for worker in alive if holds(worker.capacity, job.kind, cpus, gpus)]
    if not able:
        request = f"{words(cpus, gpus)} for a job of kind {job.kind}"
        return Position(place, f"no live worker offers {request}", f"a worker with {request}")
    ahead = f"{place - 1} ahead of it" if place and place > 1 else "it is next"
    running = sorted({held for worker in able for held in worker.jobs})
    if not running:
        return Position(place, f"a worker is about to claim it; {ahead}", "the next claim of an idle worker")
    return Position(
        place, f"every worker that could run it is busy; {ahead}", f"the end of {' or '.join(running)}"
    )
