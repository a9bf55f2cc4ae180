"""What every test has: an environment of its own, fixed seeds, and a real store with a namespace for each test."""

from __future__ import annotations

import os
import random
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from closegap.embedded import EmbeddedStore
from closegap.queue import Queue
from closegap.settings import Settings
from closegap.store import connect

os.environ["OMP_NUM_THREADS"] = "1"
for name in [name for name in os.environ if name.startswith("CLOSEGAP_") or name == "RAY_ADDRESS"]:
    # A test must not reach the store, the storage or the cluster of whoever runs it.
    del os.environ[name]


@pytest.hookimpl(tryfirst=True)  # before the plugin reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process a file, and one for all that share the session's Ray; those, the longest, go first."""
    for item in items:
        workers = "workers" in item.path.parts
        item.add_marker(pytest.mark.xdist_group("ray" if workers else item.path.name))
    items.sort(key=lambda item: "workers" not in item.path.parts)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Equal draws in every run; torch only where a test has imported it."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of one embedded store that runs for the whole session."""
    home = tmp_path_factory.mktemp("home")
    with EmbeddedStore(home):
        yield home


@pytest.fixture
def settings(store_home: Path, tmp_path: Path) -> Settings:
    """Of the session's store; namespace and storage are the test's own."""
    namespace = f"test-{secrets.token_hex(6)}"
    return Settings.load(
        home=store_home, namespace=namespace, storage=(tmp_path / "storage").as_uri(), backoff_seconds=0.05
    )


@pytest.fixture
def queue(settings: Settings) -> Iterator[Queue]:
    """An empty queue on the session's store."""
    client = connect(settings)
    yield Queue(client, settings.namespace, settings.backoff_seconds)
    client.close()
