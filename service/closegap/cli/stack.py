"""What `up` and `demo` start, and how it is stopped: store, then worker; stopped the other way round."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from closegap.cli import output
from closegap.cli.errors import ProcessFailed
from closegap.cli.processes import Child, interruptible, require_workers
from closegap.cli.serving import Api, served
from closegap.cli.store import StoreService

if TYPE_CHECKING:
    from closegap.settings import Settings
    from closegap.store.embedded import EmbeddedStore

READY_SECONDS = 180.0
"""Until a worker is heard of: Ray starts slowly on a loaded machine."""
_STOP_MARGIN_SECONDS = 20.0


@dataclass(frozen=True)
class Stack:
    """A store that is reached and a worker that was started. `store` is None where the settings name another."""

    service: StoreService
    worker: Child
    store: EmbeddedStore | None
    api: Api | None = None

    def check(self) -> None:
        """Start the embedded store again if it was killed: its jobs are on the disk; and the API. Raises
        ProcessFailed when the worker has ended."""
        self.worker.check()
        if self.api is not None:
            self.api.check()
        if self.store is not None and not self.store.running():
            output.say("[yellow]the store has ended by itself and is started again[/]")
            self.store.start()

    def ready(self) -> None:
        """Wait until the worker is heard of and the API answers. Raises ProcessFailed when one ends or stays silent."""
        limit = time.monotonic() + READY_SECONDS
        while not any(worker.alive for worker in self.service.workers()):
            self._wait(limit, "worker")
        while self.api is not None and not self.api.answers():
            self._wait(limit, "API")

    def _wait(self, limit: float, what: str) -> None:
        self.check()
        if time.monotonic() > limit:
            raise ProcessFailed(f"the {what} was not heard of within {READY_SECONDS:g} s")
        time.sleep(0.1)


@contextmanager
def running(
    settings: Settings, environment: Mapping[str, str], log: IO[bytes] | None = None, serve: bool = False
) -> Iterator[Stack]:
    """Store (the embedded one unless the settings name another), worker, and the API where `serve`.

    Ctrl-C and SIGTERM raise KeyboardInterrupt inside; on the way out the worker drains, then the store stops;
    a further Ctrl-C stops hard. Raises StoreUnavailable, ProcessFailed.
    """
    from closegap.store.embedded import EmbeddedStore

    require_workers()
    with interruptible(), ExitStack() as stack:
        store = EmbeddedStore(settings.home) if settings.redis_url is None else None
        if store is not None:
            stack.callback(store.stop)
            store.start()
        service = StoreService(settings)
        service.workers()  # an unreachable store is told here
        worker = Child(["worker"], environment, log)
        stack.callback(worker.stop, settings.grace_seconds + _STOP_MARGIN_SECONDS)
        api = stack.enter_context(served(settings, environment, log)) if serve else None
        yield Stack(service, worker, store, api)
