"""A worker: claims one job at a time, runs each attempt in a process of its own, and answers for all it leaves."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import final

from structlog.contextvars import bound_contextvars

from closegap.errors import LeaseLost, NotFound, ServiceError, StoreUnavailable
from closegap.job import Capacity, Claim, Event
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.storage.artifacts import ArtifactStore
from closegap.store.store import awaited
from closegap.trace import Span, tracer
from closegap_workers.cluster import Cluster, Keeper
from closegap_workers.conclusion import Conclusion
from closegap_workers.execution import Ended, Execution, Order, not_begun
from closegap_workers.lease import LeaseThread
from closegap_workers.leftovers import sweep
from closegap_workers.process import adopt_orphans
from closegap_workers.spans import AttemptTrace
from closegap_workers.tune_record import collect
from closegap_workers.work_folder import log_file

IDLE = 2.0
"""Longest wait for work before the loop looks at its own state again."""
BEAT = 2.0
"""Seconds between heartbeats."""
QUIET = 3.0
"""Seconds after an outage of the store in which nothing is claimed or reaped."""
NOTICED = 0.5
"""Seconds that the store's client tries by itself; every loop here goes on trying, and wants to know of an outage."""
PATIENCE = 120.0
"""How long the end of an attempt is tried to be written while the store is away, or a store is waited for at first."""
log = logging.getLogger("closegap.worker")


@final
class Supervisor:
    """The loop of `python -m closegap_workers worker`. One a process: it owns the process's signals and children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = ArtifactStore(settings.storage)
        self._queue = Queue(
            awaited(settings, NOTICED, PATIENCE), settings.namespace, settings.backoff_seconds
        )
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._signals = 0
        self._ended = threading.Event()
        self._tracer = tracer(settings.otlp_endpoint, "closegap-worker")
        self._keeper: Keeper | None = None
        self._known: Cluster | None = None
        self._away = -QUIET
        self._drained = ""

    # --- the loop -------------------------------------------------------------------------------------------

    def run(self, jobs: int | None = None, until_idle: bool = False) -> None:
        """Claim and run until a signal, `jobs` attempts, or an empty queue. Raises ClusterError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        adopt_orphans()
        beat: threading.Thread | None = None
        try:
            cluster = self._cluster()
            beat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            beat.start()
            self._collect()
            while not self._signals and jobs != 0:
                cluster = self._cluster()
                claim = self._claim(until_idle)
                if claim is not None:
                    self._attempt(claim, cluster)
                    jobs = None if jobs is None else jobs - 1
                elif until_idle:
                    break
        finally:
            self._ended.set()
            if beat is not None:
                beat.join()
                self._farewell()
            if self._keeper is not None:
                self._keeper.stop(adopted=True)
            self._tracer.close()

    def _cluster(self) -> Cluster:
        """The cluster; an embedded one that has ended is started again. Raises ClusterError."""
        if self._keeper is None or not self._keeper.alive():
            if self._keeper is not None:
                log.warning("the embedded Ray has ended by itself and is started again")
                self._keeper.stop(adopted=True)
            self._keeper = Keeper(self._settings.home, self._settings.ray_address)
            self._known = self._keeper.ready(lambda: self._signals > 0)
            log.info("worker %s has %s", self.name, self._known)
        assert self._known is not None
        return self._known

    def _claim(self, until_idle: bool) -> Claim | None:
        """The next job; waits a little for one."""
        if self._quiet():
            self._ended.wait(0.2)
            return None
        try:
            claim = self._queue.claim(self.name, self._capacity(), self._settings.lease_seconds)
            if claim is None and not until_idle:
                self._queue.wait_for_work(IDLE)
            return claim
        except StoreUnavailable as error:
            self._away = time.monotonic()
            log.warning("no work can be claimed: %s", error)
            return None

    def _quiet(self) -> bool:
        """Whether the store was away just now: who still runs a job must have the time to renew its lease first."""
        return time.monotonic() < self._away + QUIET

    def _capacity(self) -> Capacity:
        assert self._known is not None
        return Capacity(cpus=self._known.cpus, gpus=self._known.gpus)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1

    def _beat(self) -> None:
        while True:
            try:
                self._hear_of_drain(self._queue.heartbeat(self.name, self._capacity()))
                if not self._quiet():
                    self._queue.reap()
            except StoreUnavailable as error:
                self._away = time.monotonic()
                log.warning("no heartbeat: %s", error)
            if self._ended.wait(BEAT):
                return

    def _hear_of_drain(self, drained: str) -> None:
        """The queue gives a drained worker nothing; here it is only told."""
        if drained != self._drained:
            log.info("drained by %s: nothing more is claimed", drained) if drained else log.info("undrained")
            self._drained = drained

    def _farewell(self) -> None:
        try:
            self._queue.forget(self.name)
        except StoreUnavailable as error:
            log.warning("the store does not know that worker %s has gone: %s", self.name, error)

    def _collect(self) -> None:
        try:
            collect(self._settings.home, self._queue)
        except StoreUnavailable as error:
            log.warning("records of sweeps that are over stay for now: %s", error)

    # --- one attempt ----------------------------------------------------------------------------------------

    def _attempt(self, claim: Claim, cluster: Cluster) -> None:
        job = claim.job
        whose = {"job": job.id, "attempt": claim.attempt, "project": job.project, "kind": job.kind}
        span = Span.parse(job.traceparent)
        more = {"request_id": job.request_id, "trace_id": span.trace if span is not None else ""}
        with bound_contextvars(**whose, **{name: word for name, word in more.items() if word}):
            self._run_attempt(claim, cluster)

    def _run_attempt(self, claim: Claim, cluster: Cluster) -> None:
        job, trace = claim.job, AttemptTrace(self._tracer, claim)
        log.info("job %s (%s), attempt %d: begins", job.id, job.kind, claim.attempt)
        lease = LeaseThread(self._queue, claim.lease, self._settings.lease_seconds)
        try:
            ended = self._execute(claim, cluster, lease, trace)
            if ended.killed and ended.ray_job is not None:
                # Still under the lease: the next attempt must not meet what this one left.
                sweep(cluster, ended.ray_job)
        except (ServiceError, OSError) as error:
            log.exception("job %s: the attempt could not be begun", job.id)
            ended = not_begun(error)
        finally:
            lease.close()
        draining = f"worker {self.name} drains" if self._signals else ""
        end = Conclusion(self._queue, self._store, claim, ended, self._settings.lease_seconds, draining)
        try:
            said = lease.conclude(end.write, PATIENCE)
        except StoreUnavailable as error:
            said = f"its end could not be written, so it will be run again: {error}"
        said = said or "its lease was lost"
        trace.end(said, failed=(ended.outcome or {}).get("state") not in ("succeeded", "stopped"))
        log.info("job %s, attempt %d: %s", job.id, claim.attempt, said)
        if job.kind == "sweep":
            self._collect()

    def _execute(self, claim: Claim, cluster: Cluster, lease: LeaseThread, trace: AttemptTrace) -> Ended:
        job = claim.job
        inputs = self._queue.inputs(job)
        order = Order(
            job.id, claim.attempt, job.spec, inputs, job.work, job.project, job.request_id, claim.fence, job.kind,
            trace.traceparent, trace.on,
        )  # fmt: skip
        trace.begin(recorded(self._queue, job.id))
        file = log_file(self._store.work(job.work), claim.attempt)
        execution = Execution(order, file, cluster.variables(), lease.hear, trace.hear)
        try:
            self._queue.start(claim.lease)
        except (LeaseLost, NotFound):
            execution.kill()
        except StoreUnavailable as error:
            log.warning("job %s runs, but the store does not know yet: %s", job.id, error)
        return execution.see_through(
            stop=lambda: self._signals > 0 or lease.asked.is_set(),
            kill=lambda: self._signals > 1 or lease.lost.is_set(),
            grace=self._settings.grace_seconds,
        )


def recorded(queue: Queue, job: str) -> Iterator[Event]:
    """Every event of a job so far, a page at a time."""
    after = "0"
    while page := queue.events(job, after):
        yield from page
        after = page[-1].id
