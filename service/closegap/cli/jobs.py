"""What is asked of existing jobs: `ps`, `show`, `wait`, `cancel`, `retry`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closegap.cli import comparison, output, words
from closegap.cli.board import board
from closegap.cli.command import AsJson, add
from closegap.cli.connection import actor, open_queue
from closegap.cli.errors import UsageError
from closegap.cli.exits import ExitCode, of_states

if TYPE_CHECKING:
    from closegap.job import Job
    from closegap.queue import Queue

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, an unambiguous beginning of it, or its name.")
]
JobIds = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Ids, unambiguous beginnings of them, or names.")
]
_STATES = ("blocked", "queued", "claimed", "running", "paused", "succeeded", "failed", "cancelled")


def ps(
    state: Annotated[str | None, typer.Option(help=f"Only jobs in this state: {', '.join(_STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 30,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between drawings under --watch.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """The jobs, newest first: state, progress, rate, time left, and why one waits. --watch --json: JSON lines."""
    if state is not None and state not in _STATES:
        raise UsageError(f"--state {state}: accepted is one of {', '.join(_STATES)}")
    queue = open_queue()
    if watch:
        _watch(queue, state, limit, every, as_json)
    elif as_json:
        output.document(_listing(queue, state, limit))
    else:
        from closegap.cli.tables import jobs_table

        jobs = _page(queue, state, limit)
        output.data().print(jobs_table(queue, jobs) if jobs else "no jobs")


def show(job: JobId, as_json: AsJson = False) -> None:
    """All about one job: spec, history with reasons, outputs, error, and what to do next."""
    from closegap.cli.detail import history, render
    from closegap.cli.logs import recorded

    queue = open_queue()
    found = queue.get(job)
    events = list(recorded(queue, found.id))
    if as_json:
        output.document(_record(queue, found) | {"history": history(events)})
        return
    render(output.data(), found, queue.position(found.id), history(events))
    if found.kind == "compare" and found.state == "succeeded":
        comparison.tell(found.outputs)
    output.next_commands(_next(found))


def wait(
    jobs: JobIds,
    timeout: Annotated[
        str | None, typer.Option(help="Give up after 90s, 5m, 2h; the exit code is then 101.")
    ] = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Follow jobs until they are over; the exit code says how. Ctrl-C only stops looking: the jobs go on."""
    from closegap.cli.follow import follow

    try:
        seconds = None if timeout is None else words.seconds_of(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error
    queue = open_queue()
    ended = follow(queue, [queue.get(job) for job in jobs], board(quiet=as_json), seconds)
    if as_json:
        output.document({"jobs": [_plain(job) for job in ended]})
    else:
        for job in ended:
            output.line(f"{job.id}  {job.state}")
            if job.error is not None and job.state == "failed":
                output.say(f"[red]{job.name or job.id}[/]: {words.plain(job.error.message)}")
    return of_states([job.state for job in ended])


def cancel(jobs: JobIds, as_json: AsJson = False) -> None:
    """Cancel jobs: a waiting one at once, a running one at its next checkpoint. Jobs that need them do not run."""
    queue = open_queue()
    ids = [queue.get(job).id for job in jobs]  # all are known before the first is cancelled
    after = [queue.cancel(job, actor=actor()) for job in ids]
    if as_json:
        output.document({"jobs": [_plain(job) for job in after]})
        return
    for job in after:
        output.line(f"{job.id}  {job.state if job.state.terminal else 'cancelling'}")
    running = [job.id for job in after if not job.state.terminal]
    if running:
        output.next_commands([(f"closegap wait {' '.join(running)}", "until the checkpoint is written")])


def retry(job: JobId, as_json: AsJson = False) -> None:
    """Run a failed or cancelled job again, as a new job that goes on from its checkpoints; also what needed it."""
    queue = open_queue()
    made = queue.retry(job, actor=actor())
    if as_json:
        output.document({"jobs": [_plain(item) for item in made]})
        return
    for item in made:
        output.line(item.id)
    ids = " ".join(item.id for item in made)
    output.next_commands([(f"closegap wait {ids}", "follow"), ("closegap ps", "the queue")])


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "ps", ps,
        "closegap ps",
        "closegap ps --watch",
        "closegap ps --state running --json",
    )  # fmt: skip
    add(app, "show", show, "closegap show mnist-iterative", "closegap show 7f3a --json")
    add(app, "wait", wait, "closegap wait mnist-iterative", "closegap wait 7f3a 9b20 --timeout 30m")
    add(app, "cancel", cancel, "closegap cancel mnist-iterative", "closegap cancel 7f3a 9b20")
    add(app, "retry", retry, "closegap retry mnist-iterative")


def _watch(queue: Queue, state: str | None, limit: int, every: float, as_json: bool) -> None:
    """Redraw until Ctrl-C, which is how one leaves it: exit code 0."""
    from rich.live import Live

    from closegap.cli.tables import jobs_table

    try:
        if as_json:
            while True:
                output.json_line(_listing(queue, state, limit))
                time.sleep(every)
        with Live(console=output.data(), auto_refresh=False) as live:
            while True:
                live.update(jobs_table(queue, _page(queue, state, limit)), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _page(queue: Queue, state: str | None, limit: int) -> list[Job]:
    from closegap.job import State
    from closegap.selector import Selector

    return queue.jobs(Selector(states=frozenset({State(state)}) if state else None), limit).jobs


def _listing(queue: Queue, state: str | None, limit: int) -> dict[str, Any]:
    return {"jobs": [_record(queue, job) for job in _page(queue, state, limit)]}


def _plain(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json")


def _record(queue: Queue, job: Job) -> dict[str, Any]:
    """The job's record and its place in the line."""
    if job.state not in ("blocked", "queued", "paused"):
        return _plain(job) | {"position": None}
    place = queue.position(job.id)
    return _plain(job) | {
        "position": {"place": place.place, "reason": place.reason, "unblocked_by": place.unblocked_by}
    }


def _next(job: Job) -> list[tuple[str, str]]:
    logs = (f"closegap logs {job.id}", "what it reported")
    if job.retried_as is not None:
        return [(f"closegap show {job.retried_as}", "the job that runs it again"), logs]
    if job.state in ("failed", "cancelled"):
        return [(f"closegap retry {job.id}", "run it again from its last checkpoint"), logs]
    if not job.state.terminal:
        return [
            (f"closegap wait {job.id}", "follow it"),
            (f"closegap logs -f {job.id}", "what it reports, as it happens"),
            (f"closegap cancel {job.id}", "stop it"),
        ]
    return [*_after_success(job), logs]


def _after_success(job: Job) -> list[tuple[str, str]]:
    model = job.outputs.get("model")
    if job.kind == "train" and model:
        return [(f"closegap example evaluate | closegap submit - --set model={model}", "measure the model")]
    if job.kind == "export" and model:
        return [(f"closegap encode {model} ROWS.npy OUT", "encode rows with it, here and now")]
    return [("closegap models", "the model registry")]
