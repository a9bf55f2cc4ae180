"""Jobs and models as tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from closegap.cli import words
from closegap.cli.board import bar, percent, remaining
from closegap.cli.follow import Watched

if TYPE_CHECKING:
    from closegap.cli.service import Listing
    from closegap.job import Job, Position


def jobs_table(found: Listing) -> Table:
    """One line a job; the project too, where there are several."""
    jobs, places = found
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = len({job.project for job in jobs}) > 1
    for name in ("ID", *(["PROJECT"] if several else []), "NAME", "KIND", "STATE", "PROGRESS"):
        table.add_column(name, no_wrap=True)
    for name in ("", "RATE", "AGE"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("WHY", overflow="fold")
    now = datetime.now(UTC)
    for job in jobs:
        row = Watched(job).row()
        running = job.state == "running"
        table.add_row(
            job.id,
            *([job.project] if several else []),
            escape(job.name),
            job.kind,
            words.state(job.state),
            bar(row, 16) if running or job.state == "succeeded" else "",
            percent(row) if running else "",
            f"{words.rate(row.rate, row.unit)} {remaining(row)}".strip() if running else "",
            words.duration((now - job.created).total_seconds()),
            escape(why(job, places.get(job.id))),
        )
    return table


def why(job: Job, position: Position | None) -> str:
    """Why a job is where it is: the place and reason of a waiting one, the error of a failed one."""
    if position is not None:
        number = "" if position.place is None else f"#{position.place}: "
        return f"{number}{position.reason}"
    if job.state in ("claimed", "running") and job.wish is not None:
        return f"{words.STOPPING[job.wish.to]}, asked by {job.wish.actor}"
    if job.state == "failed" and job.error is not None:
        return job.error.message.partition("\n")[0]
    return job.reason if job.state == "cancelled" else ""
