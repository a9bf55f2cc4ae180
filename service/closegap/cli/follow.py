"""Following jobs: their records and events become rows of a board until all are over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from closegap.cli import words
from closegap.cli.board import Board, Row
from closegap.cli.errors import NotFinished

if TYPE_CHECKING:
    from closegap.cli.service import Service
    from closegap.job import Job


@dataclass(frozen=True)
class Watched:
    """A job, how far its events were read, and what the last of them said."""

    job: Job
    cursor: str = "0"
    note: str = ""

    def row(self) -> Row:
        """As it is drawn."""
        job, progress = self.job, self.job.progress
        shown = Row(id=job.id, name=job.name or job.id, kind=job.kind, state=job.state, note=self._note())
        if progress is None:
            return shown
        return replace(
            shown,
            done=progress.done,
            total=progress.total,
            unit=progress.unit,
            rate=progress.rate,
            eta=progress.eta,
        )

    def _note(self) -> str:
        if self.job.error is not None and self.job.state != "succeeded":
            return self.job.error.message.partition("\n")[0]
        if self.job.state in ("blocked", "queued", "paused", "cancelled"):
            return self.job.reason
        # Until an attempt says something: that it starts.
        return self.note or (
            self.job.reason if not self.job.state.terminal and self.job.progress is None else ""
        )


def note_of(kind: str, data: Mapping[str, Any]) -> str | None:
    """What an event says about a running job in a few words; None when it says nothing new."""
    if kind == "epoch":
        elbo = (data.get("valid") or {}).get("elbo")
        return f"ELBO {words.nats(elbo)} on validation rows, epoch {data.get('epoch')}"
    return None


def advance(service: Service, watched: Watched) -> Watched:
    """The job as it is now, with its new events read."""
    if watched.job.state.terminal:
        return watched
    job = service.get(watched.job.id)
    note, cursor = watched.note, watched.cursor
    for event in service.events(job.id, cursor):
        cursor = event.id
        note = note_of(event.type, event.data) or note
    return Watched(job, cursor, note)


def follow(
    service: Service,
    jobs: Sequence[Job],
    board: Board,
    timeout: float | None = None,
    alive: Callable[[], None] = lambda: None,
) -> list[Job]:
    """Draw the jobs until all are over. Raises NotFinished after `timeout` seconds, or at Ctrl-C.

    `alive` is called again and again; what it raises ends the following.
    """
    limit = None if timeout is None else time.monotonic() + timeout
    watched = [Watched(job) for job in jobs]
    try:
        with board:
            while True:
                alive()
                watched = [advance(service, item) for item in watched]
                board.show([item.row() for item in watched])
                if all(item.job.state.terminal for item in watched):
                    return [item.job for item in watched]
                if limit is not None and time.monotonic() >= limit:
                    raise NotFinished(_unfinished(watched, f"not finished after {words.duration(timeout)}"))
                time.sleep(service.pause_seconds)
    except KeyboardInterrupt as interrupt:
        raise NotFinished(_unfinished(watched, "no longer following; the jobs go on")) from interrupt


def _unfinished(watched: Sequence[Watched], why: str) -> str:
    open_ids = [item.job.id for item in watched if not item.job.state.terminal]
    ids = " ".join(open_ids)
    return f"{why}. Follow again: closegap wait {ids}   stop them: closegap cancel {ids}"
