"""The event stream of a job as lines: `logs`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closegap.cli import output, words
from closegap.cli.command import AsJsonLines, add
from closegap.cli.connection import open_service
from closegap.cli.detail import move_text
from closegap.cli.errors import NotFinished, UsageError
from closegap.cli.exits import ExitCode, of_states
from closegap.cli.jobs import JobId
from closegap.loglines import LEVELS, Filter, text_of

if TYPE_CHECKING:
    from closegap.job import Event

_ID = re.compile(r"\d{1,18}(-\d{1,18})?", re.ASCII)


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    after: Annotated[str, typer.Option(metavar="EVENT", help="Only events after this id (of --json).")] = "0",
    progress: Annotated[bool, typer.Option("--progress", help="Progress events too.")] = False,
    level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help=f"Only log lines, of at least: {', '.join(LEVELS)}."),
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only log lines of this attempt.")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Only log lines of this rank.")] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Only log lines of this trial.")] = None,
    grep: Annotated[str, typer.Option(metavar="TEXT", help="Only log lines with this, in any case.")] = "",
    as_json: AsJsonLines = False,
) -> ExitCode:
    """What happened to a job and what it reported: states, epochs, messages. With -f the exit code is the job's."""
    if not _ID.fullmatch(after):
        raise UsageError(f"--after {after}: accepted is the id of an event, as --json shows it")
    wanted = _filter(level, attempt, rank, trial, grep)
    service = open_service()
    found = service.get(job)
    if not follow:
        for event in service.recorded(found.id, after):
            _print(event, progress, as_json, wanted)
        return ExitCode.SUCCEEDED
    try:
        for event in service.follow(found.id, after):
            _print(event, progress, as_json, wanted)
    except KeyboardInterrupt as interrupt:
        raise NotFinished(
            f"no longer following; the job goes on. Stop it: closegap cancel {found.id}"
        ) from interrupt
    return of_states([service.get(found.id).state])


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "logs", logs,
        "closegap logs mnist-iterative",
        "closegap logs -f mnist-iterative",
        "closegap logs mnist-ranks --rank 1 --level warning",
        "closegap logs 7f3a --json --progress",
    )  # fmt: skip


def text(event: Event) -> str:
    """One line about an event."""
    if event.type in ("state", "wish", "change"):
        return move_text({"time": event.time.isoformat(), "type": event.type} | event.data)
    time = event.time.isoformat()[:19].replace("T", " ")
    return f"{time}  {sentence(event.type, event.data)}"


def sentence(kind: str, data: dict[str, Any]) -> str:
    """What an attempt reported, without the time."""
    if kind == "log":
        return text_of(data) if "line" in data else str(data)
    if kind == "epoch":
        parts = [
            f"{part} ELBO {words.nats((data.get(part) or {}).get('elbo'))}" for part in ("train", "valid")
        ]
        took = f"  {words.duration(data['seconds'])}" if data.get("seconds") is not None else ""
        return f"epoch {data.get('epoch')}  {'  '.join(parts)}{took}"
    if kind == "end":
        return f"over: {data.get('state')}"
    shown = {name: value for name, value in data.items() if not isinstance(value, dict | list)}
    return f"{kind}  " + "  ".join(f"{name}={json.dumps(value)}" for name, value in shown.items())


def _filter(level: str | None, attempt: int | None, rank: int | None, trial: int | None, text: str) -> Filter:
    """Raises BadParameter."""
    named = next((one for one in LEVELS if one == level), None)
    if level is not None and named is None:
        raise typer.BadParameter(f"`{level}` is no level; accepted: {', '.join(LEVELS)}")
    return Filter(named, attempt, rank, trial, text)


def _print(event: Event, progress: bool, as_json: bool, wanted: Filter) -> None:
    if wanted and not (event.type == "log" and wanted(event.data)):
        return
    if event.type == "progress" and not progress:
        return
    if as_json:
        output.json_line(
            {"id": event.id, "type": event.type, "time": event.time.isoformat()} | {"data": event.data}
        )
    elif event.type != "end":
        output.line(text(event))
