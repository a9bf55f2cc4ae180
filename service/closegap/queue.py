"""The job queue on Redis: every change of state is one Lua script, so it happens whole or not at all.

Takeover: a job whose worker dies is claimed again at most `lease_seconds` after its last renewal plus the wait of one
`wait_for_work`, which never sleeps beyond the end of a lease.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, final

import redis

from closegap import audit, events, fleet, quota, waiting
from closegap.edit import edit
from closegap.errors import Conflict, NotFound
from closegap.job import (
    Capacity,
    Claim,
    Event,
    Failure,
    Job,
    Lease,
    Page,
    Position,
    Project,
    State,
    Wish,
    Worker,
)
from closegap.records import Projects, Records
from closegap.references import DEFAULT_PROJECT, PROJECT, PROJECT_WORDS
from closegap.scripts import IdTaken, Scripts
from closegap.selector import ALL, Selector
from closegap.spec import Spec
from closegap.store import speaking
from closegap.submission import Submission, again, prepare

OPEN = frozenset(state for state in State if not state.terminal)
CANCELLED_AT_ONCE = 500
"""Jobs that one script cancels: others want to be served too."""
PREEMPTION_SECONDS = 1.0
"""Least time between two preemptions."""
SILENT_SECONDS = 10.0
"""A worker that was not heard of for so long counts neither as idle nor as one to take a job from."""
LARGEST_BACKOFF = 300.0
GENERATED_KEY_SECONDS = 86_400
LONGEST_WAIT = 10.0
"""Seconds that one command may block, well below the client's socket timeout."""


@final
class Queue:
    """One namespace of one store. Safe to share between processes, not between threads that wait for work.

    All methods raise StoreUnavailable when the store is away longer than the client's patience.
    """

    def __init__(
        self, client: redis.Redis, namespace: str = "closegap", backoff_seconds: float = 2.0
    ) -> None:
        self._client = client
        self._root = f"{{{namespace}}}"
        self._run = Scripts(client, self._root)
        self._records = Records(client, self._root, self._run)
        self._backoff = backoff_seconds
        self._bell, self._due, self._asking = "0-0", -1, ""
        self._took = ("", 0.0)

    # --- submit ---------------------------------------------------------------------------------------------

    def submit(
        self,
        specs: Sequence[Spec],
        key: str | None = None,
        actor: str = "user",
        project: str = DEFAULT_PROJECT,
        request_id: str = "",
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

        return self._submit(build, key, project, actor, request_id)

    def check(self, specs: Sequence[Spec], project: str = DEFAULT_PROJECT) -> None:
        """Whether needs and outputs that specs name are there. Records nothing. Raises SpecError."""
        prepare(specs, lambda ids: self._records.kinds(ids, project))

    def refuse_impossible(self, specs: Sequence[Spec], project: str = DEFAULT_PROJECT) -> None:
        """Raise Refused for a spec that no worker could ever hold, or its project may never."""
        fleet.refuse_impossible(specs, self.workers())
        quota.refuse_impossible(self._client, self._root, project, specs)

    def retry(
        self, identifier: str, actor: str = "user", projects: Projects = None, request_id: str = ""
    ) -> list[Job]:
        """New jobs for one that failed or was cancelled, and for those that did not run because of it.

        Raises NotFound, Conflict (not over, succeeded, already retried, or its own need is what failed).
        """
        job = self.get(identifier, projects)
        return self._submit(lambda: again(job, self._records), None, job.project, actor, request_id)

    def _submit(
        self, build: Callable[[], Submission], key: str | None, project: str, actor: str, request_id: str
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
                    submission.text, _ms(audit.KEPT.total_seconds()),
                )  # fmt: skip
            except IdTaken:
                continue
            return self._records.read_all(ids)

    # --- own a job ------------------------------------------------------------------------------------------

    def claim(self, worker: str, capacity: Capacity, lease_seconds: float) -> Claim | None:
        """The first job that fits into the free `capacity`, or None. Leases that have run out are reaped first."""
        # A claim whose answer was lost is asked again: the job would else wait for the end of its lease.
        self._asking = self._asking or secrets.token_hex(16)
        token, began = self._asking, time.perf_counter()
        kinds = "" if capacity.kinds is None else json.dumps(sorted(capacity.kinds))
        found, *rest = self._run(
            "claim", worker, token, _ms(lease_seconds), capacity.cpus, capacity.gpus, kinds
        )
        if not found:
            self._bell, self._due, self._asking = rest[0], int(rest[1]), ""
            return None
        self._took = (token, 1000 * (time.perf_counter() - began))
        lease = Lease(job=found, attempt=int(rest[0]), token=token)
        job, self._asking = self._records.read(found), ""
        return Claim(job=job, attempt=lease.attempt, lease=lease, fence=int(rest[1]))

    def wait_for_work(self, timeout: float) -> None:
        """Return when something may be claimed since this queue's last claim, after `timeout` or 10 seconds."""
        seconds = min(timeout, LONGEST_WAIT, timeout if self._due < 0 else self._due / 1000)
        with speaking(self._client):
            # BLOCK 0 would be for ever; a millisecond more than the lease's end, so that it is over then.
            self._client.xread({f"{self._root}:doorbell": self._bell}, count=1, block=_ms(seconds) + 1)

    def start(self, lease: Lease) -> Wish | None:
        """The attempt's process runs. Raises LeaseLost."""
        token, took = self._took
        return _wish(self._run("start", *_proof(lease), took if token == lease.token else ""))

    def renew(self, lease: Lease, lease_seconds: float) -> Wish | None:
        """Keep the lease; a third of its length is a good interval. Raises LeaseLost."""
        return _wish(self._run("renew", *_proof(lease), _ms(lease_seconds)))

    def report(self, lease: Lease, reported: Sequence[Mapping[str, Any]], batch: str | None = None) -> None:
        """Add events `{type, …}` to the job's stream; the last `progress` goes to the record. Raises LeaseLost.

        `batch` is a word for these events: sent again under the same word, after a lost answer, they are kept once.
        """
        if reported:
            progress, flat = events.pack(reported)
            self._run(
                "report", *_proof(lease), batch or secrets.token_hex(8), events.LONGEST, progress, *flat
            )

    def succeed(self, lease: Lease, outputs: Mapping[str, Any]) -> None:
        """The job is done; what its outputs name must be published already. Raises LeaseLost."""
        self._run("finish", *_proof(lease), State.SUCCEEDED, json.dumps(dict(outputs), allow_nan=False))

    def stopped(self, lease: Lease) -> None:
        """The attempt has stopped as was wished. Raises LeaseLost, Conflict (nobody wished it)."""
        self._run("finish", *_proof(lease), "stopped", "{}")

    def fail(self, lease: Lease, failure: Failure) -> None:
        """The attempt failed: by its budgets the job is queued again, after a back-off, or failed. Raises LeaseLost."""
        delay, cap = _ms(self._backoff), _ms(LARGEST_BACKOFF)
        self._run(
            "fail", *_proof(lease), failure.failure, failure.message, failure.model_dump_json(), delay, cap
        )

    def release(self, lease: Lease, reason: str) -> None:
        """Give the job back (the worker ends): queued at once. Raises LeaseLost."""
        self._run("fail", *_proof(lease), "preempted", reason, "", 0, 0)

    def reap(self) -> list[str]:
        """Take back every job whose lease has run out, as each claim does; their ids."""
        return self._run("reap")

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
        """The outputs of the jobs it needs, by the names that its spec uses: what `closegap.spec.resolve` takes."""
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

    # --- projects and workers -------------------------------------------------------------------------------

    def projects(self, names: Iterable[str] | None = None) -> list[Project]:
        """What each holds and may hold: these, or all that have a job or a limit."""
        return quota.read(self._client, self._root, names)

    def limit(self, project: str, running: int | None, gpus: float | None) -> Project:
        """What a project's jobs may hold at most, together; None is without limit. Raises Conflict."""
        if not re.fullmatch(PROJECT, project) or min(running or 0, gpus or 0) < 0:
            raise Conflict(
                f"running {running}, gpus {gpus} is no limit of `{project}`; accepted: {PROJECT_WORDS}; ≥ 0"
            )
        self._run("limit", project, "" if running is None else running, "" if gpus is None else gpus)
        return self.projects([project])[0]

    def heartbeat(self, worker: str, capacity: Capacity) -> str:
        """Say that a worker lives, and what it holds when it is idle; who has drained it, or nothing.

        With the workers' beats it is also decided who is preempted.
        """
        [drained] = self._run("heartbeat", worker, capacity.model_dump_json())
        self._run("preempt", _ms(PREEMPTION_SECONDS), _ms(SILENT_SECONDS))
        return drained

    def workers(self) -> list[Worker]:
        """Every worker that has been heard of and was not forgotten."""
        return fleet.workers(self._client, self._root)

    def drain(self, worker: str, now: bool = False, actor: str = "user") -> Worker:
        """Let a worker claim nothing more; `now`: give back, with a checkpoint, what it runs. Raises NotFound."""
        return self._of_worker("drain", worker, actor, "now" if now else "")

    def undrain(self, worker: str) -> Worker:
        """Let it claim again. Raises NotFound."""
        return self._of_worker("undrain", worker)

    def _of_worker(self, script: str, identifier: str, *arguments: str) -> Worker:
        """Run a script on a worker, given by name or the beginning of one; the worker as it is afterwards."""
        names = [worker.id for worker in self.workers()]
        found = [name for name in names if name == identifier] or [
            name for name in names if name.startswith(identifier)
        ]
        if len(found) != 1:
            raise NotFound(f"there is no one worker `{identifier}`; there are: {', '.join(names) or 'none'}")
        self._run(script, found[0], *arguments)
        return next(worker for worker in self.workers() if worker.id == found[0])

    def forget(self, worker: str) -> None:
        """A worker has gone for good."""
        with speaking(self._client), self._client.pipeline() as pipe:
            pipe.hdel(f"{self._root}:workers", worker)
            pipe.hdel(f"{self._root}:drained", worker)
            pipe.execute()


def _proof(lease: Lease) -> tuple[str, int, str]:
    return lease.job, lease.attempt, lease.token


def _wish(answer: list[str]) -> Wish | None:
    return Wish.model_validate_json(answer[0]) if answer[0] else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
