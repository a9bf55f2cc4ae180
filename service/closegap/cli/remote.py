"""The port on a service over HTTP: what the commands ask, asked by the client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from closegap.cli import comparison
from closegap.cli.errors import UsageError
from closegap.cli.service import EncoderFile, Listing, Service, not_exported
from closegap.client import documents, events
from closegap.client.connection import read
from closegap.client.documents import JobPage, Plan, Projects, Version, Workers
from closegap.client.errors import Conflict, SpecProblems
from closegap.client.job import Job as Handle
from closegap.client.models import Model, Models
from closegap.job import Position, Project, Worker

if TYPE_CHECKING:
    from datetime import timedelta

    from closegap.access.token import Created, Role, Token
    from closegap.cli.comparison import Compared
    from closegap.client.client import Client
    from closegap.client.selection import Selection
    from closegap.errors import Problem
    from closegap.job import Event, Job
    from closegap.queue.entry import Entry
    from closegap.queue.selector import Selector
    from closegap.specs.spec import Spec

_LARGEST_PAGE = 500


@final
class RemoteService(Service):
    """A service that a context names. Who did what, it writes down itself."""

    pause_seconds = 1.0

    def __init__(self, client: Client) -> None:
        self.client = client

    # --- jobs ---------------------------------------------------------------------------------------------------

    def problems(self, specs: Sequence[Spec]) -> Sequence[Problem]:
        """As the service reads them. Files of data are where its workers are; nobody looks at those before."""
        try:
            self.client.validate(_one_or_all(specs))
        except SpecProblems as error:
            return error.problems
        return ()

    def submit(self, specs: Sequence[Spec], key: str | None, project: str | None) -> list[Job]:
        made = self.client.submit(_one_or_all(specs), key=key, project=project)
        return [job.record for job in (made if isinstance(made, list) else [made])]

    def plan(self, specs: Sequence[Spec], project: str | None) -> Plan:
        return self.client.plan(_one_or_all(specs), project=project)

    def get(self, job: str) -> Job:
        return self.client.job(job).record

    def jobs(self, meant: Selector, limit: int) -> Listing:
        found: list[Job] = []
        positions: dict[str, Position] = {}
        for page in self.client.pages(size=min(limit, _LARGEST_PAGE), waiting=True, **_selection(meant)):
            found += page.jobs
            positions |= {
                name: Position(why.place, why.reason, why.unblocked_by) for name, why in page.waiting.items()
            }
            if len(found) >= limit:
                break
        return Listing(found[:limit], positions)

    def position(self, job: Job) -> Position:
        found = Handle(self.client.connection, job).position()
        return Position(found.place, found.reason, found.unblocked_by)

    def cancel(self, jobs: Sequence[str]) -> list[Job]:
        return [job.cancel().record for job in self._all(jobs)]

    def cancel_all(self, meant: Selector) -> list[Job]:
        chosen = _selection(meant)
        left = set(self.client.cancel_all(every=not chosen, **chosen))
        chosen.pop("state", None)  # they have others by now
        after: list[Job] = []
        for page in self.client.pages(size=_LARGEST_PAGE, **chosen):
            after += [job for job in page.jobs if job.id in left]
            if len(after) == len(left):
                break
        return after

    def pause(self, jobs: Sequence[str]) -> list[Job]:
        return [job.pause().record for job in self._all(jobs)]

    def resume(self, jobs: Sequence[str]) -> list[Job]:
        return [job.resume().record for job in self._all(jobs)]

    def change(self, job: str, priority: int | None, labels: Mapping[str, str | None] | None) -> Job:
        return self.client.job(job).change(priority=priority, labels=labels).record

    def retry(self, job: str) -> list[Job]:
        path = f"/v1/jobs/{self.client.job(job).id}:retry"
        response = self.client.connection.send("POST", path, repeatable=False)
        return list(read(JobPage, response).jobs)

    def events(self, job: str, after: str = "0") -> list[Event]:
        return list(events.page(self.client.connection, job, after).events)

    def follow(self, job: str, after: str = "0") -> Iterator[Event]:
        return events.follow(self.client.connection, job, after)

    def comparison(self, job: Job) -> Compared:
        handle = Handle(self.client.connection, job)
        with tempfile.TemporaryDirectory() as folder:
            handle.download("comparison/table.json", folder)
            base = f"{self.client.connection.url}/v1/jobs/{job.id}/artifacts/comparison"
            return comparison.of_folder(Path(folder), base)

    def _all(self, jobs: Sequence[str]) -> list[Handle]:
        """All are known before anything is done to the first."""
        return [self.client.job(job) for job in jobs]

    # --- models -------------------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in self.client.models.list():
            registry = Models(self.client.connection, name.project)
            for version in registry.versions(name.name).versions:
                found.append(_facts(self._place(version), registry, version))
        return found

    def model(self, reference: str) -> dict[str, Any]:
        found = self.client.models.get(reference)
        return {
            "digest": found.digest,
            "kind": found.facts.bundle.kind,
            "path": self._place(found),
            "lineage": dict(found.lineage),
            "files": {
                file.name: {"sha256": file.sha256, "bytes": file.bytes} for file in found.facts.bundle.files
            },
        }

    def rebuild(self) -> tuple[int, Sequence[str]]:
        raise UsageError(
            f"models --rebuild works where the storage is, not through a service ({self.client.connection.url}); "
            "`closegap --context local models --rebuild` there"
        )

    @contextmanager
    def encoder(self, model: str) -> Iterator[EncoderFile]:
        found = self.client.models.get(model)
        if not found.facts.encodes:
            raise UsageError(not_exported(model, found.facts.bundle.kind, found.digest))
        with tempfile.TemporaryDirectory() as folder:
            yield EncoderFile(found.download(Path(folder) / "encoder.onnx", "encoder.onnx"), found.digest)

    def _place(self, version: Version | Model) -> str:
        return f"{self.client.connection.url}/v1/models/{version.name}/versions/{version.version}"

    # --- the team -----------------------------------------------------------------------------------------------

    def projects(self, project: str | None) -> list[Project]:
        if project is not None:
            return [self.client.connection.get(Project, f"/v1/projects/{project}")]
        return list(self.client.connection.get(Projects, "/v1/projects").projects)

    def limit(self, project: str, running: int | None, gpus: float | None) -> Project:
        bounds = {"running": running, "gpus": gpus}
        response = self.client.connection.send("PUT", f"/v1/projects/{project}", repeatable=True, json=bounds)
        return read(Project, response)

    def workers(self) -> list[Worker]:
        return list(self.client.connection.get(Workers, "/v1/workers").workers)

    def drain(self, worker: str, now: bool) -> Worker:
        return self._of_worker(worker, "drain", {"now": now})

    def undrain(self, worker: str) -> Worker:
        return self._of_worker(worker, "undrain", {})

    def _of_worker(self, worker: str, action: str, query: Mapping[str, bool]) -> Worker:
        path = f"/v1/workers/{worker}:{action}"
        return read(Worker, self.client.connection.send("POST", path, repeatable=True, query=query))

    def audit(self) -> Iterator[Entry]:
        query: dict[str, Any] = {"limit": _LARGEST_PAGE}
        while True:
            page = self.client.connection.get(documents.Changes, "/v1/audit", query)
            yield from page.entries
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def tokens(self) -> list[Token]:
        return list(self.client.connection.get(documents.Tokens, "/v1/tokens").tokens)

    def create_token(
        self, name: str, role: Role, projects: Sequence[str] | None, expires: timedelta | None
    ) -> Created:
        from closegap.access.token import Created

        seconds = None if expires is None else int(expires.total_seconds())
        body = {"name": name, "role": role, "projects": projects, "expires_seconds": seconds}
        response = self.client.connection.send("POST", "/v1/tokens", repeatable=False, json=body)
        made = read(documents.NewToken, response)
        return Created(made.token, made.secret)

    def revoke_token(self, token: str) -> Token:
        from closegap.access.token import Token

        return read(Token, self.client.connection.send("DELETE", f"/v1/tokens/{token}", repeatable=False))


def _one_or_all(specs: Sequence[Spec]) -> Any:
    """One stands alone, so that pointers into it have no number before them."""
    return specs[0] if len(specs) == 1 else list(specs)


def _selection(meant: Selector) -> Selection:
    """A selector in the client's words."""
    found: Selection = {}
    if meant.projects is not None:
        found["project"] = sorted(meant.projects)
    if meant.states is not None:
        found["state"] = sorted(meant.states)
    if meant.kinds is not None:
        found["kind"] = sorted(meant.kinds)
    if meant.labels:
        found["label"] = meant.labels
    return found


def _facts(place: str, registry: Models, version: Version) -> dict[str, Any]:
    """A version, and what its bundle says; `problem` when the bundle is not whole."""
    known = version.model_dump(mode="json")
    try:
        found = registry.get(f"{version.name}/{version.version}")
    except Conflict as error:
        return known | {"problem": str(error)}
    summary = (found.metrics or {}).get("summary") or {}
    return known | {
        "path": place,
        "valid_elbo": summary.get("valid_elbo"),
        "encoder": found.facts.encodes,
        "problem": "",
    }
