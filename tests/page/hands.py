"""What does the work of the page's tests: real attempts, one after the other, without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from closegap.job import Capacity, Claim
from closegap.queue.queue import Queue
from closegap.settings import Settings, environment
from closegap.storage.artifacts import ArtifactStore
from closegap.store.store import connect
from closegap_workers.conclusion import Conclusion
from closegap_workers.execution import Ended, Order
from closegap_workers.lease import LeaseThread

CAPACITY = Capacity(cpus=2)
LEASE_SECONDS = 30.0


@final
class Hands(threading.Thread):
    """Claims and runs jobs that need no Ray, as a worker does, until it is stopped."""

    def __init__(self, settings: Settings, log: Path) -> None:
        super().__init__(name="hands")
        self._settings, self._log = settings, log
        self._queue = Queue(connect(settings), settings.namespace, settings.backoff_seconds)
        self._store = ArtifactStore(settings.storage)
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        while not self._over.is_set():
            self._queue.heartbeat("hands", CAPACITY)
            claim = self._queue.claim("hands", CAPACITY, LEASE_SECONDS)
            if claim is None:
                self._over.wait(0.1)
            else:
                self._attempt(claim)

    def stop(self) -> None:
        """End now, whatever runs."""
        self._over.set()
        if self._process is not None:
            self._process.kill()
        self.join(30)
        assert not self.is_alive()

    def _attempt(self, claim: Claim) -> None:
        job, queue = claim.job, self._queue
        lease = LeaseThread(queue, claim.lease, LEASE_SECONDS)
        order = Order(
            job.id,
            claim.attempt,
            job.spec,
            queue.inputs(job),
            job.work,
            job.project,
            "",
            claim.fence,
            job.kind,
        )
        queue.start(claim.lease)
        outcome = self._outcome(order, lease)
        lease.close()
        ended = Ended(outcome, "its process ended", False, None, "")
        lease.conclude(Conclusion(queue, self._store, claim, ended, LEASE_SECONDS, "").write, 10.0)

    def _outcome(self, order: Order, lease: LeaseThread) -> dict[str, Any] | None:
        variables = {
            "CLOSEGAP_HOME": str(self._settings.home),
            "CLOSEGAP_NAMESPACE": self._settings.namespace,
            "CLOSEGAP_STORAGE": self._settings.storage,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "closegap_workers", "attempt"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(**variables),
            )
        outcome = None
        with self._process as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"parent": os.getpid(), "log": str(self._log), **asdict(order)}))
            process.stdin.close()
            for line in process.stdout:
                event = json.loads(line)
                if event["type"] == "outcome":
                    outcome = event
                else:
                    lease.hear(event)
        return outcome
