"""A bar on the terminal for a job that is waited for."""

from __future__ import annotations

from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from closegap.job import Job as Record


@final
class Bar:
    """Called with records. A context manager; on standard error, so that standard output stays the caller's."""

    def __init__(self) -> None:
        self._shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self._shown.add_task("", total=None, note="")

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.stop()

    def __call__(self, record: Record) -> None:
        progress = record.progress
        eta = "" if progress is None or progress.eta is None else f"{progress.eta:.0f} s left"
        self._shown.update(
            self._task,
            description=f"{escape(record.name or record.id)}  {record.state}",
            total=progress.total if progress else None,
            completed=progress.done if progress else 0,
            note=escape(eta if not record.state.terminal else "") or escape(record.reason),
        )
