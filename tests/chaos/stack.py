"""The service as real processes: a store, a wire that can be torn, APIs on loopback ports, workers, one Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, final

import psutil
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from closegap.access.local_token import file_of
from closegap.api.server import listening, url
from closegap.cli.processes import Child
from closegap.settings import Settings, environment
from closegap.store.address import Address
from closegap.store.embedded import EmbeddedStore
from closegap_workers.cluster import Cluster
from tests.chaos.history import Hit

READY_SECONDS = 120.0


class Running(NamedTuple):
    """A job that is owned: by which worker (its place, process and name), and the attempt's process if there is one."""

    place: int
    worker: int
    job: str
    attempt: int
    pid: int | None
    owner: str
    state: str
    work: str


@final
class Stack:
    """Made, used and ended by the main thread: the kernel ends what a thread started when that thread ends.

    Members at odd places reach the store through the wire, the others by the home folder's address.
    """

    def __init__(
        self, folder: Path, cluster: Cluster, lease: float, grace: float, apis: int, workers: int
    ) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.settings = Settings.load(
            home=folder / "home", namespace="chaos", lease_seconds=lease, grace_seconds=grace
        )
        self.cluster = cluster
        self.store = EmbeddedStore(self.settings.home)
        self.store.start()
        self._wire_socket = folder / "wire"
        self._client: redis.Redis | None = None
        self.wire = self._start_wire()
        self._places = [listening("127.0.0.1", 0) for _ in range(apis)]
        self.urls = [url(place) for place in self._places]
        self.apis = [self._start_api(place) for place in range(apis)]
        self.workers = [self._start_worker(place) for place in range(workers)]
        self.fallen: list[str] = []
        """Members that ended though nobody had killed them."""
        self.suffering: set[int] = set()
        """Places of workers that a fault has struck and that was not healed yet."""
        self._down: set[tuple[str, int]] = set()
        self._known: dict[str, int] = {}
        """Processes of attempts, by job and number."""

    # --- members --------------------------------------------------------------------------------------------

    def _environment(self, place: int) -> dict[str, str]:
        settings = self.settings
        variables = self.cluster.variables() | {
            "CLOSEGAP_HOME": str(settings.home),
            "CLOSEGAP_STORAGE": settings.storage,
            "CLOSEGAP_NAMESPACE": settings.namespace,
            "CLOSEGAP_LEASE_SECONDS": str(settings.lease_seconds),
            "CLOSEGAP_GRACE_SECONDS": str(settings.grace_seconds),
            "CLOSEGAP_BACKOFF_SECONDS": "0.2",
            "CLOSEGAP_API_RATE": "10000",
            "CLOSEGAP_DATA_ROOTS": str(self.folder / "data"),
        }
        if place % 2:
            password = Address.read(settings.home).password.get_secret_value()
            variables["CLOSEGAP_REDIS_URL"] = f"unix://{self._wire_socket}?password={password}"
        return environment(**variables)

    def _start_wire(self) -> subprocess.Popen[bytes]:
        target = str(Address.read(self.settings.home).socket)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.wire", str(self._wire_socket), target],
            stdin=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )

    def _start_api(self, place: int) -> Child:
        descriptor = self._places[place].fileno()
        with (self.logs / f"api-{place}.log").open("ab") as log:
            return Child(
                ["--descriptor", str(descriptor)],
                self._environment(place),
                log,
                module="closegap.api",
                descriptors=[descriptor],
            )

    def _start_worker(self, place: int) -> Child:
        with (self.logs / f"worker-{place}.log").open("ab") as log:
            return Child(["worker"], self._environment(place), log)

    def ready(self) -> None:
        """Wait until every worker is heard of and the APIs' token is there."""
        limit = time.monotonic() + READY_SECONDS
        while len(self.client().hkeys("{chaos}:workers")) < len(self.workers) or not self.token():
            assert time.monotonic() < limit, "the service did not come up; see the logs"
            self.check()
            time.sleep(0.05)

    def token(self) -> str:
        """Of the APIs; empty until one has made it."""
        file = file_of(self.settings.home)
        return file.read_text().strip() if file.exists() else ""

    def down(self, what: str, place: int, is_down: bool) -> None:
        """Whether a member is meant to be down: it is not started again by `check` then."""
        (self._down.add if is_down else self._down.discard)((what, place))

    def check(self) -> None:
        """Start again what has ended; what nobody has killed is counted."""
        if ("store", 0) not in self._down and not self.store.running():
            self.store.start()
        for what, children, start in (
            ("api", self.apis, self._start_api),
            ("worker", self.workers, self._start_worker),
        ):
            for place, child in enumerate(children):
                if (what, place) not in self._down and child.ended():
                    if child.process.returncode != -signal.SIGKILL:
                        self.fallen.append(f"{what} {place} ended by itself: {child.process.returncode}")
                    children[place] = start(place)

    # --- what goes on ---------------------------------------------------------------------------------------

    def client(self) -> redis.Redis:
        """A client of the store itself, not through the wire, that tries once."""
        if self._client is None:
            address = Address.read(self.settings.home)
            self._client = redis.Redis(
                unix_socket_path=str(address.socket),
                password=address.password.get_secret_value(),
                decode_responses=True,
                socket_timeout=2.0,
                retry=Retry(NoBackoff(), 0),
            )
        return self._client

    def running(self) -> list[Running]:
        """Every job that is owned by a worker of ours that lives; none while the store is away."""
        try:
            client = self.client()
            ids = client.zrange("{chaos}:leases", 0, -1)
            with client.pipeline(transaction=False) as pipe:
                for job in ids:
                    pipe.hmget(f"{{chaos}}:job:{job}", "owner", "attempt", "state", "work")
                facts = pipe.execute()
        except RedisError:
            return []
        places = {child.process.pid: place for place, child in enumerate(self.workers)}
        found = []
        for job, (owner, attempt, state, work) in zip(ids, facts, strict=True):
            pid = int(owner.rsplit("-", 2)[1]) if owner else 0
            if pid in places and not self.workers[places[pid]].ended():
                process = self._attempt(pid, f"{job} {attempt}")
                found.append(Running(places[pid], pid, job, int(attempt), process, owner, state, work))
        return found

    def _attempt(self, worker: int, whose: str) -> int | None:
        """The process of an attempt. To look for it among all processes takes longer than some of its windows are."""
        known = self._known.get(whose)
        if known is None:
            known = _attempt_of(worker)
            if known is None or known in self._known.values():
                return None  # not there yet, or it is the one before
            self._known[whose] = known
        return known if _alive(known) else None

    def ranks(self) -> list[int]:
        """Processes of Ray train workers and of their controllers, in our cluster."""
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                title = process.cmdline()[:1]
            except psutil.Error:
                continue
            if title and title[0].startswith("ray::") and "Train" in title[0]:
                found.append(process.pid)
        return sorted(found)

    def hit(self, running: Running) -> Hit:
        """A running job as it is met now."""
        return Hit(
            running.job,
            running.attempt,
            running.owner,
            self.window(running),
            self._checkpoint(running.work),
        )

    def window(self, running: Running) -> str:
        """What its attempt is doing: one of `schedule.WINDOWS`."""
        if running.state == "claimed":
            return "claimed"
        if running.pid is None:
            return "ended"
        root = self.folder / "home" / "storage"
        if any((root / "staging").glob(f"{running.job}-{running.attempt}-*/manifest.json")):
            return "sealed"
        held = self._held(running.work)
        return "working" if held is not None and any(held.glob("*")) else "starting"

    def on_ray(self, running: Running) -> bool:
        """Whether it runs on ranks."""
        return any((self.folder / "home" / "storage" / "work" / running.work).glob("ray"))

    def _checkpoint(self, work: str) -> int:
        held = self._held(work)
        steps = [int(path.name.removeprefix("step-")) for path in held.glob("**/step-*")] if held else []
        return max(steps, default=0)

    def _held(self, work: str) -> Path | None:
        """What the newest attempt holds, which the next one takes over."""
        folder = self.folder / "home" / "storage" / "work" / work
        return max(folder.glob("held-*"), default=None)

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal to a process that this run has started; whether it was there."""
        try:
            ours = os.getpid() in [parent.pid for parent in psutil.Process(pid).parents()]
            assert ours, f"{pid} is no process of this run"
            os.kill(pid, number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False
        return True

    # --- the end --------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Drain the workers, then everything else. What was stopped is let go on first."""
        for child in (*self.workers, *self.apis):
            if not child.ended():
                os.kill(child.process.pid, signal.SIGCONT)
        for child in self.workers:
            if not child.ended():
                child.process.terminate()
        for child in (*self.workers, *self.apis):
            child.stop(30.0)
        self.wire.kill()
        self.wire.wait()
        assert self.wire.stdin is not None
        self.wire.stdin.close()
        for place in self._places:
            place.close()
        if self._client is not None:
            self._client.close()
        self.store.stop()


def _attempt_of(worker: int) -> int | None:
    """The process of the attempt that a worker runs."""
    try:
        for child in psutil.Process(worker).children():
            if "attempt" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                return child.pid
    except psutil.Error:
        return None
    return None


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
