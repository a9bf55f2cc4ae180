"""What is known of a run when it is over: read from the store, the storage folder and the workers' logs."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any, final

from closegap.errors import ServiceError
from closegap.queue.queue import Queue
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core.errors import CoreError
from tests.chaos.history import Artefact, Ended
from tests.chaos.stack import Stack

_ENDED = re.compile(r"job ([\w-]+), attempt (\d+): (\w+)")
_LOST = "no longer owns job"


@final
class Watch:
    """A reader that looks at published folders as they appear, as any reader might."""

    def __init__(self, storage: str) -> None:
        self._store = ArtifactStore(storage)
        self._ended = threading.Event()
        self.seen: list[Artefact] = []
        self._thread = threading.Thread(target=self._look, name="watch")
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        known: set[str] = set()
        folder = self._store.root / "bundles"
        while not self._ended.wait(0.3):
            names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            self.seen += [artefact(self._store, name) for name in sorted(names - known)]
            known |= names


def artefact(store: ArtifactStore, name: str) -> Artefact:
    """A folder under `bundles`, read to its last byte."""
    digest = f"sha256:{name}"
    try:
        found = store.open(digest)
    except (ServiceError, CoreError, OSError) as error:
        return Artefact(digest, f"{type(error).__name__}: {error}")
    weights = found.files.get("weights.safetensors") if "encoder.onnx" not in found.files else None
    job = str(found.lineage.get("job", ""))
    return Artefact(digest, "", job, found.kind, weights.sha256 if weights else "")


def artefacts(storage: str) -> tuple[Artefact, ...]:
    """Every one that is there."""
    store = ArtifactStore(storage)
    return tuple(artefact(store, path.name) for path in sorted((store.root / "bundles").iterdir()))


def registered(storage: str) -> tuple[tuple[str, int, str, str], ...]:
    """Every version of every name."""
    versions = Registry(ArtifactStore(storage)).list()
    return tuple((version.name, version.version, version.digest, version.job) for version in versions)


def records(stack: Stack) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Every job and its events."""
    client = stack.client()
    queue = Queue(client, stack.settings.namespace)
    jobs: dict[str, dict[str, Any]] = {}
    cursor = None
    while True:
        page = queue.jobs(limit=500, cursor=cursor)
        jobs |= {job.id: job.model_dump(mode="json") for job in page.jobs}
        cursor = page.cursor
        if cursor is None:
            break
    events = {}
    for job in jobs:
        rows: Any = client.xrange(f"{{chaos}}:events:{job}")
        events[job] = [
            {"type": row["type"], "time": int(row["time"]) / 1000, "data": json.loads(row["data"])}
            for _, row in rows
            if row["type"] in ("state", "end", "epoch", "wish")
        ]
    return jobs, events


def ended(logs: Path) -> tuple[tuple[Ended, ...], int]:
    """How attempts ended as their workers were told, and how often one was told that it owned its job no longer."""
    found: list[Ended] = []
    lost = 0
    for path in sorted(logs.glob("worker-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            lost += _LOST in line
            match = _ENDED.search(line)
            if match and match[3] in ("succeeded", "failed", "given"):
                found.append(Ended(match[1], int(match[2]), match[3]))
    return tuple(found), lost
