"""One attempt seen from outside: its process, what it says, what it logs, and the end of all that it started."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, final

from closegap.errors import StoreUnavailable
from closegap.job import Failure
from closegap.journal import Redaction
from closegap.settings import environment
from closegap.specs.references import DEFAULT_PROJECT
from closegap_workers.channel import Event
from closegap_workers.logs import Log, Raw, Tail
from closegap_workers.outcome import failure_of
from closegap_workers.process import children, end, strangers

POLL = 0.05
DRAIN_SECONDS = 5.0
"""How long the outputs of an attempt that has ended may take to be read to their end."""


@dataclass(frozen=True)
class Order:
    """What an attempt is told, as JSON on its stdin."""

    job: str
    attempt: int
    spec: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    """Outputs of the jobs it needs, by name."""
    work: str
    """Name of the work folder."""
    project: str = DEFAULT_PROJECT
    """Whose registered models its references name."""
    request_id: str = ""
    """Of the request that submitted the job, for the log."""
    fence: int = 1
    """Higher than that of any attempt before it that had the same work folder."""
    kind: str = ""
    traceparent: str = ""
    """Of the attempt's span."""
    traced: bool = False
    """Whether anybody listens to spans."""


class Ended(NamedTuple):
    """How an attempt's process ended."""

    outcome: Event | None
    """What it said last: {"type": "outcome", "state": succeeded | failed | stopped, …}; None if it died."""
    cause: str
    """Exit status or signal, in words."""
    killed: bool
    ray_job: str | None
    tail: str
    """The end of its log."""

    def failure(self) -> Failure:
        """Why it failed: as it said itself, or that it died without a word."""
        if self.outcome is not None and "failure" in self.outcome:
            return Failure.model_validate(self.outcome["failure"])
        end = f"; the end of its log:\n{self.tail}" if self.tail else ""
        return Failure(failure="infrastructure", message=f"the attempt's process died: {self.cause}{end}")


def not_begun(error: Exception) -> Ended:
    """An attempt that there was no process of: given back if only the store was away."""
    if isinstance(error, StoreUnavailable):
        return Ended({"type": "outcome", "state": "stopped"}, str(error), False, None, "")
    failure = failure_of(error).model_dump(mode="json")
    return Ended({"type": "outcome", "state": "failed", "failure": failure}, str(error), False, None, "")


@final
class Execution:
    """A running attempt. Made by the main thread: the kernel ends the attempt when the thread that made it ends."""

    def __init__(
        self,
        order: Order,
        log: Path,
        variables: dict[str, str],
        hear: Callable[[Event], None],
        trace: Callable[[Event], None] = lambda _: None,
    ) -> None:
        """`hear` takes what it reports, `trace` its spans."""
        self._hear, self._trace, self._killed = hear, trace, False
        self._known = children()
        self._outcome: Event | None = None
        self._ray_job: str | None = None
        with log.open("ab") as file:
            begin = file.tell()  # a retried job goes on in the folder, and so in the logs, of the job before
        # Bytes, and not text: what a library in C writes is anything.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "closegap_workers", "attempt"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # The attempt knows no store; and MLflow tells nobody that it is used.
            env=environment(CLOSEGAP_REDIS_URL=None, **{"MLFLOW_DISABLE_TELEMETRY": "true", **variables}),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._raw = Raw(self._process.stderr, Log(log, Redaction(), **_whose(order)))
        self._tail = Tail(log, hear, begin)
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="events", daemon=True
        )
        self._reader.start()
        try:
            told = {"parent": os.getpid(), "log": str(log), **asdict(order)}
            self._process.stdin.write(json.dumps(told).encode())
            self._process.stdin.close()
        except BrokenPipeError:
            return  # it died at once; `finish` says of what

    @property
    def pid(self) -> int:
        """Of the attempt's process."""
        return self._process.pid

    def see_through(self, stop: Callable[[], bool], kill: Callable[[], bool], grace: float) -> Ended:
        """Wait for its end, passing wishes on: `stop` gives it `grace` seconds for a checkpoint, `kill` none."""
        deadline = math.inf
        while not self._wait(POLL):
            if kill() or time.monotonic() > deadline:
                self.kill()
            elif deadline == math.inf and stop():
                self._process.terminate()
                deadline = time.monotonic() + grace
        return self._finish()

    def kill(self) -> None:
        """End it now."""
        self._killed = True
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _finish(self) -> Ended:
        """End everything that it started, hear it out, and say how it ended."""
        status = self._process.wait()
        # No grace: a child that outlives its attempt has nobody left to work for.
        end(lambda: strangers(self._known), grace=0.0)
        self._reader.join(DRAIN_SECONDS)
        self._raw.close(DRAIN_SECONDS)
        tail = self._tail.close()
        killed = self._killed or status < 0
        return Ended(self._outcome, _words(status), killed, self._ray_job, tail)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # the line that it was writing when it was killed
                if event["type"] == "outcome":
                    self._outcome = event
                elif event["type"] == "ray":
                    self._ray_job = event["job"]
                elif event["type"] == "span":
                    self._trace(event)
                else:
                    self._hear(event)


def _whose(order: Order) -> dict[str, Any]:
    """What each line of the log names."""
    names = ("job", "attempt", "project", "kind", "request_id")
    return {name: getattr(order, name) for name in names}


def _words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
