"""The parts of the service as a command uses them, opened from the settings. Imports Redis only when asked."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from closegap.artifacts import ArtifactStore
    from closegap.audit import Audit
    from closegap.job import Job
    from closegap.queue import Queue
    from closegap.registry import Registry
    from closegap.settings import Settings
    from closegap.tokens import Tokens


def open_queue(settings: Settings | None = None) -> Queue:
    """The queue of the store that the settings name. Raises StoreUnavailable, SettingsError."""
    from closegap.queue import Queue
    from closegap.settings import Settings
    from closegap.store import connect

    chosen = settings or Settings.load()
    return Queue(connect(chosen), chosen.namespace, chosen.backoff_seconds)


class Access(NamedTuple):
    """Who may use the HTTP API, and what was done."""

    tokens: Tokens
    audit: Audit


def open_access(settings: Settings | None = None) -> Access:
    """Tokens and audit stream of the store that the settings name. Raises StoreUnavailable, SettingsError."""
    from closegap.audit import Audit
    from closegap.settings import Settings
    from closegap.store import connect
    from closegap.tokens import Tokens

    chosen = settings or Settings.load()
    client = connect(chosen)
    return Access(Tokens(client, chosen.namespace), Audit(client, chosen.namespace))


def note(action: str, project: str, target: str) -> None:
    """Write what a command has changed into the audit stream. Raises StoreUnavailable, SettingsError."""
    open_access().audit.record(actor(), action, project, target)


def note_jobs(action: str, jobs: Sequence[Job]) -> None:
    """The same of jobs: one entry for all of them."""
    open_access().audit.record_jobs(actor(), action, jobs)


def open_artifacts(settings: Settings | None = None) -> ArtifactStore:
    """The artifact store of the settings. Raises StorageError, SettingsError."""
    from closegap.artifacts import ArtifactStore
    from closegap.settings import Settings

    return ArtifactStore((settings or Settings.load()).storage)


def open_registry(settings: Settings | None = None) -> Registry:
    """The model registry of the settings; it needs no store. Raises StorageError, SettingsError."""
    from closegap.registry import Registry

    return Registry(open_artifacts(settings))


@contextmanager
def traced(name: str) -> Iterator[str]:
    """A span around a submission, where an endpoint is set; yields its jobs' traceparent. Raises SettingsError."""
    from closegap.settings import Settings
    from closegap.trace import tracer

    tracing = tracer(Settings.load().otlp_endpoint, "closegap-cli")
    with closing(tracing), tracing.submission("", name) as traceparent:
        yield traceparent


def actor() -> str:
    """Who asks, for the history of a job."""
    return f"user {getpass.getuser()}"
