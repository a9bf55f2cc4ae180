"""The kinds of faults. Each looks for a victim at the planned moment, strikes it, and later lets it come back."""

from __future__ import annotations

import resource
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar, final

from tests.chaos.history import Hit
from tests.chaos.schedule import Planned
from tests.chaos.stack import Running, Stack

T = TypeVar("T")
Busy = Callable[[int], int]
"""How many requests an API is answering, by its place."""


class Fault(ABC):
    """One fault on its way. Only processes that this run has started are ever touched."""

    kind: ClassVar[str]
    needs: ClassVar[str | None] = None
    """Kind of work that must be there for it."""
    instead: ClassVar[dict[str, str]] = {}
    """Windows in which there is nothing to strike, and the one that is waited for in their place."""

    def __init__(self, planned: Planned, stack: Stack, busy: Busy, moment: float) -> None:
        """`moment`: seconds that are waited for the planned window; then any will do."""
        self.planned, self.stack, self.busy = planned, stack, busy
        self.met = 0
        self.places: tuple[int, ...] = ()
        """Workers that are dead or stand still until `heal`: no other fault strikes them meanwhile."""
        self._moment = time.monotonic() + moment

    @abstractmethod
    def strike(self) -> list[Hit] | None:
        """Do it, and which running jobs it met; None where there is nothing to strike yet."""

    def heal(self) -> None:
        """Undo it: start what was killed, let go on what was stopped. Of some there is nothing to undo."""
        return

    def one(self, of: Sequence[T]) -> T:
        """The victim that the plan picks."""
        return of[int(self.planned.pick * len(of))]

    def victim(self) -> Running | None:
        """A running job in the planned window; after a while in any."""
        running = [one for one in self.stack.running() if one.place not in self.stack.suffering]
        wanted = self.instead.get(self.planned.window, self.planned.window)
        inside = [one for one in running if self.stack.window(one) == wanted]
        if inside:
            return self.one(inside)
        patient = time.monotonic() < self._moment
        return None if patient or not running else self.one(running)


class OfAttempt(Fault):
    """Strikes the process of an attempt."""

    instead: ClassVar[dict[str, str]] = {"claimed": "starting", "ended": "sealed"}

    def strike(self) -> list[Hit] | None:
        victim = self.victim()
        if victim is None or victim.pid is None:
            return None
        # It stands still while we look, so that the window is the one in which it is struck.
        if not self.stack.signal(victim.pid, signal.SIGSTOP):
            return None
        hit = self.stack.hit(victim)
        self.touch(victim.pid)
        return [hit]

    @abstractmethod
    def touch(self, pid: int) -> None:
        """What is done to it; it is stopped now."""


@final
class AttemptKill(OfAttempt):
    """An attempt dies."""

    kind = "attempt-kill"

    def touch(self, pid: int) -> None:
        self.stack.signal(pid, signal.SIGKILL)


@final
class AttemptPause(OfAttempt):
    """An attempt stands still, while its worker keeps the lease."""

    kind = "attempt-pause"
    _pid = 0

    def touch(self, pid: int) -> None:
        self._pid = pid

    def heal(self) -> None:
        self.stack.signal(self._pid, signal.SIGCONT)


@final
class AttemptFull(OfAttempt):
    """No file of an attempt may grow beyond some bytes any more, as on a disk that is full: its writes fail."""

    kind = "attempt-full"

    def touch(self, pid: int) -> None:
        _limit_files(pid, 300)
        self.stack.signal(pid, signal.SIGCONT)


class OfWorker(Fault):
    """Strikes a worker that owns a job."""

    place = 0

    def strike(self) -> list[Hit] | None:
        victim = self.victim()
        if victim is None or not self.stack.signal(victim.worker, signal.SIGSTOP):
            return None
        self.place, self.places = victim.place, (victim.place,)
        hit = self.stack.hit(victim)
        self.touch(victim)
        return [hit]

    @abstractmethod
    def touch(self, victim: Running) -> None:
        """What is done to it; it is stopped now."""


@final
class WorkerKill(OfWorker):
    """A worker dies, and its attempt with it."""

    kind = "worker-kill"

    def touch(self, victim: Running) -> None:
        self.stack.down("worker", self.place, True)
        self.stack.signal(victim.worker, signal.SIGKILL)

    def heal(self) -> None:
        self.stack.down("worker", self.place, False)


@final
class WorkerPause(OfWorker):
    """A worker stands still for longer than its lease, while its attempt goes on: both wake up as strangers."""

    kind = "worker-pause"
    _pid = 0

    def touch(self, victim: Running) -> None:
        self._pid = victim.worker

    def heal(self) -> None:
        self.stack.signal(self._pid, signal.SIGCONT)


@final
class MachinePause(OfWorker):
    """A worker and its attempt stand still for longer than the lease, as on a machine that sleeps."""

    kind = "machine-pause"
    _pids: tuple[int, ...] = ()

    def touch(self, victim: Running) -> None:
        self._pids = (victim.worker,)
        if victim.pid is not None and self.stack.signal(victim.pid, signal.SIGSTOP):
            self._pids = (victim.pid, victim.worker)

    def heal(self) -> None:
        for pid in self._pids:
            self.stack.signal(pid, signal.SIGCONT)


@final
class RankKill(Fault):
    """A process of a Ray train run dies: a rank, or the run's controller."""

    kind = "rank-kill"
    needs = "ranks"

    def strike(self) -> list[Hit] | None:
        ranks = self.stack.ranks()
        running = [one for one in self.stack.running() if self.stack.on_ray(one)]
        if not ranks or not running or not self.stack.signal(self.one(ranks), signal.SIGKILL):
            return None
        return [self.stack.hit(one) for one in running]


class OfStore(Fault):
    """Strikes the store while jobs are owned."""

    def strike(self) -> list[Hit] | None:
        running = self.stack.running()
        pid = self.stack.store.pid
        if not running or pid is None:
            return None
        hits = [self.stack.hit(one) for one in running]
        self.touch(pid)
        return hits

    @abstractmethod
    def touch(self, pid: int) -> None:
        """What is done to it."""


@final
class StoreKill(OfStore):
    """The store dies."""

    kind = "store-kill"

    def touch(self, pid: int) -> None:
        self.stack.down("store", 0, True)
        self.stack.signal(pid, signal.SIGKILL)

    def heal(self) -> None:
        self.stack.down("store", 0, False)


@final
class StorePause(OfStore):
    """The store stands still."""

    kind = "store-pause"
    _pid = 0

    def touch(self, pid: int) -> None:
        self._pid = pid
        self.stack.signal(pid, signal.SIGSTOP)

    def heal(self) -> None:
        self.stack.signal(self._pid, signal.SIGCONT)


@final
class StoreFull(OfStore):
    """The store's file may grow by a few thousand bytes more, as on a disk that is almost full: it dies of that."""

    kind = "store-full"
    _pid = 0

    def touch(self, pid: int) -> None:
        self._pid = pid
        folder = self.stack.settings.home / "store" / "appendonlydir"
        size = max(path.stat().st_size for path in folder.glob("*.incr.aof"))
        _limit_files(pid, size + 3000)

    def heal(self) -> None:
        """It is started again by `check` when it has died."""
        self.met = int(self.stack.store.pid != self._pid)
        if not self.met:
            _limit_files(self._pid, resource.RLIM_INFINITY)


@final
class ApiKill(Fault):
    """An API dies in the middle of a request."""

    kind = "api-kill"
    _place = 0

    def strike(self) -> list[Hit] | None:
        self._place = int(self.planned.pick * len(self.stack.apis))
        child, running = self.stack.apis[self._place], self.stack.running()
        if child.ended() or not self.busy(self._place) or not running:
            return None
        self.met = self.busy(self._place)
        self.stack.down("api", self._place, True)
        self.stack.signal(child.process.pid, signal.SIGKILL)
        return [self.stack.hit(one) for one in running]

    def heal(self) -> None:
        self.stack.down("api", self._place, False)


class OfWire(Fault):
    """Tears the wire between half of the members and the store while a job behind it is owned."""

    order: ClassVar[str]

    def strike(self) -> list[Hit] | None:
        running = [
            one for one in self.stack.running() if one.place % 2 and one.place not in self.stack.suffering
        ]
        if not running:
            return None
        hits = [self.stack.hit(one) for one in running]
        self.places = tuple(range(1, len(self.stack.workers), 2))
        assert self.stack.wire.stdin is not None
        self.stack.wire.stdin.write(f"{self.order} {self.planned.lasts}\n".encode())
        self.stack.wire.stdin.flush()
        return hits


@final
class WireMute(OfWire):
    """What is asked arrives, but the answers are lost."""

    kind, order = "wire-mute", "mute"


@final
class WireCut(OfWire):
    """Nothing passes, for longer than a lease."""

    kind, order = "wire-cut", "cut"


@final
class Blackout(Fault):
    """Everything dies at once."""

    kind = "blackout"

    def strike(self) -> list[Hit] | None:
        running = self.stack.running()
        if not running or self.stack.suffering:
            return None
        hits = [self.stack.hit(one) for one in running]
        self.places = tuple(range(len(self.stack.workers)))
        for what, children in (("worker", self.stack.workers), ("api", self.stack.apis)):
            for place, child in enumerate(children):
                self.stack.down(what, place, True)
                self.stack.signal(child.process.pid, signal.SIGKILL)
        self.stack.down("store", 0, True)
        if self.stack.store.pid is not None:
            self.stack.signal(self.stack.store.pid, signal.SIGKILL)
        return hits

    def heal(self) -> None:
        self.stack.down("store", 0, False)
        for what, children in (("worker", self.stack.workers), ("api", self.stack.apis)):
            for place in range(len(children)):
                self.stack.down(what, place, False)


KINDS: dict[str, type[Fault]] = {
    fault.kind: fault
    for fault in (
        AttemptKill, AttemptPause, AttemptFull, WorkerKill, WorkerPause, MachinePause, RankKill,
        StoreKill, StorePause, StoreFull, ApiKill, WireMute, WireCut, Blackout,
    )
}  # fmt: skip


def _limit_files(pid: int, size: int) -> None:
    """No file of a process may grow beyond so many bytes. The hard limit stays, so that this can be undone."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
