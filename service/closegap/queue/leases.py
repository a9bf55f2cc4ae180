"""Owning jobs: the part of the queue that workers use. Every call but a claim proves the lease that it acts under.

Takeover: a job whose worker dies is claimed again at most `lease_seconds` after its last renewal plus the wait of one
`wait_for_work`, which never sleeps beyond the end of a lease.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from closegap.job import Capacity, Claim, Failure, Lease, State, Wish
from closegap.queue import events
from closegap.queue.part import Part, milliseconds
from closegap.store.store import speaking

LARGEST_BACKOFF = 300.0
LONGEST_WAIT = 10.0
"""Seconds that one command may block, well below the client's socket timeout."""


class Leases(Part):
    """Not to be shared between threads that claim and wait for work."""

    def __init__(self, client: redis.Redis, namespace: str, backoff_seconds: float) -> None:
        super().__init__(client, namespace)
        self._backoff = backoff_seconds
        self._bell, self._due, self._asking = "0-0", -1, ""
        self._took = ("", 0.0)

    def claim(self, worker: str, capacity: Capacity, lease_seconds: float) -> Claim | None:
        """The first job that fits into the free `capacity`, or None. Leases that have run out are reaped first."""
        # A claim whose answer was lost is asked again: the job would else wait for the end of its lease.
        self._asking = self._asking or secrets.token_hex(16)
        token, began = self._asking, time.perf_counter()
        kinds = "" if capacity.kinds is None else json.dumps(sorted(capacity.kinds))
        found, *rest = self._run(
            "claim", worker, token, milliseconds(lease_seconds), capacity.cpus, capacity.gpus, kinds
        )
        if not found:
            self._bell, self._due, self._asking = rest[0], int(rest[1]), ""
            return None
        self._took = (token, 1000 * (time.perf_counter() - began))
        lease = Lease(job=found, attempt=int(rest[0]), token=token)
        job, self._asking = self._records.read(found), ""
        seconds = self._took[1] / 1000
        return Claim(job=job, attempt=lease.attempt, lease=lease, fence=int(rest[1]), seconds=seconds)

    def wait_for_work(self, timeout: float) -> None:
        """Return when something may be claimed since this queue's last claim, after `timeout` or 10 seconds."""
        seconds = min(timeout, LONGEST_WAIT, timeout if self._due < 0 else self._due / 1000)
        with speaking(self._client):
            # BLOCK 0 would be for ever; a millisecond more than the lease's end, so that it is over then.
            self._client.xread(
                {f"{self._root}:doorbell": self._bell}, count=1, block=milliseconds(seconds) + 1
            )

    def start(self, lease: Lease) -> Wish | None:
        """The attempt's process runs. Raises LeaseLost."""
        token, took = self._took
        return _wish(self._run("start", *_proof(lease), took if token == lease.token else ""))

    def renew(self, lease: Lease, lease_seconds: float) -> Wish | None:
        """Keep the lease; a third of its length is a good interval. Raises LeaseLost."""
        return _wish(self._run("renew", *_proof(lease), milliseconds(lease_seconds)))

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
        delay, cap = milliseconds(self._backoff), milliseconds(LARGEST_BACKOFF)
        self._run(
            "fail", *_proof(lease), failure.failure, failure.message, failure.model_dump_json(), delay, cap
        )

    def release(self, lease: Lease, reason: str) -> None:
        """Give the job back (the worker ends): queued at once. Raises LeaseLost."""
        self._run("fail", *_proof(lease), "preempted", reason, "", 0, 0)

    def reap(self) -> list[str]:
        """Take back every job whose lease has run out, as each claim does; their ids."""
        return self._run("reap")


def _proof(lease: Lease) -> tuple[str, int, str]:
    return lease.job, lease.attempt, lease.token


def _wish(answer: list[str]) -> Wish | None:
    return Wish.model_validate_json(answer[0]) if answer[0] else None
