"""What would happen to specs that are not submitted: `plan`, and `submit --dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from closegap.cli import output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.exits import ExitCode
from closegap.cli.source import InProject, Overrides, Scale, SkipData, Source, checked

if TYPE_CHECKING:
    from closegap.client.documents import Plan, Planned


def plan(
    source: Source,
    overrides: Overrides = None,
    scale: Scale = None,
    project: InProject = None,
    skip_data_check: SkipData = False,
    as_json: AsJson = False,
) -> ExitCode:
    """What would happen to the jobs of a spec file now: what they take, wait for, and how long. Records nothing."""
    from closegap.cli import specfile

    service = open_service()
    specs = checked(specfile.read(source, overrides, scale), None if skip_data_check else service.problems)
    return tell(service.plan(specs, project), as_json)


def tell(found: Plan, as_json: bool) -> ExitCode:
    """Print it."""
    if as_json:
        output.document(found.model_dump(mode="json"))
    else:
        for planned in found.jobs:
            _tell(planned)
    return ExitCode.USAGE if any(planned.refused for planned in found.jobs) else ExitCode.SUCCEEDED


def _tell(planned: Planned) -> None:
    from closegap.queue import fleet

    kind, name = planned.spec["kind"], planned.spec["name"]
    takes = fleet.words(planned.cpus, planned.gpus)
    output.data().print(f"[bold]{escape(name or kind)}[/]  {kind}, {takes}", soft_wrap=True)
    if planned.refused is not None:
        output.data().print(f"  [bold red]would be refused:[/] {escape(planned.refused)}", soft_wrap=True)
        return
    lines = [f"{planned.state}: {planned.reason}"]
    lines += [f"goes on with: {planned.unblocked_by}"] if planned.unblocked_by else []
    about = f"about {words.duration(planned.seconds)}: " if planned.seconds is not None else ""
    for line in (*lines, f"time: {about}{planned.seconds_why}"):
        output.line(f"  {line}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "plan", plan,
        "closegap plan train.yaml",
        "closegap plan pipeline.yaml --set train:training.epochs=200 --json",
    )  # fmt: skip
