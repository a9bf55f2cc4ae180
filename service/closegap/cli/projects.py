"""The projects, and what they may hold: `projects`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import completion, output
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.errors import UsageError

if TYPE_CHECKING:
    from closegap.job import Project

_UNLIMITED = "none"


def projects(
    project: Annotated[
        str | None, typer.Argument(help="One project.", autocompletion=completion.projects)
    ] = None,
    running: Annotated[
        str | None, typer.Option(metavar="N", help="Let its jobs be at most N at a time; none: no limit.")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="N", help="Let them hold at most N GPUs together; none: no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The projects, what their jobs hold, and their limits; with --running or --gpus, set those."""
    service = open_service()
    found = service.projects(project)
    if running is not None or gpus is not None:
        if project is None:
            raise UsageError("projects: --running and --gpus need a project")
        [before] = found
        most_running = before.most_running if running is None else _number("--running", running, whole=True)
        most_gpus = before.most_gpus if gpus is None else _number("--gpus", gpus)
        found = [service.limit(project, None if most_running is None else int(most_running), most_gpus)]
    if as_json:
        output.document({"projects": [item.model_dump(mode="json") for item in found]})
    elif found:
        output.data().print(_table(found))
    else:
        output.line("no projects")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "projects", projects,
        "closegap projects",
        "closegap projects vision --running 4 --gpus 2",
        "closegap projects vision --gpus none",
    )  # fmt: skip


def _number(option: str, text: str, whole: bool = False) -> float | None:
    if text == _UNLIMITED:
        return None
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(f"{option} {text}: accepted is a number ≥ 0, or {_UNLIMITED}")
    return number


def _table(found: list[Project]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("PROJECT", "RUNNING", "GPUS", "WAITING", "JOBS"):
        table.add_column(name, no_wrap=True, justify="left" if name == "PROJECT" else "right")
    for project in found:
        most_running = "" if project.most_running is None else f" of {project.most_running}"
        most_gpus = "" if project.most_gpus is None else f" of {project.most_gpus:g}"
        table.add_row(
            escape(project.name),
            f"{project.running}{most_running}",
            f"{project.gpus:g}{most_gpus}",
            str(project.waiting),
            str(project.jobs),
        )
    return table
