"""What is asked about existing jobs: `ps`, `show`, `wait`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closegap.cli import comparison, completion, filters, output, words
from closegap.cli.board import board
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.errors import UsageError
from closegap.cli.exits import ExitCode, of_states

if TYPE_CHECKING:
    from closegap.cli.service import Listing, Service
    from closegap.job import Job
    from closegap.queue.selector import Selector

JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id of a job, an unambiguous beginning of it, or its name.",
        autocompletion=completion.jobs,
    ),
]
JobIds = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Ids, unambiguous beginnings of them, or names.",
        autocompletion=completion.jobs,
    ),
]
_WAITING = ("blocked", "queued", "paused")


def ps(
    state: filters.States = None,
    kind: filters.Kinds = None,
    project: filters.Projects = None,
    label: filters.Labels = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 30,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Redraw until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between drawings under --watch.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """The jobs, newest first: state, progress, rate, time left, and why one waits. --watch --json: JSON lines."""
    meant = filters.selector(state, kind, project, label)
    service = open_service()
    if watch:
        _watch(service, meant, limit, every, as_json)
    elif as_json:
        output.document(_records(service.jobs(meant, limit)))
    else:
        from closegap.cli.tables import jobs_table

        found = service.jobs(meant, limit)
        output.data().print(jobs_table(found) if found.jobs else "no jobs")


def show(job: JobId, as_json: AsJson = False) -> None:
    """All about one job: spec, history with reasons, outputs, error, and what to do next."""
    from closegap.cli.detail import history, render

    service = open_service()
    found = service.get(job)
    events, position = list(service.recorded(found.id)), service.position(found)
    if as_json:
        waits = position._asdict() if found.state in _WAITING else None
        output.document(plain(found) | {"position": waits, "history": history(events)})
        return
    render(output.data(), found, position, history(events))
    if found.kind == "compare" and found.state == "succeeded":
        comparison.tell(service.comparison(found))
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
    service = open_service()
    ended = follow(service, [service.get(job) for job in jobs], board(quiet=as_json), seconds)
    if as_json:
        output.document({"jobs": [plain(job) for job in ended]})
    else:
        for job in ended:
            output.line(f"{job.id}  {job.state}")
            if job.error is not None and job.state == "failed":
                output.say(f"[red]{job.name or job.id}[/]: {words.plain(job.error.message)}")
    return of_states([job.state for job in ended])


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "ps", ps,
        "closegap ps",
        "closegap ps --watch",
        "closegap ps --state running --json",
        "closegap ps --project vision --kind train --label team=a",
    )  # fmt: skip
    add(app, "show", show, "closegap show mnist-iterative", "closegap show 7f3a --json")
    add(app, "wait", wait, "closegap wait mnist-iterative", "closegap wait 7f3a 9b20 --timeout 30m")


def _watch(service: Service, meant: Selector, limit: int, every: float, as_json: bool) -> None:
    """Redraw until Ctrl-C, which is how one leaves it: exit code 0."""
    from rich.live import Live

    from closegap.cli.tables import jobs_table

    try:
        if as_json:
            while True:
                output.json_line(_records(service.jobs(meant, limit)))
                time.sleep(every)
        with Live(console=output.data(), auto_refresh=False) as live:
            while True:
                live.update(jobs_table(service.jobs(meant, limit)), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def plain(job: Job) -> dict[str, Any]:
    """The record of a job as JSON values."""
    return job.model_dump(mode="json")


def _records(found: Listing) -> dict[str, Any]:
    """Records, and where those that wait stand."""
    places = {name: position._asdict() for name, position in found.positions.items()}
    return {"jobs": [plain(job) | {"position": places.get(job.id)} for job in found.jobs]}


def _next(job: Job) -> list[tuple[str, str]]:
    logs = (f"closegap logs {job.id}", "what it reported")
    if job.retried_as is not None:
        return [(f"closegap show {job.retried_as}", "the job that runs it again"), logs]
    if job.state in ("failed", "cancelled"):
        return [(f"closegap retry {job.id}", "run it again from its last checkpoint"), logs]
    if job.state == "paused":
        return [(f"closegap resume {job.id}", "let it wait for a worker again"), logs]
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
