"""This machine's own parts, opened from its settings, and who uses them. Imports what is asked for."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from closegap.access.tokens import Tokens
    from closegap.queue.audit import Audit
    from closegap.queue.queue import Queue
    from closegap.settings import Settings
    from closegap.storage.artifacts import ArtifactStore


def open_queue(settings: Settings | None = None) -> Queue:
    """The queue of the store that the settings name. Raises StoreUnavailable, SettingsError."""
    from closegap.queue.queue import Queue
    from closegap.settings import Settings
    from closegap.store.store import connect

    chosen = settings or Settings.load()
    return Queue(connect(chosen), chosen.namespace, chosen.backoff_seconds)


class Access(NamedTuple):
    """Who may use the HTTP API, and what was done."""

    tokens: Tokens
    audit: Audit


def open_access(settings: Settings | None = None) -> Access:
    """Tokens and audit stream of the store that the settings name. Raises StoreUnavailable, SettingsError."""
    from closegap.access.tokens import Tokens
    from closegap.queue.audit import Audit
    from closegap.settings import Settings
    from closegap.store.store import connect

    chosen = settings or Settings.load()
    client = connect(chosen)
    return Access(Tokens(client, chosen.namespace), Audit(client, chosen.namespace))


def open_artifacts(settings: Settings | None = None) -> ArtifactStore:
    """The artifact store of the settings. Raises StorageError, SettingsError."""
    from closegap.settings import Settings
    from closegap.storage.artifacts import ArtifactStore

    return ArtifactStore((settings or Settings.load()).storage)


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
