"""What nobody needs any more: records, bundles and folders, found by who refers to them, and removed.

A pipeline goes as a whole, when all its jobs have been over for long enough and no job of another needs one of them.
A bundle stays that a job, a version in a registry, or a bundle that stays refers to, also by its lineage; and one that
was made to be registered, so that a lost registry can be rebuilt. What was written lately stays in any case: a running
attempt may not have said yet what it made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, final

from closegap.job import Job
from closegap.queue.fleet import REMEMBERED
from closegap.queue.queue import Queue
from closegap.queue.selector import ALL
from closegap.storage import folders
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import LINEAGE, Registry
from closegap_core.bundle import open_bundle
from closegap_core.errors import BundleError

ABANDONED = timedelta(hours=1)
"""A staging folder of a job that is recorded, but not of its current attempt, goes after this time."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{6,64}")
_STAGING = re.compile(r"(.+)-([0-9]+)-[0-9a-f]{8}")
_PAGE = 500


class Trace(NamedTuple):
    """What a collection has to know of a job: to whom it refers. The rest of its record, which is long, is let go."""

    id: str
    pipeline: str
    finished: datetime | None
    needs: tuple[str, ...]
    work: str
    owner: str | None
    attempt: int
    bundles: frozenset[str]
    """Digests, or beginnings of digests, in its spec and its outputs."""


@final
@dataclass(frozen=True)
class Garbage:
    """What goes. `bytes` are those of bundles and folders."""

    pipelines: tuple[str, ...]
    """Newest first, so that who needs goes before what is needed."""
    jobs: tuple[str, ...]
    bundles: tuple[str, ...]
    folders: tuple[Path, ...]
    workers: tuple[str, ...]
    bytes: int


def find(queue: Queue, artifacts: ArtifactStore, before: datetime) -> Garbage:
    """What would go if all that ended, or was written, `before` this time, and is needed by nobody, were removed.

    Raises StoreUnavailable, StorageError (a registry that cannot be read: then nothing is safe to remove).
    """
    recorded = list(_recorded(queue))
    jobs = _finished(recorded, before)
    gone = {job.id for job in jobs}
    kept = [job for job in recorded if job.id not in gone]
    bundles = _unneeded(kept, artifacts, before)
    left = _left(kept, artifacts, before)
    paths = [*(artifacts.place(digest) for digest in bundles), *left]
    return Garbage(
        pipelines=tuple(dict.fromkeys(job.pipeline for job in jobs)),
        jobs=tuple(job.id for job in jobs),
        bundles=tuple(bundles),
        folders=tuple(left),
        workers=tuple(
            worker.id for worker in queue.workers() if datetime.now(UTC) - worker.seen > REMEMBERED
        ),
        bytes=sum(folders.size(path) for path in paths),
    )


def collect(queue: Queue, artifacts: ArtifactStore, before: datetime) -> Garbage:
    """Remove it; what was removed. Raises as `find`."""
    found = find(queue, artifacts, before)
    # Each script looks again. What it leaves, because somebody came in between, is needed from here on.
    erased = [job for pipeline in found.pipelines for job in queue.erase(pipeline, before)]
    kept = list(_recorded(queue))
    bundles = {artifacts.place(digest): digest for digest in _unneeded(kept, artifacts, before)}
    freed = {path: folders.size(path) for path in [*bundles, *_left(kept, artifacts, before)]}
    removed = [path for path in freed if folders.remove(path, before)]
    for worker in found.workers:
        queue.forget(worker)
    return Garbage(
        pipelines=found.pipelines,
        jobs=tuple(erased),
        bundles=tuple(bundles[path] for path in removed if path in bundles),
        folders=tuple(path for path in removed if path not in bundles),
        workers=found.workers,
        bytes=sum(freed[path] for path in removed),
    )


def _recorded(queue: Queue) -> Iterator[Trace]:
    """Of every job, newest first; a page of records is held at a time."""
    cursor: str | None = None
    while True:
        page = queue.jobs(ALL, _PAGE, cursor)
        yield from map(_trace, page.jobs)
        cursor = page.cursor
        if cursor is None:
            return


def _trace(job: Job) -> Trace:
    return Trace(
        job.id,
        job.pipeline,
        job.finished,
        tuple(job.needs.values()),
        job.work,
        job.owner,
        job.attempt,
        frozenset(_DIGEST.findall(json.dumps([job.spec, job.outputs]))),
    )


def _finished(recorded: Iterable[Trace], before: datetime) -> list[Trace]:
    """Jobs of pipelines that have been over for long and that no other needs, newest first."""
    pipelines: dict[str, list[Trace]] = {}
    for job in recorded:
        pipelines.setdefault(job.pipeline, []).append(job)
    stay = {
        name
        for name, jobs in pipelines.items()
        if any(job.finished is None or job.finished >= before for job in jobs)
    }
    whose = {job.id: name for name, jobs in pipelines.items() for job in jobs}
    open_names = list(stay)
    for name in open_names:  # grows as it goes: what those need, and what that needs
        needed = {whose[need] for job in pipelines[name] for need in job.needs if need in whose}
        open_names += needed - stay
        stay |= needed
    return [job for name, jobs in pipelines.items() if name not in stay for job in jobs]


def _unneeded(kept: Iterable[Trace], artifacts: ArtifactStore, before: datetime) -> list[str]:
    """Digests of bundles to which nothing that stays refers."""
    lineages = {digest: _lineage(artifacts.place(digest)) for digest in artifacts.digests()}
    named = {reference for job in kept for reference in job.bundles}
    named |= {version.digest for registry in Registry.all(artifacts) for version in registry.list()}
    begun = tuple(named - lineages.keys())  # beginnings of digests, and bundles that are gone
    needed = {
        digest
        for digest, lineage in lineages.items()
        if lineage.get(LINEAGE)
        or folders.written(artifacts.place(digest)) >= before
        or digest in named
        or digest.startswith(begun)
    }
    waiting = list(needed)
    for digest in waiting:  # grows as it goes: parents of parents
        parents = {parent for parent in _DIGEST.findall(json.dumps(lineages[digest])) if parent in lineages}
        waiting += parents - needed
        needed |= parents
    return [digest for digest in lineages if digest not in needed]


def _left(kept: Iterable[Trace], artifacts: ArtifactStore, before: datetime) -> list[Path]:
    """Folders of work that no job goes on with, of attempts that are over, and of damaged bundles."""
    jobs = {job.id: job for job in kept}
    works = {job.work for job in jobs.values()}
    found = [path for path in folders.inside(artifacts.root / "work") if path.name not in works]
    found += [path for path in folders.inside(artifacts.root / "bundles") if "." in path.name]
    abandoned = min(before, datetime.now(UTC) - ABANDONED)
    over = []
    for path in folders.inside(artifacts.root / "staging"):
        whose = _STAGING.fullmatch(path.name)
        job = jobs.get(whose.group(1)) if whose else None
        if job is None or whose is None:
            found.append(path)
        elif job.owner is None or job.attempt != int(whose.group(2)):
            over.append(path)
    late = [path for path in found if folders.written(path) < before]
    return late + [path for path in over if folders.written(path) < abandoned]


def _lineage(path: Path) -> dict[str, Any]:
    """Of a bundle; a damaged one has none."""
    try:
        return open_bundle(path, verify=False).lineage
    except BundleError:
        return {}
