"""A job as one works with it: its record, what happens to it, what it leaves, and what can be done to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final, overload

from closegap.client import downloads, events, logs, metrics, notebook, waiting
from closegap.client.connection import Connection, read
from closegap.client.documents import Bundle, Bundles, JobPage, Series, SeriesList, Trials, Waiting
from closegap.client.errors import Changed
from closegap.client.logs import LogLine
from closegap.client.waiting import Tell
from closegap.job import Event, Failure, Progress, State
from closegap.job import Job as Record
from closegap.loglines import Filter, Level

if TYPE_CHECKING:
    import pandas as pd

_TRIES = 5


@final
class Job:
    """A handle; its `record` is as it was when last looked at. Every method raises ClientError."""

    def __init__(self, connection: Connection, record: Record) -> None:
        self.connection, self.record = connection, record

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """By which the service knows it."""
        return self.record.id

    @property
    def name(self) -> str:
        """What its spec calls it."""
        return self.record.name

    @property
    def kind(self) -> str:
        """train, sweep, evaluate, export, encode or compare."""
        return self.record.kind

    @property
    def state(self) -> State:
        """When last looked at."""
        return self.record.state

    @property
    def spec(self) -> dict[str, Any]:
        """Normalised: every default written out."""
        return self.record.spec

    @property
    def outputs(self) -> dict[str, Any]:
        """What it has left, by name; empty before it has succeeded."""
        return self.record.outputs

    @property
    def progress(self) -> Progress | None:
        """Of the current attempt, when last looked at."""
        return self.record.progress

    @property
    def error(self) -> Failure | None:
        """Of the last attempt that failed."""
        return self.record.error

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.connection.url}/jobs/{self.id}"

    def refresh(self) -> Self:
        """Look again; itself."""
        self.record = self.connection.get(Record, self._path())
        return self

    def position(self) -> Waiting:
        """Why it waits, its place in the line, and what would let it run."""
        return self.connection.get(Waiting, self._path("/position"))

    # --- what happens to it -------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None, progress: Tell | bool | None = None) -> Self:
        """Return when it has succeeded; itself.

        timeout: seconds; absent: as long as it takes. progress: called with the record whenever it changes; True: a
        bar; False: nothing; absent: a bar where standard error is a terminal.

        Raises JobFailed (class of failure, message, last lines of the log, address), JobCancelled, WaitTimeout.
        """
        waiting.until_over(self, timeout, progress)
        waiting.succeed(self)
        return self

    def events(self, after: str = events.FIRST, types: Sequence[str] | None = None) -> Iterator[Event]:
        """All that has happened and happens, until its `end`; taken up again where the connection breaks.

        after: the id of an event, only those that follow it; types: of state, progress, metric, log, end.
        """
        return events.follow(self.connection, self.id, after, types)

    def logs(
        self,
        follow: bool = False,
        *,
        attempt: int | None = None,
        rank: int | None = None,
        trial: int | None = None,
        level: Level | None = None,
    ) -> Iterator[LogLine]:
        """What its attempts have written, of one attempt, rank or trial, or of a level and above, where one is given.

        follow: also what they write until it is over.
        """
        wanted = Filter(level, attempt, rank, trial)
        return logs.lines(self.connection, self.id, wanted, follow)

    # --- what it measures and leaves ----------------------------------------------------------------------------

    @overload
    def metrics(self, names: Sequence[str] | None = None, as_frame: Literal[True] = True) -> pd.DataFrame: ...

    @overload
    def metrics(
        self, names: Sequence[str] | None = None, *, as_frame: Literal[False]
    ) -> tuple[Series, ...]: ...

    def metrics(
        self, names: Sequence[str] | None = None, as_frame: bool = True
    ) -> pd.DataFrame | tuple[Series, ...]:
        """The numbers that it has reported so far: `train.elbo`, `valid.kl`, …, all or those of `names`.

        A frame has a row for each event type and place (`event`, `epoch`, …) and needs pandas (`closegap[client]`);
        with `as_frame=False` the curves themselves, which need nothing.
        """
        query = {"name": None if names is None else list(names), "points": metrics.MOST_POINTS}
        found = self.connection.get(SeriesList, self._path("/metrics"), query).series
        return metrics.frame(found) if as_frame else found

    def trials(self) -> Trials:
        """Of a sweep: all its trials, live, and the best so far. Raises NotFound: it is no sweep."""
        page = self.connection.get(Trials, self._path("/trials"))
        found = list(page.trials)
        while page.next_cursor is not None:
            page = self.connection.get(Trials, self._path("/trials"), {"cursor": page.next_cursor})
            found += page.trials
        return page.model_copy(update={"trials": tuple(found)})

    def artifacts(self) -> tuple[Bundle, ...]:
        """The bundles that it has left, and their files."""
        return self.connection.get(Bundles, self._path("/artifacts")).artifacts

    def download(self, name: str, path: str | Path) -> Path:
        """An output (`model`) as the folder `path`, or a file of it (`model/metrics.json`) as the file `path`.

        It is there whole, and as its digest says, or not at all; one that broke off is taken up. Raises NotFound,
        DamagedFile.
        """
        target = Path(path)
        bundle, file = downloads.chosen(self.artifacts(), name, self.id)
        if file is None:
            return downloads.bundle(self.connection, bundle, target)
        return downloads.one(self.connection, file, target / Path(name).name if target.is_dir() else target)

    # --- what can be done to it ---------------------------------------------------------------------------------

    def cancel(self) -> Self:
        """Cancel it: at once where it waits, at its next checkpoint where it runs. One that is over stays as it is."""
        return self._asked("cancel")

    def pause(self) -> Self:
        """Hold it: at once where it waits, at its next checkpoint where it runs. Raises Conflict (over)."""
        return self._asked("pause")

    def resume(self) -> Self:
        """Let it wait for a worker again, to go on from its checkpoint. Raises Conflict (over)."""
        return self._asked("resume")

    def retry(self) -> Job:
        """Run it again, as a new job that goes on from its checkpoints; that job. What needed it comes along.

        Raises Conflict: it is not over, has succeeded, or was retried before.
        """
        response = self.connection.send("POST", self._path(":retry"), repeatable=False)
        return Job(self.connection, read(JobPage, response).jobs[0])

    def set_priority(self, priority: int) -> Self:
        """Higher runs first; 0 to 100. Raises Conflict (over)."""
        return self.change(priority=priority)

    def set_labels(self, **labels: str | None) -> Self:
        """Set these labels; None removes one, others stay."""
        return self.change(labels=labels)

    def change(
        self,
        *,
        priority: int | None = None,
        labels: Mapping[str, str | None] | None = None,
        if_unchanged: bool = False,
    ) -> Self:
        """Another priority, other labels. The change is made for the version of the record that this handle has.

        Where somebody else has changed it meanwhile, it is read and changed again, or, with `if_unchanged`, refused.
        Raises Changed, Conflict (over).
        """
        asked = {"priority": priority, "labels": None if labels is None else dict(labels)}
        body = {name: value for name, value in asked.items() if value is not None}
        for attempt in range(1, _TRIES + 1):
            try:
                # With its version it is safe to send twice: the second finds another one.
                response = self.connection.send(
                    "PATCH",
                    self._path(),
                    repeatable=True,
                    json=body,
                    headers={"If-Match": f'"{self.record.version}"'},
                )
            except Changed:
                self.refresh()
                if self._has(priority, labels):
                    break
                if if_unchanged or attempt == _TRIES:
                    raise
            else:
                self.record = read(Record, response)
                break
        return self

    def _has(self, priority: int | None, labels: Mapping[str, str | None] | None) -> bool:
        known = self.record.labels
        same = all(known.get(name) == value for name, value in (labels or {}).items())
        return same and priority in (None, self.record.priority)

    def _asked(self, action: str) -> Self:
        """What asks for a state may be asked for twice."""
        self.record = read(Record, self.connection.send("POST", self._path(f":{action}"), repeatable=True))
        return self

    def _path(self, part: str = "") -> str:
        return f"/v1/jobs/{self.id}{part}"

    # --- how it looks -------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.kind} {self.state}>"

    def _repr_html_(self) -> str:
        record = self.record
        done = record.progress
        facts: dict[str, object] = {
            "name": record.name,
            "kind": record.kind,
            "state": f"{record.state}: {record.reason}" if record.reason else record.state,
            "progress": None if done is None else f"{done.done:g} of {done.total or '?'} {done.unit}",
            "labels": " ".join(f"{name}={value}" for name, value in record.labels.items()),
            "error": record.error.message if record.error else None,
            "outputs": " ".join(f"{name}={value}" for name, value in record.outputs.items()),
        }
        return notebook.table(f"{record.kind} job {record.id}", facts, self.url)
