"""How an attempt's end is written, as the owner of its job: decided once, and sent until the store has heard it."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from closegap.errors import Conflict, ServiceError
from closegap.job import Claim, Failure, Lease, State, Wish
from closegap.queue.queue import Queue
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core.errors import CoreError
from closegap_workers.channel import Event
from closegap_workers.execution import Ended
from closegap_workers.outcome import failure_of
from closegap_workers.work_folder import tidy

Write = Callable[[Lease], str]


@final
class Conclusion:
    """Of one attempt. `draining`: why the worker gives its jobs back, or nothing."""

    def __init__(
        self,
        queue: Queue,
        store: ArtifactStore,
        claim: Claim,
        ended: Ended,
        lease_seconds: float,
        draining: str,
    ) -> None:
        self._queue, self._store, self._claim, self._ended = queue, store, claim, ended
        self._seconds, self._draining = lease_seconds, draining
        self._decided: Write | None = None

    def write(self, proof: Lease) -> str:
        """Write it; in words. Called again after a lost answer it sends the same, which the queue then knows already.

        Raises LeaseLost, NotFound, StoreUnavailable.
        """
        if self._decided is None:
            # An attempt that could not be told to start, because the store was away, is told of now.
            self._decided = self._decide(proof, self._queue.start(proof))
        return self._decided(proof)

    def _decide(self, proof: Lease, wish: Wish | None) -> Write:
        outcome = self._ended.outcome or {"state": "died"}
        if outcome["state"] == "succeeded":
            return self._register(proof, outcome)
        stopped = outcome["state"] == "stopped" or self._ended.killed
        if wish is not None and (stopped or wish.to is State.CANCELLED):
            return self._as_wished(wish)
        if self._draining or outcome["state"] == "stopped":
            return self._given_back(self._draining or "the attempt was stopped")
        return self._failed(self._ended.failure())

    def _register(self, proof: Lease, outcome: Event) -> Write:
        if outcome["register"] is not None:
            # Only the owner may take a name's next version.
            self._queue.renew(proof, self._seconds)
            try:
                Registry(self._store, self._claim.job.project).register(
                    outcome["register"], outcome["outputs"]["model"], self._claim.job.id, self._claim.attempt
                )
            except (ServiceError, CoreError, OSError) as error:  # the registry's; it asks no store
                return self._failed(failure_of(error))

        def write(proof: Lease) -> str:
            self._queue.succeed(proof, outcome["outputs"])
            tidy(self._store.work(self._claim.job.work))
            return "succeeded"

        return write

    def _as_wished(self, wish: Wish) -> Write:
        def write(proof: Lease) -> str:
            try:
                self._queue.stopped(proof)
            except Conflict:
                # The wish was withdrawn when the attempt had stopped already.
                return self._given_back("the attempt was stopped")(proof)
            return wish.reason

        return write

    def _given_back(self, reason: str) -> Write:
        def write(proof: Lease) -> str:
            self._queue.release(proof, reason)
            return f"given back: {reason}"

        return write

    def _failed(self, failure: Failure) -> Write:
        def write(proof: Lease) -> str:
            self._queue.fail(proof, failure)
            return f"failed ({failure.failure}): {failure.message}"

        return write
