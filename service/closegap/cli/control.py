"""What is done to existing jobs: `cancel`, `pause`, `resume`, `set`, `retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from closegap.cli import completion, filters, output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.errors import UsageError
from closegap.cli.jobs import JobId, JobIds, plain

if TYPE_CHECKING:
    from closegap.job import Job

Chosen = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JOB]...",
        help="Ids, unambiguous beginnings of them, or names.",
        autocompletion=completion.jobs,
    ),
]
_FEW = 5
"""Ids that a command to type next may have."""


def cancel(
    jobs: Chosen = None,
    every: Annotated[
        bool, typer.Option("--all", help="All jobs that are not over, or those that the filters mean.")
    ] = False,
    state: filters.States = None,
    kind: filters.Kinds = None,
    project: filters.Projects = None,
    label: filters.Labels = None,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs: a waiting one at once, a running one at its next checkpoint. Jobs that need them do not run."""
    filtered = bool(state or kind or project or label)
    if bool(jobs) == (filtered or every):
        raise UsageError("cancel: give either jobs, or --all, or filters such as --label")
    service = open_service()
    meant = filters.selector(state, kind, project, label)
    after = service.cancel(jobs) if jobs else service.cancel_all(meant)
    _tell(after, as_json)
    if not as_json and not after:
        output.say("no such job that is not over")


def pause(jobs: JobIds, as_json: AsJson = False) -> None:
    """Pause jobs: a waiting one at once, a running one at its next checkpoint, from which it goes on when resumed."""
    _tell(open_service().pause(jobs), as_json)


def resume(jobs: JobIds, as_json: AsJson = False) -> None:
    """Let paused jobs wait for a worker again."""
    _tell(open_service().resume(jobs), as_json)


def change(
    job: JobId,
    priority: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Higher runs first; a minute of waiting is worth a point."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Set a label; KEY= removes it. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the priority or the labels of a job."""
    if priority is None and not label:
        raise UsageError("set: give --priority or --label")
    labels = dict(filters.label(text) for text in label or ())
    given = {name: value or None for name, value in labels.items()} if label else None
    after = open_service().change(job, priority, given)
    if as_json:
        output.document(plain(after))
        return
    shown = " ".join(f"{name}={value}" for name, value in after.labels.items())
    output.line(f"{after.id}  priority {after.priority}  {shown}".rstrip())


def retry(job: JobId, as_json: AsJson = False) -> None:
    """Run a failed or cancelled job again, as a new job that goes on from its checkpoints; also what needed it."""
    made = open_service().retry(job)
    if as_json:
        output.document({"jobs": [plain(item) for item in made]})
        return
    for item in made:
        output.line(item.id)
    ids = " ".join(item.id for item in made)
    output.next_commands([(f"closegap wait {ids}", "follow"), ("closegap ps", "the queue")])


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "cancel", cancel,
        "closegap cancel mnist-iterative",
        "closegap cancel 7f3a 9b20",
        "closegap cancel --label night=7 --state queued",
        "closegap cancel --all --project vision",
    )  # fmt: skip
    add(app, "pause", pause, "closegap pause mnist-iterative", "closegap pause 7f3a 9b20")
    add(app, "resume", resume, "closegap resume mnist-iterative")
    add(
        app, "set", change,
        "closegap set mnist-iterative --priority 80",
        "closegap set 7f3a --label team=vision --label night=",
    )  # fmt: skip
    add(app, "retry", retry, "closegap retry mnist-iterative")


def _tell(after: list[Job], as_json: bool) -> None:
    """What became of the jobs: their state, or what they have been asked for."""
    if as_json:
        output.document({"jobs": [plain(job) for job in after]})
        return
    for job in after:
        output.line(f"{job.id}  {words.STOPPING[job.wish.to] if job.wish else job.state}")
    stopping = [job for job in after if job.wish]
    if 0 < len(stopping) <= _FEW and all(job.wish and job.wish.to == "cancelled" for job in stopping):
        ids = " ".join(job.id for job in stopping)
        output.next_commands([(f"closegap wait {ids}", "until the checkpoint is written")])
    elif stopping:
        output.next_commands([("closegap ps --watch", "until the checkpoints are written")])
