"""The port on this machine's own parts: the store that the settings name, and the storage beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from closegap.cli import comparison, parts
from closegap.cli.errors import UsageError
from closegap.cli.parts import actor
from closegap.cli.service import EncoderFile, Listing, Service, not_exported
from closegap.errors import Problem, ServiceError
from closegap_core.errors import BundleError

if TYPE_CHECKING:
    from datetime import timedelta

    from closegap.access.token import Created, Role, Token
    from closegap.cli.comparison import Compared
    from closegap.client.documents import Plan
    from closegap.job import Event, Job, Position, Project, Worker
    from closegap.queue.entry import Entry
    from closegap.queue.queue import Queue
    from closegap.queue.selector import Selector
    from closegap.settings import Settings
    from closegap.specs.spec import Spec
    from closegap.storage.artifacts import ArtifactStore
    from closegap.storage.registry import Registry, Version


_READ = 1 << 20
"""Files of so many bytes are read against their digests for the list, too; weights only for one model."""
_PAGE = 500
"""Entries of the audit stream that are read at once."""


@final
class StoreService(Service):
    """Opened part by part: what needs no store works without one. Every change is written into the audit stream."""

    pause_seconds = 0.25

    def __init__(self, settings: Settings, project: str | None = None) -> None:
        """`project`: absent, `default`."""
        from closegap.specs.references import DEFAULT_PROJECT

        self._settings, self._project = settings, project or DEFAULT_PROJECT

    @cached_property
    def _queue(self) -> Queue:
        return parts.open_queue(self._settings)

    @cached_property
    def _access(self) -> parts.Access:
        return parts.open_access(self._settings)

    @cached_property
    def _artifacts(self) -> ArtifactStore:
        return parts.open_artifacts(self._settings)

    @cached_property
    def _registry(self) -> Registry:
        from closegap.storage.registry import Registry

        return Registry(self._artifacts, self._project)

    # --- jobs ---------------------------------------------------------------------------------------------------

    def problems(self, specs: Sequence[Spec]) -> Sequence[Problem]:
        from closegap.cli.datacheck import problems

        return problems(specs)

    def submit(self, specs: Sequence[Spec], key: str | None, project: str | None) -> list[Job]:
        chosen = project or self._project
        with parts.traced("closegap submit") as span:
            return self._queue.submit(specs, key=key, actor=actor(), project=chosen, traceparent=span)

    def plan(self, specs: Sequence[Spec], project: str | None) -> Plan:
        from closegap.api import forecast
        from closegap.client.documents import Plan
        from closegap.queue.census import Census
        from closegap.store.store import connect

        census = Census(connect(self._settings), self._settings.namespace)
        found = forecast.plan(self._queue, census, specs, project or self._project)
        return Plan.model_validate(found.model_dump())

    def get(self, job: str) -> Job:
        return self._queue.get(job)

    def jobs(self, meant: Selector, limit: int) -> Listing:
        found = self._queue.jobs(meant, limit).jobs
        waiting = [job for job in found if job.state in ("blocked", "queued", "paused")]
        places = self._queue.positions(waiting)
        return Listing(found, {job.id: place for job, place in zip(waiting, places, strict=True)})

    def position(self, job: Job) -> Position:
        return self._queue.positions([job])[0]

    def cancel(self, jobs: Sequence[str]) -> list[Job]:
        return self._each("job.cancel", jobs, self._queue.cancel)

    def cancel_all(self, meant: Selector) -> list[Job]:
        after = self._queue.cancel_all(meant, actor=actor())
        self._access.audit.record_jobs(actor(), "job.cancel", after)
        return after

    def pause(self, jobs: Sequence[str]) -> list[Job]:
        return self._each("job.pause", jobs, self._queue.pause)

    def resume(self, jobs: Sequence[str]) -> list[Job]:
        return self._each("job.resume", jobs, self._queue.resume)

    def change(self, job: str, priority: int | None, labels: Mapping[str, str | None] | None) -> Job:
        after = self._queue.change(job, priority=priority, labels=labels, actor=actor())
        self._access.audit.record_jobs(actor(), "job.change", [after])
        return after

    def retry(self, job: str) -> list[Job]:
        with parts.traced("closegap retry") as span:
            return self._queue.retry(job, actor=actor(), traceparent=span)

    def events(self, job: str, after: str = "0") -> list[Event]:
        return self._queue.events(job, after)

    def follow(self, job: str, after: str = "0") -> Iterator[Event]:
        return self._queue.follow(job, after)

    def comparison(self, job: Job) -> Compared:
        return comparison.of_folder(Path(job.outputs["path"]))

    def _each(self, action: str, jobs: Sequence[str], act: Callable[[str, str], Job]) -> list[Job]:
        ids = [self._queue.get(job).id for job in jobs]  # all are known before anything is done to the first
        after = [act(identifier, actor()) for identifier in ids]
        self._access.audit.record_jobs(actor(), action, after)
        return after

    # --- models -------------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, Any]]:
        return [_facts(self._artifacts, version) for version in self._registry.list()]

    def model(self, reference: str) -> dict[str, Any]:
        bundle = self._registry.resolve(reference)
        return {
            "digest": bundle.digest,
            "kind": bundle.kind,
            "path": str(bundle.path),
            "lineage": bundle.lineage,
            "files": {name: entry.model_dump() for name, entry in bundle.files.items()},
        }

    def rebuild(self) -> tuple[int, Sequence[str]]:
        added, damaged = self._registry.rebuild()
        return len(added), damaged

    @contextmanager
    def encoder(self, model: str) -> Iterator[EncoderFile]:
        bundle = self._registry.resolve(model)
        if "encoder.onnx" not in bundle.files:
            raise UsageError(not_exported(model, bundle.kind, bundle.digest))
        yield EncoderFile(bundle.file("encoder.onnx"), bundle.digest)

    # --- the team -----------------------------------------------------------------------------------------------

    def projects(self, project: str | None) -> list[Project]:
        return self._queue.projects(None if project is None else [project])

    def limit(self, project: str, running: int | None, gpus: float | None) -> Project:
        after = self._queue.limit(project, running, gpus)
        self._access.audit.record(actor(), "project.limit", project, project)
        return after

    def workers(self) -> list[Worker]:
        return self._queue.workers()

    def drain(self, worker: str, now: bool) -> Worker:
        after = self._queue.drain(worker, now, actor())
        self._access.audit.record(actor(), "worker.drain", "", after.id)
        return after

    def undrain(self, worker: str) -> Worker:
        after = self._queue.undrain(worker)
        self._access.audit.record(actor(), "worker.undrain", "", after.id)
        return after

    def audit(self) -> Iterator[Entry]:
        cursor: str | None = None
        while True:
            page = self._access.audit.read(_PAGE, cursor)
            yield from page.entries
            if (cursor := page.cursor) is None:
                return

    def tokens(self) -> list[Token]:
        return self._access.tokens.list()

    def create_token(
        self, name: str, role: Role, projects: Sequence[str] | None, expires: timedelta | None
    ) -> Created:
        made = self._access.tokens.create(name, role, projects, expires, actor())
        self._access.audit.record(actor(), "token.create", ",".join(sorted(projects or ())), made.token.id)
        return made

    def revoke_token(self, token: str) -> Token:
        after = self._access.tokens.revoke(token)
        self._access.audit.record(actor(), "token.revoke", "", token)
        return after


def _facts(artifacts: ArtifactStore, version: Version) -> dict[str, Any]:
    """A version, and what its bundle says; `problem` when the bundle is not whole, or something in it was altered."""
    from closegap.api.sessions import verified

    known = version.model_dump(mode="json")
    try:
        bundle = artifacts.open(version.digest, verify=False)
        for name, facts in bundle.files.items():
            if facts.bytes <= _READ:
                verified(bundle, name)
        metrics = json.loads(verified(bundle, "metrics.json"))
        elbo = metrics.get("summary", {}).get("valid_elbo")
    except (ServiceError, BundleError, ValueError) as error:
        return known | {"problem": str(error)}
    return known | {
        "path": str(bundle.path),
        "valid_elbo": elbo,
        "encoder": "encoder.onnx" in bundle.files,
        "problem": "",
    }
