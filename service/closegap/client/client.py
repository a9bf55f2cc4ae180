"""The client: jobs are submitted, looked up and cancelled through it; models are looked up and encoded with."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack, final, overload

import httpx
from pydantic import BaseModel

from closegap.access import contexts
from closegap.client import selection, specs
from closegap.client.connection import Connection, read
from closegap.client.documents import (
    CancelledJobs,
    Code,
    Info,
    JobPage,
    Normalised,
    Plan,
    Whoami,
)
from closegap.client.errors import ClientError, NotFound
from closegap.client.job import Job
from closegap.client.models import Models
from closegap.client.retry import Retry
from closegap.client.selection import Selection
from closegap.client.specs import OneSpec, Specs
from closegap.job import Job as Record
from closegap.job import State
from closegap.settings import ClientSettings

_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PAGE = 200


@final
class Client:
    """One service. A context manager; safe to share between threads. Every method raises ClientError.

    with Client.from_env() as client:
        job = client.train(data={"source": "digits"}, model=…, inference="iterative", register="digits")
        job.wait()
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        project: str | None = None,
        transport: httpx.BaseTransport | None = None,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        """`project`: where jobs go and models are looked up; absent: the token's only one, or `default`.

        timeout: seconds for one answer; retry: how often and how long what is safe to send again is sent again.
        Raises ClientError: not an address.
        """
        self.connection = Connection(url, token, retry or Retry(), timeout, transport)
        self.project = project

    @classmethod
    def from_env(cls, context: str | None = None, **options: Any) -> Self:
        """The service of a context, or of CLOSEGAP_URL, CLOSEGAP_CONTEXT, or the context in use (`closegap login`).

        CLOSEGAP_TOKEN and CLOSEGAP_PROJECT win over what a context has. Raises ClientError where none of them names a
        service; SettingsError, NotFound.
        """
        chosen = contexts.chosen(ClientSettings.load(), context)
        if chosen is None:
            raise ClientError(
                "no service is named: log in to one with `closegap login URL`, or set CLOSEGAP_URL and CLOSEGAP_TOKEN"
            )
        return cls.of(chosen.context, **options)

    @classmethod
    def of(cls, context: contexts.Context, **options: Any) -> Self:
        """The service of a context."""
        return cls(context.url, context.secret(), context.project, **options)

    def close(self) -> None:
        """Let go of its sockets."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.connection.url}>"

    # --- submit -------------------------------------------------------------------------------------------------

    @overload
    def submit(
        self, spec: OneSpec, *, key: str | None = None, project: str | None = None, scale: str | None = None
    ) -> Job: ...

    @overload
    def submit(
        self,
        spec: Sequence[OneSpec] | str | Path,
        *,
        key: str | None = None,
        project: str | None = None,
        scale: str | None = None,
    ) -> list[Job]: ...

    def submit(
        self, spec: Specs, *, key: str | None = None, project: str | None = None, scale: str | None = None
    ) -> Job | list[Job]:
        """Record jobs: one for one spec; a list of them for a pipeline, or for what a YAML file (its path) holds.

        All are recorded or none. The same `key` with the same specs gives the same jobs; without one, one is made, so
        that what is sent again after a broken connection is recorded once. scale: of a file with scales.

        Raises SpecProblems (everything that is wrong, with JSON pointers), Refused, KeyReused.
        """
        body = specs.body(spec)
        response = self.connection.send(
            "POST",
            "/v1/jobs",
            repeatable=True,
            query={"project": project or self.project, "scale": scale},
            content=body.content,
            headers={"Content-Type": body.media_type, "Idempotency-Key": key or secrets.token_hex(16)},
        )
        jobs = [Job(self.connection, record) for record in read(JobPage, response).jobs]
        return jobs[0] if isinstance(spec, Mapping | BaseModel) else jobs

    def train(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """Submit a spec of kind `train`; fields win over what the spec has. Raises SpecProblems, Refused."""
        return self.submit(specs.of_kind("train", spec, fields))

    def sweep(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """The same of kind `sweep`."""
        return self.submit(specs.of_kind("sweep", spec, fields))

    def evaluate(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """The same of kind `evaluate`."""
        return self.submit(specs.of_kind("evaluate", spec, fields))

    def export(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """The same of kind `export`."""
        return self.submit(specs.of_kind("export", spec, fields))

    def encode(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """The same of kind `encode`: a whole data set, by a worker. A few rows now: `models[…].encode`."""
        return self.submit(specs.of_kind("encode", spec, fields))

    def compare(self, spec: OneSpec | None = None, **fields: Any) -> Job:
        """The same of kind `compare`."""
        return self.submit(specs.of_kind("compare", spec, fields))

    def plan(self, spec: Specs, *, project: str | None = None, scale: str | None = None) -> Plan:
        """What would happen if this were submitted now. Records nothing. Raises SpecProblems."""
        return read(Plan, self._asked("plan", spec, project, scale))

    def validate(
        self, spec: Specs, *, project: str | None = None, scale: str | None = None
    ) -> tuple[dict[str, Any], ...]:
        """The specs as they are normalised, every default written out. Records nothing. Raises SpecProblems."""
        return read(Normalised, self._asked("validate", spec, project, scale)).specs

    def _asked(self, action: str, spec: Specs, project: str | None, scale: str | None) -> httpx.Response:
        body = specs.body(spec)
        return self.connection.send(
            "POST",
            f"/v1/jobs:{action}",
            repeatable=True,  # it records nothing
            query={"project": project or self.project, "scale": scale},
            content=body.content,
            headers={"Content-Type": body.media_type},
        )

    # --- jobs ---------------------------------------------------------------------------------------------------

    def job(self, identifier: str) -> Job:
        """By id, name (the newest) or the beginning of an id. Raises NotFound, Conflict (several begin so)."""
        if not _NAMED.fullmatch(identifier):
            raise NotFound(f"there is no job `{identifier}`; accepted: an id, its beginning, or a name")
        return Job(self.connection, self.connection.get(Record, f"/v1/jobs/{identifier}"))

    def jobs(self, **meant: Unpack[Selection]) -> Iterator[Job]:
        """The jobs that are meant, newest first, read page by page as they are asked for."""
        for page in self.pages(**meant):
            yield from (Job(self.connection, record) for record in page.jobs)

    def pages(
        self, size: int = _PAGE, waiting: bool = False, **meant: Unpack[Selection]
    ) -> Iterator[JobPage]:
        """The same as pages of records; `waiting`: with why each waits that does."""
        asked = {**selection.query(meant), "limit": size, "waiting": waiting or None}
        cursor: str | None = None
        while True:
            page = self.connection.get(JobPage, "/v1/jobs", {**asked, "cursor": cursor})
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel_all(self, *, every: bool = False, **meant: Unpack[Selection]) -> dict[str, State]:
        """Cancel every job that is meant and not over; the state of each afterwards. With no choice say `every=True`.

        One that runs is wished to stop: its state is still `running`. Raises InvalidRequest: nothing is chosen.
        """
        after: dict[str, State] = {}
        for body in selection.bodies(meant, every):
            response = self.connection.send("POST", "/v1/jobs:cancel", repeatable=True, json=body)
            after |= read(CancelledJobs, response).jobs
        return after

    # --- the rest -----------------------------------------------------------------------------------------------

    @property
    def models(self) -> Models:
        """The model registry."""
        return Models(self.connection, self.project)

    def whoami(self) -> Whoami:
        """Who the service takes this client for."""
        return self.connection.get(Whoami, "/v1/whoami")

    def info(self) -> Info:
        """Version and limits of the service."""
        return self.connection.get(Info, "/v1/info")

    def page(self) -> str:
        """A link to the service's page that signs a browser in as this token, once, within five minutes."""
        made = read(Code, self.connection.send("POST", "/v1/session:offer", repeatable=True))
        return f"{self.connection.url}/login#{made.code}"
