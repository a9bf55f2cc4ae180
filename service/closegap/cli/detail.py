"""All about one job, for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closegap.cli import words

if TYPE_CHECKING:
    from closegap.job import Event, Job, Position


def history(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The moves of a job: time, from, to, reason, actor, attempt where known."""
    return [
        {"time": event.time.isoformat(), "type": event.type} | event.data
        for event in events
        if event.type in ("state", "wish", "change", "end")
    ]


def render(console: Console, job: Job, position: Position, moves: Sequence[dict[str, Any]]) -> None:
    """Print the job: head, error, outputs, history, spec."""
    console.print(_head(job, position))
    if job.error is not None:
        _render_error(console, job)
    if job.outputs:
        console.print("\n[bold]Outputs[/]")
        for name, value in job.outputs.items():
            console.print(
                f"  {escape(name)}: {escape(json.dumps(value, ensure_ascii=False))}", soft_wrap=True
            )
    console.print("\n[bold]History[/]")
    for move in moves:
        if move["type"] != "end":
            console.print(f"  {escape(move_text(move))}", soft_wrap=True)
    console.print("\n[bold]Spec[/]")
    import yaml
    from rich.syntax import Syntax

    text = yaml.safe_dump(job.spec, sort_keys=False, allow_unicode=True).rstrip()
    console.print(Syntax(text, "yaml", background_color="default") if console.is_terminal else escape(text))


def move_text(move: dict[str, Any]) -> str:
    """One line of the history."""
    time = str(move["time"])[:19].replace("T", " ")
    by = f"  [{move['actor']}]" if move.get("actor") else ""
    if move["type"] == "wish":
        return f"{time}  asked to become {move['to']}: {move['reason']}{by}"
    if move["type"] == "change":
        labels = ", ".join(f"{name}={value}" for name, value in move["labels"].items())
        return f"{time}  changed: priority {move['priority']}, labels {labels or 'none'}{by}"
    before = f"{move['from']} → " if move.get("from") else ""
    reason = f": {move['reason']}" if move.get("reason") else ""
    return f"{time}  {before}{move.get('to', '')}{reason}{by}"


def _head(job: Job, position: Position) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("job", f"{job.id}  {escape(job.name)}")
    table.add_row("kind", job.kind)
    table.add_row("project", escape(job.project))
    if job.labels:
        table.add_row("labels", escape(" ".join(f"{name}={value}" for name, value in job.labels.items())))
    table.add_row("state", f"{words.state(job.state)}  {escape(job.reason)}")
    if not job.state.terminal and position.reason and job.state in ("blocked", "queued", "paused"):
        place = "" if position.place is None else f"#{position.place} of all that wait; "
        table.add_row("waits", escape(f"{place}{position.reason}"))
        table.add_row("until", escape(position.unblocked_by))
    table.add_row("priority", str(job.priority))
    table.add_row("attempt", f"{job.attempt}" + (f" on {escape(job.owner)}" if job.owner else ""))
    if job.progress is not None:
        progress = job.progress
        of = "" if progress.total is None else f" of {progress.total:g}"
        units, rate = words.plural(progress.unit), words.rate(progress.rate, progress.unit)
        table.add_row("progress", f"{progress.done:g}{of} {units}  {rate}")
    if job.needs:
        table.add_row("needs", ", ".join(f"{escape(name)} ({need})" for name, need in job.needs.items()))
    for label, other in (("retry of", job.retry_of), ("retried as", job.retried_as)):
        if other:
            table.add_row(label, other)
    if job.started and job.finished:
        table.add_row("took", words.duration((job.finished - job.started).total_seconds()))
    return table


def _render_error(console: Console, job: Job) -> None:
    assert job.error is not None  # the caller looked
    title = "Error" if job.state == "failed" else "Last attempt's error"
    console.print(f"\n[bold red]{title}[/] ({job.error.failure})")
    console.print(f"  {escape(job.error.message)}", soft_wrap=True)
    if job.error.hint:
        console.print(f"  [yellow]hint:[/] {escape(job.error.hint)}", soft_wrap=True)
