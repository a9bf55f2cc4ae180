"""The job queue on Redis: every change of state is one Lua script, so it happens whole or not at all.

Here is what users ask of jobs; owning them is in `leases.py`, workers and projects are in `roster.py`.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, final

import redis
from pydantic_core import from_json

from closegap.errors import Conflict
from closegap.job import (
    Event,
    Job,
    Page,
    Position,
    State,
)
from closegap.queue import audit, events, fleet, quota, waiting
from closegap.queue.edit import edit
from closegap.queue.leases import LONGEST_WAIT, Leases
from closegap.queue.part import milliseconds
from closegap.queue.records import Projects
from closegap.queue.roster import Roster
from closegap.queue.scripts import IdTaken
from closegap.queue.selector import ALL, Selector
from closegap.queue.submission import Submission, again, prepare
from closegap.specs.references import DEFAULT_PROJECT, PROJECT, PROJECT_WORDS
from closegap.specs.spec import Spec

OPEN = frozenset(state for state in State if not state.terminal)
CANCELLED_AT_ONCE = 500
"""Jobs that one script cancels: others want to be served too."""
GENERATED_KEY_SECONDS = 86_400


@final
class Queue(Leases, Roster):
    """One namespace of one store. Safe to share between processes, not between threads that wait for work.

    All methods raise StoreUnavailable when the store is away longer than the client's patience.
    """

    def __init__(
        self, client: redis.Redis, namespace: str = "closegap", backoff_seconds: float = 2.0
    ) -> None:
        super().__init__(client, namespace, backoff_seconds)

    # --- submit ---------------------------------------------------------------------------------------------

    def submit(
        self,
        specs: Sequence[Spec],
        key: str | None = None,
        actor: str = "user",
        project: str = DEFAULT_PROJECT,
        request_id: str = "",
        traceparent: str = "",
    ) -> list[Job]:
        """Record all of the specs as jobs of a project, or none.

        The same `key` with the same specs gives the jobs of the first time. Raises SpecError (unknown needs or
        outputs), KeyReused (the key was used for other specs), Conflict (the key is none), Refused (no worker could
        ever hold it, or the project may never).
        """
        if not re.fullmatch(PROJECT, project):
            raise Conflict(f"`{project}` is no name of a project; accepted: {PROJECT_WORDS}")
        # What is recorded already is given back, whatever workers there are by now.
        if key is None or not self._records.used(project, key):
            self.refuse_impossible(specs, project)

        def build() -> Submission:
            return prepare(specs, lambda ids: self._records.kinds(ids, project))

        return self._submit(build, key, project, actor, request_id, traceparent)

    def check(self, specs: Sequence[Spec], project: str = DEFAULT_PROJECT) -> None:
        """Whether needs and outputs that specs name are there. Records nothing. Raises SpecError."""
        prepare(specs, lambda ids: self._records.kinds(ids, project))

    def refuse_impossible(self, specs: Sequence[Spec], project: str = DEFAULT_PROJECT) -> None:
        """Raise Refused for a spec that no worker could ever hold, or its project may never."""
        fleet.refuse_impossible(specs, self.workers())
        quota.refuse_impossible(self._client, self._root, project, specs)

    def retry(
        self,
        identifier: str,
        actor: str = "user",
        projects: Projects = None,
        request_id: str = "",
        traceparent: str = "",
    ) -> list[Job]:
        """New jobs for one that failed or was cancelled, and for those that did not run because of it.

        Raises NotFound, Conflict (not over, succeeded, already retried, or its own need is what failed).
        """
        job = self.get(identifier, projects)
        return self._submit(
            lambda: again(job, self._records), None, job.project, actor, request_id, traceparent
        )

    def _submit(
        self,
        build: Callable[[], Submission],
        key: str | None,
        project: str,
        actor: str,
        request_id: str,
        traceparent: str,
    ) -> list[Job]:
        # A key of our own makes a submission whose answer was lost safe to send again.
        kept, key = (0, key) if key else (GENERATED_KEY_SECONDS, f"generated-{secrets.token_hex(16)}")
        for what, word in (("idempotency key", key), ("id of the request", request_id)):
            if len(word) > 200 or not word.isprintable():
                raise Conflict(f"the {what} `{word[:50]}` is not accepted: up to 200 printable characters")
        while True:
            submission = build()
            try:
                ids = self._run(
                    "submit", project, key, submission.digest, kept, actor[: audit.LONGEST], request_id,
                    submission.text, milliseconds(audit.KEPT.total_seconds()), traceparent,
                )  # fmt: skip
            except IdTaken:
                continue
            return self._records.read_all(ids)

    # --- ask of jobs ----------------------------------------------------------------------------------------
    # `projects` is whose jobs the asker may see: what another project has is not found.

    def get(self, identifier: str, projects: Projects = None) -> Job:
        """By id, by name (the newest), or by the beginning of an id. Raises NotFound, Conflict (several)."""
        return self._records.read(self._records.find(identifier, projects))

    def jobs(self, selector: Selector = ALL, limit: int = 50, cursor: str | None = None) -> Page:
        """The jobs that are meant, newest first. Raises NotFound for a cursor that is none."""
        return self._records.page(selector, limit, cursor)

    def cancel(self, identifier: str, actor: str = "user", projects: Projects = None) -> Job:
        """Cancel a job that waits; wish it of one that runs; leave one that is over. Raises NotFound."""
        return self._ask("cancel", identifier, projects, actor)

    def cancel_all(self, selector: Selector, actor: str = "user") -> list[Job]:
        """Cancel all that are meant and not over, as `cancel` does; as they are afterwards, newest first."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            some, cursor = self._records.select(selector.within(OPEN), CANCELLED_AT_ONCE, cursor)
            if some:
                self._run("cancel", actor, *some)
            ids += some
            if cursor is None:
                return self._records.read_all(ids)

    def pause(self, identifier: str, actor: str = "user", projects: Projects = None) -> Job:
        """Pause a job that waits; wish it, with a checkpoint, of one that runs. Raises NotFound, Conflict (over)."""
        return self._ask("pause", identifier, projects, actor)

    def resume(self, identifier: str, actor: str = "user", projects: Projects = None) -> Job:
        """Let a paused job wait again; withdraw the wish from one that runs still. Raises NotFound, Conflict."""
        return self._ask("resume", identifier, projects, actor)

    def change(
        self,
        identifier: str,
        *,
        priority: int | None = None,
        labels: Mapping[str, str | None] | None = None,
        expected: int | None = None,
        actor: str = "user",
        projects: Projects = None,
    ) -> Job:
        """Another priority, other labels (merged; None removes one), where the record is at version `expected`.

        Raises NotFound, Changed (another version), Conflict (over, or a value that is not accepted).
        """
        asked = edit(priority, labels).arguments()
        return self._ask("change", identifier, projects, actor, "" if expected is None else expected, *asked)

    def _ask(
        self, script: str, identifier: str, projects: Projects, actor: str, *arguments: str | float
    ) -> Job:
        """Run a script on one job; the job as it is afterwards."""
        job = self._records.find(identifier, projects)
        self._run(script, actor, job, *arguments)
        return self._records.read(job)

    def inputs(self, job: Job) -> dict[str, dict[str, Any]]:
        """The outputs of the jobs it needs, by the names that its spec uses, as `spec.resolve` takes them."""
        needed = self._records.read_all(list(job.needs.values()))
        return {name: found.outputs for name, found in zip(job.needs, needed, strict=True)}

    def position(self, identifier: str, projects: Projects = None) -> Position:
        """Why a job waits, its place over all lines, and what would let it run. Raises NotFound."""
        return self.positions([self.get(identifier, projects)])[0]

    def positions(self, jobs: Sequence[Job]) -> list[Position]:
        """The same of many."""
        return waiting.positions(
            jobs, self._records, self.workers(), self.projects({job.project for job in jobs})
        )

    def events(
        self,
        identifier: str,
        after: str = "0",
        block: float = 0.0,
        limit: int = 1000,
        projects: Projects = None,
    ) -> list[Event]:
        """Events after an event's id, waiting up to `block` seconds for a first one. Raises NotFound."""
        job = self._records.find(identifier, projects)
        return events.read(self._client, f"{self._root}:events:{job}", after, min(block, LONGEST_WAIT), limit)

    def reported(
        self, identifier: str, without: Collection[str], after: str = "0"
    ) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
        """What was told after an event, but of these types, oldest first: quick for thousands. The id is whole.

        In parts: the id after which to go on, and (type, data) of each event.
        """
        while True:
            last, text = self._run("reported", identifier, after, events.AT_ONCE, *without)
            if not last:
                return
            told = from_json(text)
            yield last, list(zip(told[::2], told[1::2], strict=True))
            after = last

    def follow(
        self, identifier: str, after: str = "0", timeout: float | None = None, projects: Projects = None
    ) -> Iterator[Event]:
        """Events as they happen, until the job's `end`, or until `timeout` seconds are over. Raises NotFound."""
        job = self._records.find(identifier, projects)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 5.0 if deadline is None else min(5.0, deadline - time.monotonic())
            for event in self.events(job, after, max(left, 0.0)):
                yield event
                after = event.id
                if event.type == "end":
                    return
            if left <= 0:
                return

    def erase(self, pipeline: str, before: datetime) -> list[str]:
        """Remove the records of a pipeline whose jobs ended before a time and that no other needs; their ids."""
        return self._run("forget", pipeline, f"{before.timestamp() * 1000:.0f}")
