"""The Ray cluster: one given by its address, or an embedded head that lives exactly as long as its worker.

`python -m closegap_workers ray` (`keep`) is a small process between the worker and Ray. It starts `ray start --head
--block`, says on stdout where the cluster is, and takes everything of Ray with it when it ends or its parent does.
The worker itself never imports Ray: a crash of Ray's libraries cannot take it along.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, final

from closegap.settings import environment
from closegap_workers.process import adopt_orphans, children, die_with_parent, end, strangers

START_SECONDS = 120.0
_STARTS = 3
_SOCKET_FOLDER = 40
"""Characters of a temporary folder under which Ray's socket paths stay below the kernel's 107."""
_RAYS_OWN = "r"
"""Ray opens its temporary folder to everybody (mode 0777), so it gets one inside of ours, which is private."""
_OBJECT_STORE = 128 << 20
"""Bytes of shared memory: only small values cross Ray, data is read from files."""
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # also the pace of ray.train.report: 2 s by default
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # else Tune draws tables in spite of verbose=0
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # what a killed sweep can lose
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class ClusterError(Exception):
    """The cluster did not start or cannot be reached; says which and why."""


@dataclass(frozen=True)
class Cluster:
    """Where Ray is and what it has in all."""

    address: str
    cpus: float
    gpus: float
    token: str | None
    """Path of the token file; None: what the environment says."""

    def variables(self) -> dict[str, str]:
        """Environment of every process that speaks with this cluster."""
        auth = {} if self.token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": self.token}
        return VARIABLES | auth | {"RAY_ADDRESS": self.address}


def token_file(home: Path) -> Path:
    """The token of the embedded cluster, made on first use, readable by its owner only. Raises OSError."""
    path = home / "ray-token"
    home.mkdir(parents=True, exist_ok=True)  # `closegap run` may be the first to use it
    if path.exists():
        return path
    handle, begun = tempfile.mkstemp(prefix=".ray-token-", dir=home)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(
            FileExistsError
        ):  # another process has made it meanwhile: one token for both
            os.link(begun, path)  # whole, or not there: nobody ever reads half of it
    finally:
        os.unlink(begun)
    return path


def _environment(token: str | None, address: str | None) -> dict[str, str]:
    """Of the keeper, and so of every Ray process: nothing of the store, and of this cluster's token only."""
    auth = {} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}
    return environment(**VARIABLES, **auth, CLOSEGAP_REDIS_URL=None, RAY_ADDRESS=address)


# --- the worker's side ------------------------------------------------------------------------------------


@final
class Keeper:
    """Handle of the keeping process; made by the worker's main thread (the kernel watches that thread)."""

    def __init__(self, home: Path, address: str | None, cpus: int | None = None) -> None:
        self._given = address is not None
        token = None if address else str(token_file(home))
        self._folder = None if address else _short_folder()
        order = {"parent": os.getpid(), "do": "keep", "address": address, "cpus": cpus, "token": token}
        order["folder"] = None if self._folder is None else str(self._folder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "closegap_workers", "ray"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal reaches the worker alone
            env=_environment(token, address),
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode())
        self._process.stdin.close()

    def ready(self, abandoned: Callable[[], bool], timeout: float = START_SECONDS) -> Cluster:
        """Wait until the cluster answers. Raises ClusterError, also when the wait is abandoned."""
        assert self._process.stdout is not None
        limit, said = time.monotonic() + timeout, b""
        while not said.endswith(b"\n"):
            if abandoned() or time.monotonic() > limit:
                self.stop()
                raise ClusterError(f"Ray was not ready within {timeout:g} s, or was told to stop before")
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                part = os.read(self._process.stdout.fileno(), 65536)
                if not part:
                    raise ClusterError(f"the keeper of Ray ended with status {self._process.wait()}")
                said += part
        answer = json.loads(said)
        if "error" in answer:
            raise ClusterError(answer["error"])
        return Cluster(**answer)

    def alive(self) -> bool:
        """Whether the cluster still runs; one that was given by its address is taken to run."""
        return self._process.poll() is None or self._given

    def stop(self, grace: float = 15.0, adopted: bool = False) -> None:
        """End the embedded cluster and all its processes; a given one is left alone.

        adopted: this process inherits orphans and has no children now but this and its own, so that what a keeper
        left that was itself killed is ended here.
        """
        assert self._process.stdout is not None
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        if adopted:
            end(lambda: strangers(()), grace=2.0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


# --- the keeping process ----------------------------------------------------------------------------------


def keep(order: dict[str, Any]) -> int:
    """Body of `python -m closegap_workers ray`: keep the embedded head, or look once at the given cluster."""
    die_with_parent(signal.SIGTERM, order["parent"])
    answer = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not look like an answer
    try:
        if order["address"]:
            _say(answer, asdict(_look(order["address"], None)))
            return 0
        return _keep_head(Path(order["folder"]), order["cpus"], order["token"], answer)
    except ClusterError as error:
        _say(answer, {"error": str(error)})
        return 1


def _say(answer: IO[str], value: dict[str, Any]) -> None:
    answer.write(json.dumps(value) + "\n")
    answer.flush()


def _keep_head(folder: Path, cpus: int | None, token: str, answer: IO[str]) -> int:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    adopt_orphans()
    known = children()
    try:
        head, cluster = _start(folder / _RAYS_OWN, cpus, token, ended)
        if cluster is not None:
            _say(answer, asdict(cluster))
        while not ended.wait(0.5) and head.poll() is None:
            continue
        return 0 if ended.is_set() else 1
    finally:
        end(lambda: strangers(known), grace=2.0)
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> Path:
    """A new folder that only its owner can enter."""
    folder = Path(tempfile.mkdtemp(prefix="cg-ray-"))
    if len(str(folder / _RAYS_OWN)) <= _SOCKET_FOLDER:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="cg-ray-", dir="/tmp"))


def _start(
    folder: Path, cpus: int | None, token: str, ended: threading.Event
) -> tuple[subprocess.Popen[bytes], Cluster | None]:
    """Ray gives its node 30 s to come up, which a loaded machine can exceed: it is tried again."""
    known = children()
    log = folder.parent / "start.log"
    for _ in range(_STARTS):
        with log.open("wb") as output:
            head = subprocess.Popen(
                _command(folder, cpus), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        address = folder / "ray_current_cluster"
        limit = time.monotonic() + START_SECONDS / 2
        while head.poll() is None and time.monotonic() < limit and not ended.is_set():
            if address.exists() and "--block" in log.read_text(errors="replace"):
                return head, _look(address.read_text().strip(), token)
            time.sleep(0.1)
        if ended.is_set():
            return head, None
        end(lambda: strangers(known), grace=2.0)
        address.unlink(missing_ok=True)
    raise ClusterError(
        f"the embedded Ray did not start in {_STARTS} tries:\n{log.read_text(errors='replace')[-2000:]}"
    )


def _command(folder: Path, cpus: int | None) -> list[str]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port=0"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"]
    command += ["--include-log-monitor=false", "--no-monitor", "--dashboard-agent-listen-port=0"]
    command += [f"--object-store-memory={_OBJECT_STORE}", f"--temp-dir={folder}"]
    return command + ([] if cpus is None else [f"--num-cpus={cpus}"])


def _look(address: str, token: str | None) -> Cluster:
    """Total resources. Raises ClusterError."""
    try:
        totals = state_of(address).total_resources_per_node().values()
    except Exception as error:  # Ray raises bare RuntimeError, ConnectionError and its own classes here
        raise ClusterError(f"no Ray cluster answers at {address}: {error}") from error
    cpus, gpus = (sum(node.get(name, 0.0) for node in totals) for name in ("CPU", "GPU"))
    return Cluster(address, cpus, gpus, token)


def state_of(address: str) -> Any:
    """The cluster's state, asked of Ray's control service without joining it. Raises what Ray raises."""
    from ray import _raylet
    from ray._private import state as private

    state: Any = private.GlobalState()  # type: ignore[no-untyped-call]
    state._initialize_global_state(
        _raylet.GcsClientOptions.create(  # type: ignore[attr-defined]
            address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=True
        )
    )
    return state
