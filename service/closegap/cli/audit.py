"""Who changed what: `audit`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import output
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service

if TYPE_CHECKING:
    from closegap.queue.entry import Entry


def audit(
    action: Annotated[
        str | None, typer.Option(help="Only these: job, job.cancel, token, model, project, worker, gc, …")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only changes in this project.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Only changes of this job, model, token or worker.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Who changed what in the last thirty days, newest first. Through a service it takes an admin of all projects."""
    meant = _meant(open_service().audit(), action, project, target)
    found = list(islice(meant, limit))
    if as_json:
        output.document({"entries": [entry.model_dump(mode="json") for entry in found]})
    elif found:
        output.data().print(_table(found))
    else:
        output.line("no such changes")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "audit", audit,
        "closegap audit",
        "closegap audit --action token --limit 10",
        "closegap audit --target train-5c1e0a7b --json",
    )  # fmt: skip


def _meant(
    entries: Iterator[Entry], action: str | None, project: str | None, target: str | None
) -> Iterator[Entry]:
    for entry in entries:
        if action is not None and entry.action != action and not entry.action.startswith(f"{action}."):
            continue
        if project is not None and project not in entry.project.split(","):
            continue
        # Of several jobs an entry names the first, and how many more; of a model the alias, too, and its version.
        if target is None or target in re.split("[ @]", entry.target)[:1]:
            yield entry


def _table(found: list[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("TIME (UTC)", "WHO", "WHAT", "PROJECT", "TARGET"):
        table.add_column(name, no_wrap=name in ("TIME (UTC)", "WHAT"))
    for entry in found:
        table.add_row(
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            escape(entry.actor),
            escape(entry.action),
            escape(entry.project),
            escape(entry.target),
        )
    return table
