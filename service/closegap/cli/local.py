"""Specs run in this process tree, without queue and store: `run`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.markup import escape

from closegap.cli import comparison, output, words
from closegap.cli.board import Board, Row, board
from closegap.cli.command import AsJsonLines, add
from closegap.cli.connection import refuse_context
from closegap.cli.errors import JobsFailed, ProcessFailed
from closegap.cli.exits import ExitCode
from closegap.cli.follow import note_of
from closegap.cli.parts import open_artifacts
from closegap.cli.source import Overrides, Scale, SkipData, Source, checked

if TYPE_CHECKING:
    from closegap.specs.kinds import Spec

_STOP_MARGIN_SECONDS = 30.0


def run(
    source: Source,
    overrides: Overrides = None,
    scale: Scale = None,
    skip_data_check: SkipData = False,
    as_json: AsJsonLines = False,
) -> ExitCode:
    """Run a spec or a pipeline here and now, without queue and store; results go to the storage as ever.

    Ctrl-C lets the job write a checkpoint and stop, twice ends it hard; the exit code is then 103.
    """
    from closegap.cli import datacheck, specfile
    from closegap.cli.processes import Child, interruptible
    from closegap.settings import Settings, environment
    from closegap.specs import pipeline, spec
    from closegap.specs.scales import DEFAULT

    refuse_context("run", "`submit` gives the jobs to the service")
    settings = Settings.load()
    file = specfile.read(source, overrides, scale)
    specs = checked(file, None if skip_data_check else datacheck.problems)
    named = spec.named(specs)
    kinds = {name: item.kind for name, item in named.items()}
    if lost := pipeline.unknown(specs, kinds, queue=False):
        raise file.invalid(tuple(lost))
    if file.title and not as_json:
        output.say(f"[bold]{escape(file.title)}[/], scale {scale or DEFAULT}")
    open_artifacts(settings).root.mkdir(parents=True, exist_ok=True)  # no place for results: no work
    grace = settings.grace_seconds + _STOP_MARGIN_SECONDS
    with interruptible(), tempfile.TemporaryFile() as log:
        child = Child(["run"], environment(), log, order=_order(specs))
        try:
            jobs = _watch(child.lines(), named, board(quiet=as_json), as_json)
            code = child.process.wait()
        except KeyboardInterrupt:
            output.say("stopping: the job writes a checkpoint; Ctrl-C again ends it hard")
            child.stop(grace)
            return ExitCode.CANCELLED
        finally:
            child.stop(0)
        if code not in (ExitCode.SUCCEEDED, ExitCode.FAILED, ExitCode.CANCELLED):
            raise ProcessFailed(
                f"the process that ran the jobs ended with code {code}; it said:\n{_tail(log)}"
            )
    if code == ExitCode.FAILED:
        raise JobsFailed(_told(jobs))
    if not as_json:
        _tell(jobs)
    return ExitCode(code)


def _tell(jobs: Mapping[str, Mapping[str, Any]]) -> None:
    """What the jobs have left, by name."""
    for event in jobs.values():
        if event["kind"] == "compare" and "outputs" in event:
            comparison.tell(comparison.of_folder(Path(event["outputs"]["path"])))
    for name, outputs in jobs.items():
        output.line(f"{name}  {json.dumps(outputs.get('outputs', {}), ensure_ascii=False)}")
    output.next_commands([("closegap models", "the model registry")])


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "run", run,
        "closegap run train.yaml",
        "closegap run train.yaml --set resources.workers=0 --set training.epochs=2",
        "closegap run examples/paper/fig7a.yaml --scale small",
        "closegap example train | closegap run - --json",
    )  # fmt: skip


def _order(specs: Sequence[Spec]) -> str:
    from closegap.specs import spec

    return json.dumps([spec.dump(item) for item in specs])


def _watch(
    lines: Iterator[str], named: Mapping[str, Spec], shown: Board, as_json: bool
) -> dict[str, Mapping[str, Any]]:
    """Draw the events until there are no more; the last `state` event of each job by name."""
    rows = {name: Row(name, name, spec.kind, "queued") for name, spec in named.items()}
    ends: dict[str, Mapping[str, Any]] = {}
    with shown:
        shown.show(list(rows.values()))
        for line in lines:
            event = json.loads(line)
            if as_json:
                output.json_line(event)
            name = event["job"]
            rows[name] = _after(rows[name], event)
            if event["type"] == "state":
                ends[name] = event
            shown.show(list(rows.values()))
    return ends


def _after(row: Row, event: Mapping[str, Any]) -> Row:
    """The row after an event."""
    if event["type"] == "state":
        note = (event.get("error") or {}).get("message", event.get("reason", "")).partition("\n")[0]
        return replace(row, state=event["to"], note=note)
    if event["type"] == "progress":
        left, rate = (event["total"] or 0) - event["done"], event.get("rate")
        return replace(
            row, done=event["done"], total=event["total"], unit=event["unit"], rate=rate,
            eta=left / rate if rate and event["total"] else None,
        )  # fmt: skip
    return replace(row, note=note_of(event["type"], event) or row.note)


def _told(jobs: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, event in jobs.items():
        error = event.get("error")
        if error is not None:
            hint = f" (hint: {error['hint']})" if error.get("hint") else ""
            lines.append(f"  {name}: {error['message']}{hint}")
        elif event["to"] == "cancelled":
            lines.append(f"  {name}: did not run: {event.get('reason', '')}")
    return "\n".join(["not all jobs succeeded:", *lines])


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return words.plain("\n".join(log.read().decode(errors="replace").splitlines()[-10:]))
