"""The parts of the service as a command uses them, opened from the settings. Imports Redis only when asked."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from closegap.artifacts import ArtifactStore
    from closegap.queue import Queue
    from closegap.registry import Registry
    from closegap.settings import Settings


def open_queue(settings: Settings | None = None) -> Queue:
    """The queue of the store that the settings name. Raises StoreUnavailable, SettingsError."""
    from closegap.queue import Queue
    from closegap.settings import Settings
    from closegap.store import connect

    chosen = settings or Settings.load()
    return Queue(connect(chosen), chosen.namespace, chosen.backoff_seconds)


def open_artifacts(settings: Settings | None = None) -> ArtifactStore:
    """The artifact store of the settings. Raises StorageError, SettingsError."""
    from closegap.artifacts import ArtifactStore
    from closegap.settings import Settings

    return ArtifactStore((settings or Settings.load()).storage)


def open_registry(settings: Settings | None = None) -> Registry:
    """The model registry of the settings; it needs no store. Raises StorageError, SettingsError."""
    from closegap.registry import Registry

    return Registry(open_artifacts(settings))


def actor() -> str:
    """Who asks, for the history of a job."""
    return f"user {getpass.getuser()}"
