"""What every test has: an environment of its own, fixed seeds, and a real store with a namespace for each test."""

from __future__ import annotations

import gc
import os
import random
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.embedded import EmbeddedStore
from closegap.store.store import connect

os.environ["OMP_NUM_THREADS"] = "1"
KEPT = {"CLOSEGAP_BROWSER_REQUIRED"}
"""What whoever runs the tests says to them."""
for name in [name for name in os.environ if name.startswith("CLOSEGAP_") or name == "RAY_ADDRESS"]:
    # A test must not reach the store, the storage or the cluster of whoever runs it.
    if name not in KEPT:
        del os.environ[name]

# nor a service that they have logged in to
os.environ["XDG_CONFIG_HOME"] = f"{tempfile.gettempdir()}/closegap-no-config-{os.getpid()}"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it puts into the background; every process that a test interrupts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


SHARED = {"tests/workers/": "ray", "tests/page/": "browser"}
LONGEST = (
    "tests/workers/", "tests/test_examples.py", "tests/chaos/", "tests/page/", "tests/core/test_contract.py",
    "tests/cli/", "tests/api/", "tests/core/test_captured.py",
)  # fmt: skip
"""These go first, so that no process is left alone with one of them at the end."""


@final
class ByFile(LoadScopeScheduling):
    """One process a file, one for all that share the session's Ray, and one for all that share the browser.

    Written here because pytest 9.2 does not keep the names by which xdist 3.8 knows its groups: they have no effect.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = next((name for start, name in SHARED.items() if nodeid.startswith(start)), None)
        return shared or nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Whatever `--dist` says. Work is given out in the order of collection."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""

    def rank(item: pytest.Item) -> int:
        return next((i for i, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not look through it again and again, a sixth of the tests' time."""
    gc.collect()
    gc.freeze()


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
def own_store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store that a test may kill."""
    store = EmbeddedStore(tmp_path / "own")
    store.start()
    yield store
    store.stop()


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
