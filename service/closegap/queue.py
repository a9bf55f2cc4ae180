"""The job queue on Redis: every change of state is one Lua script, so it happens whole or not at all.

Takeover: a job whose worker dies is claimed again at most `lease_seconds` after its last renewal plus the wait of one
`wait_for_work`, which never sleeps beyond the end of a lease.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import redis

from closegap import events, fleet, waiting
from closegap.errors import Conflict
from closegap.job import Capacity, Claim, Event, Failure, Job, Lease, Page, Position, State, Wish, Worker
from closegap.records import Records
from closegap.scripts import IdTaken, Scripts
from closegap.spec import Spec
from closegap.store import speaking
from closegap.submission import Submission, again, prepare

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
        self._records = Records(client, self._root)
        self._backoff = backoff_seconds
        self._bell, self._due = "0-0", -1

    # --- submit ---------------------------------------------------------------------------------------------

    def submit(self, specs: Sequence[Spec], key: str | None = None, actor: str = "user") -> list[Job]:
        """Record all of the specs as jobs, or none.

        The same `key` with the same specs gives the jobs of the first time. Raises SpecError (unknown needs or
        outputs), Conflict (the key was used for other specs), Refused (no worker could ever hold it).
        """
        # What is recorded already is given back, whatever workers there are by now.
        if key is None or not self._records.used(key):
            fleet.refuse_impossible(specs, self.workers())
        return self._submit(lambda: prepare(specs, self._records.kinds), key, actor)

    def retry(self, identifier: str, actor: str = "user") -> list[Job]:
        """New jobs for one that failed or was cancelled, and for those that did not run because of it.

        Raises NotFound, Conflict (not over, succeeded, already retried, or its own need is what failed).
        """
        job = self.get(identifier)
        return self._submit(lambda: again(job, self._records), None, actor)

    def _submit(self, build: Callable[[], Submission], key: str | None, actor: str) -> list[Job]:
        # A key of our own makes a submission whose answer was lost safe to send again.
        kept, key = (0, key) if key else (GENERATED_KEY_SECONDS, f"generated-{secrets.token_hex(16)}")
        if len(key) > 200 or not key.isprintable():
            raise Conflict(
                f"the idempotency key `{key[:50]}` is not accepted: up to 200 printable characters"
            )
        while True:
            submission = build()
            try:
                ids = self._run("submit", key, submission.digest, kept, actor, submission.text)
            except IdTaken:
                continue
            return self._records.read_all(ids)

    # --- own a job ------------------------------------------------------------------------------------------

    def claim(self, worker: str, capacity: Capacity, lease_seconds: float) -> Claim | None:
        """The first job that fits into the free `capacity`, or None. Leases that have run out are reaped first."""
        token = secrets.token_hex(16)
        kinds = "" if capacity.kinds is None else json.dumps(sorted(capacity.kinds))
        found, *rest = self._run(
            "claim", worker, token, _ms(lease_seconds), capacity.cpus, capacity.gpus, kinds
        )
        if not found:
            self._bell, self._due = rest[0], int(rest[1])
            return None
        lease = Lease(job=found, attempt=int(rest[0]), token=token)
        return Claim(job=self._records.read(found), attempt=lease.attempt, lease=lease)

    def wait_for_work(self, timeout: float) -> None:
        """Return when something may be claimed since this queue's last claim, after `timeout` or 10 seconds."""
        seconds = min(timeout, LONGEST_WAIT, timeout if self._due < 0 else self._due / 1000)
        with speaking(self._client):
            # BLOCK 0 would be for ever; a millisecond more than the lease's end, so that it is over then.
            self._client.xread({f"{self._root}:doorbell": self._bell}, count=1, block=_ms(seconds) + 1)

    def start(self, lease: Lease) -> Wish:
        """The attempt's process runs. Raises LeaseLost."""
        return _wish(self._run("start", *_proof(lease)))

    def renew(self, lease: Lease, lease_seconds: float) -> Wish:
        """Keep the lease; a third of its length is a good interval. Raises LeaseLost."""
        return _wish(self._run("renew", *_proof(lease), _ms(lease_seconds)))

    def report(self, lease: Lease, reported: Sequence[Mapping[str, Any]]) -> None:
        """Add events `{type, …}` to the job's stream; the last `progress` goes to the record. Raises LeaseLost."""
        if reported:
            progress, flat = events.pack(reported)
            self._run("report", *_proof(lease), secrets.token_hex(8), events.LONGEST, progress, *flat)

    def succeed(self, lease: Lease, outputs: Mapping[str, Any]) -> None:
        """The job is done; what its outputs name must be published already. Raises LeaseLost."""
        self._run("finish", *_proof(lease), State.SUCCEEDED, json.dumps(dict(outputs), allow_nan=False))

    def cancelled(self, lease: Lease) -> None:
        """The attempt has stopped as was wished. Raises LeaseLost, Conflict (nobody wished it)."""
        self._run("finish", *_proof(lease), State.CANCELLED, "{}")

    def fail(self, lease: Lease, failure: Failure) -> None:
        """The attempt failed: by its budgets the job is queued again, after a back-off, or failed. Raises LeaseLost."""
        delay, cap = _ms(self._backoff), _ms(LARGEST_BACKOFF)
        self._run(
            "fail", *_proof(lease), failure.failure, failure.message, failure.model_dump_json(), delay, cap
        )

    def release(self, lease: Lease, reason: str) -> None:
        """Give the job back (the worker drains, the attempt was preempted): queued at once. Raises LeaseLost."""
        self._run("fail", *_proof(lease), "preempted", reason, "", 0, 0)

    def reap(self) -> list[str]:
        """Take back every job whose lease has run out, as each claim does; their ids."""
        return self._run("reap")

    # --- ask ------------------------------------------------------------------------------------------------

    def cancel(self, identifier: str, actor: str = "user") -> Job:
        """Cancel a job that waits; wish it of one that runs; leave one that is over. Raises NotFound."""
        job = self.get(identifier)
        self._run("cancel", job.id, actor)
        return self._records.read(job.id)

    def get(self, identifier: str) -> Job:
        """By id, by name (the newest), or by the beginning of an id. Raises NotFound, Conflict (several)."""
        return self._records.read(self._records.find(identifier))

    def jobs(self, state: State | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        """Jobs, newest first."""
        return self._records.page(state, limit, cursor)

    def inputs(self, job: Job) -> dict[str, dict[str, Any]]:
        """The outputs of the jobs it needs, by the names that its spec uses: what `closegap.spec.resolve` takes."""
        needed = self._records.read_all(list(job.needs.values()))
        return {name: found.outputs for name, found in zip(job.needs, needed, strict=True)}

    def position(self, identifier: str) -> Position:
        """Why a job waits, its place in the line, and what would let it run. Raises NotFound."""
        job = self.get(identifier)
        return waiting.position(job, self._records, self.workers())

    def events(self, identifier: str, after: str = "0", block: float = 0.0, limit: int = 1000) -> list[Event]:
        """Events after an event's id, waiting up to `block` seconds for a first one. Raises NotFound."""
        job = self._records.find(identifier)
        return events.read(self._client, f"{self._root}:events:{job}", after, min(block, LONGEST_WAIT), limit)

    def follow(self, identifier: str, after: str = "0", timeout: float | None = None) -> Iterator[Event]:
        """Events as they happen, until the job's `end`, or until `timeout` seconds are over. Raises NotFound."""
        job = self._records.find(identifier)
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

    # --- workers --------------------------------------------------------------------------------------------

    def heartbeat(self, worker: str, capacity: Capacity) -> None:
        """Say that a worker lives, and what it holds when it is idle."""
        self._run("heartbeat", worker, capacity.model_dump_json())

    def workers(self) -> list[Worker]:
        """Every worker that has been heard of and was not forgotten."""
        return fleet.workers(self._client, self._root)

    def forget(self, worker: str) -> None:
        """A worker has gone for good."""
        with speaking(self._client):
            self._client.hdel(f"{self._root}:workers", worker)


def _proof(lease: Lease) -> tuple[str, int, str]:
    return lease.job, lease.attempt, lease.token


def _wish(answer: list[str]) -> Wish:
    return Wish(cancel=bool(answer[0]), actor=answer[0])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
