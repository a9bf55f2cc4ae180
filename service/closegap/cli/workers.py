"""The workers, and what each runs: `workers`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import completion, output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.errors import UsageError

if TYPE_CHECKING:
    from closegap.job import Worker


def workers(
    action: Annotated[
        Literal["drain", "undrain"] | None,
        typer.Argument(help="drain: let a worker claim nothing more; undrain: let it claim again."),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Argument(help="Its name, or an unambiguous beginning.", autocompletion=completion.workers),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="With drain: give back, with a checkpoint, what it runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The workers: what they hold, what they run, when they were heard of. Drain one before you stop its machine."""
    if (action is None) != (worker is None):
        raise UsageError("workers: give neither, or both: drain WORKER, undrain WORKER")
    if now and action != "drain":
        raise UsageError("--now belongs to drain")
    service = open_service()
    if worker is None:
        found = service.workers()
    elif action == "drain":
        found = [service.drain(worker, now)]
    else:
        found = [service.undrain(worker)]
    if as_json:
        output.document({"workers": [item.model_dump(mode="json") for item in found]})
    elif found:
        output.data().print(_table(found))
    else:
        output.line("no workers")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "workers", workers,
        "closegap workers",
        "closegap workers drain node-3",
        "closegap workers drain node-3 --now",
        "closegap workers undrain node-3",
    )  # fmt: skip


def _table(found: list[Worker]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("WORKER", "STATE", "CPUS", "GPUS", "KINDS", "HEARD OF", "RUNS"):
        table.add_column(
            name, no_wrap=name != "RUNS", justify="right" if name in ("CPUS", "GPUS") else "left"
        )
    now = datetime.now(UTC)
    for worker in found:
        state = "[green]alive[/]" if worker.alive else "[red]silent[/]"
        kinds = worker.capacity.kinds
        table.add_row(
            escape(worker.id),
            f"[yellow]drained[/] by {escape(worker.drained_by)}" if worker.drained_by else state,
            f"{worker.capacity.cpus:g}",
            f"{worker.capacity.gpus:g}",
            "all" if kinds is None else ", ".join(sorted(kinds)),
            f"{words.duration(max((now - worker.seen).total_seconds(), 0.0))} ago",
            ", ".join(worker.jobs),
        )
    return table
