"""The embedded server as a process, and what clients say about stores that do not serve."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis.exceptions import BusyLoadingError, NoPermissionError, ReadOnlyError, ResponseError

from closegap.errors import SettingsError, StoreUnavailable
from closegap.settings import Settings
from closegap.store import embedded
from closegap.store.address import LONGEST_SOCKET, Address
from closegap.store.embedded import EmbeddedStore
from closegap.store.store import connect, doubts, refuse_old, speaking


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="cg") as folder:
        yield Path(folder)


def test_it_is_durable_private_and_evicts_nothing(own_store: EmbeddedStore) -> None:
    client = connect(Settings.load(home=own_store.home))
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }
    assert client.config_get(*wanted) == wanted
    assert doubts(client) == []
    client.close()
    address = Address.read(own_store.home)
    for path, mode in (
        (own_store.home / "store", 0o700),
        (own_store.home / "store" / "address.json", 0o600),
        (address.socket, 0o700),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("maxmemory-policy", "allkeys-lru", "may lose jobs"), ("appendonly", "no", "its death loses jobs")],
)
def test_a_store_that_may_lose_jobs_is_told_of(
    own_store: EmbeddedStore, caplog: pytest.LogCaptureFixture, setting: str, value: str, said: str
) -> None:
    settings = Settings.load(home=own_store.home)
    client = connect(settings)
    assert caplog.text == ""
    client.config_set(setting, value)
    client.close()
    connect(settings).close()
    assert said in caplog.text


def test_the_password_is_in_no_argument_environment_or_log(own_store: EmbeddedStore) -> None:
    secret = Address.read(own_store.home).password.get_secret_value()
    process = psutil.Process(own_store.pid)
    assert secret not in " ".join(process.cmdline())
    assert secret not in str(process.environ())
    assert secret not in (own_store.home / "store" / "server.log").read_text()
    assert secret not in repr(Address.read(own_store.home))


def test_a_second_start_adopts_the_server_and_does_not_stop_it(own_store: EmbeddedStore) -> None:
    with EmbeddedStore(own_store.home) as second:
        assert (own_store.owned, second.owned) == (True, False)
        assert second.running()
    assert own_store.running()


def test_starts_at_the_same_time_make_one_server(tmp_path: Path) -> None:
    lines = f"""
import sys
from pathlib import Path
from closegap.store.embedded import EmbeddedStore
with EmbeddedStore(Path({str(tmp_path)!r})) as store:
    print(store.owned, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", lines]
    starters = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [starter.stdout.readline().strip() for starter in starters if starter.stdout]
    for starter in starters:
        starter.communicate("", timeout=20)
    assert sorted(said) == ["False", "False", "True"]
    assert {starter.returncode for starter in starters} == {0}


def test_a_restart_keeps_data_and_password(own_store: EmbeddedStore) -> None:
    settings = Settings.load(home=own_store.home)
    client = connect(settings)
    client.set("kept", "yes")
    before = Address.read(own_store.home)
    own_store.stop()
    assert not before.served()
    own_store.start()
    assert Address.read(own_store.home) == before
    assert client.get("kept") == "yes"
    client.close()


def test_kill_9_of_the_parent_leaves_no_orphan(tmp_path: Path) -> None:
    lines = f"""
import time
from pathlib import Path
from closegap.store.embedded import EmbeddedStore
store = EmbeddedStore(Path({str(tmp_path)!r}))
store.start()
print(store.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    assert Address.read(tmp_path).answers()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([server], timeout=10)
    assert not alive
    with EmbeddedStore(tmp_path) as store:  # The lock went with the server.
        assert store.owned


def test_a_killed_server_is_noticed_and_started_again(own_store: EmbeddedStore) -> None:
    assert own_store.pid is not None
    os.kill(own_store.pid, 9)
    for _ in range(100):
        if not own_store.running():
            break
        time.sleep(0.02)
    assert not own_store.running()
    own_store.stop()
    own_store.start()
    assert own_store.running()


def test_a_locked_folder_without_a_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            EmbeddedStore(tmp_path).start()


@pytest.mark.parametrize("name", ['wei rd "quo\\ted" ünïcode', "x" * 120])
def test_any_home_folder_will_do(short: Path, name: str) -> None:
    home = short / name
    with EmbeddedStore(home) as store:
        address = store.start()
        assert len(os.fsencode(address.socket)) <= LONGEST_SOCKET
        client = connect(Settings.load(home=home))
        client.set("a", "b")
        client.close()
        assert (home / "store" / "appendonlydir").is_dir()
    if address.socket.parent != home / "store":
        shutil.rmtree(address.socket.parent)


def test_a_socket_folder_that_others_can_enter_is_refused(short: Path) -> None:
    home = short / ("y" * 120)
    with EmbeddedStore(home) as store:
        folder = store.start().socket.parent
    folder.chmod(0o755)
    with pytest.raises(StoreUnavailable, match="not a private folder"):
        EmbeddedStore(home).start()
    shutil.rmtree(folder)


def test_only_the_main_thread_may_start_it(tmp_path: Path) -> None:
    raised: list[str] = []

    def start() -> None:
        try:
            EmbeddedStore(tmp_path).start()
        except StoreUnavailable as error:
            raised.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert raised == ["the embedded store must be started from the main thread, which it dies with"]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "appendonlydir").write_text("a file where the server wants a folder")
    store = EmbeddedStore(tmp_path)
    with pytest.raises(StoreUnavailable, match=r"(?s)stopped at once; it said:.*appendonlydir"):
        store.start()
    assert not store.owned


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        EmbeddedStore(tmp_path / "file").start()


def test_no_store_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no store runs in .*closegap up"):
        connect(Settings.load(home=tmp_path))
    with EmbeddedStore(tmp_path):
        pass
    with pytest.raises(StoreUnavailable, match="is not running: start it with `closegap up`"):
        connect(Settings.load(home=tmp_path))


def test_a_store_that_is_being_started_again_is_waited_for(
    own_store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert own_store.pid is not None
    os.kill(own_store.pid, signal.SIGKILL)
    while own_store.running():
        time.sleep(0.01)
    found: list[bool] = []

    def reach() -> None:
        client = connect(Settings.load(home=own_store.home))
        found.append(bool(client.ping()))
        client.close()

    thread = threading.Thread(target=reach)
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    own_store.start()
    thread.join(10)
    assert found == [True]
    assert "has ended; waiting until it is started again" in caplog.text


def test_a_url_reaches_the_same_store_and_a_wrong_password_is_said_at_once(own_store: EmbeddedStore) -> None:
    address = Address.read(own_store.home)
    for password, good in ((address.password.get_secret_value(), True), ("wrong", False)):
        settings = Settings.load(redis_url=f"unix://:{password}@{address.socket}")
        begun = time.monotonic()
        if good:
            connect(settings).close()
        else:
            with pytest.raises(StoreUnavailable, match="refuses the password"):
                connect(settings)
            assert time.monotonic() - begun < 1.0


def test_a_store_that_is_down_is_given_up_within_the_patience() -> None:
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"the store at 127\.0\.0\.1:1 cannot be reached"):
        connect(Settings.load(redis_url="redis://:secret@127.0.0.1:1/0"), patience=0.3)
    assert time.monotonic() - begun < 3.0


@pytest.mark.parametrize(
    "url",
    ["http://:hunter2@example.org", "redis://:hunter2/word@example.org:6379", "hunter2@example.org:6379"],
)
def test_a_bad_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="accepted: redis://") as raised:
        connect(Settings.load(redis_url=url))
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("version", ["6.2.14", "2.8.24", "unknown"])
def test_old_stores_are_refused(version: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"version {version}; accepted: Redis >= 7"):
        refuse_old(version, "the store at a:1")


@pytest.mark.parametrize("version", ["7.0.0", "7.2.4", "8.2.1", "10.0"])
def test_new_stores_are_taken(version: str) -> None:
    refuse_old(version, "the store at a:1")


def test_a_store_that_may_evict_is_warned_of(
    own_store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(Settings.load(home=own_store.home))
    client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING, logger="closegap.store"):
        connect(Settings.load(home=own_store.home)).close()
    assert "maxmemory-policy allkeys-lru: it may lose jobs" in caplog.text
    client.close()


def test_a_full_store_does_not_take_a_submission(own_store: EmbeddedStore) -> None:
    from closegap.queue.queue import Queue
    from closegap.specs import spec

    client = connect(Settings.load(home=own_store.home))
    queue = Queue(client)
    train = spec.parse(spec.example("train"))
    queue.submit(train)
    client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="does not take writes"):
        queue.submit(train)
    client.config_set("maxmemory", "0")
    assert len(queue.jobs().jobs) == 1
    client.close()


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (BusyLoadingError("LOADING"), "is still loading its data"),
        (ReadOnlyError("You can't write against a read only replica"), "does not take writes"),
        (
            ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
            "No space left on device",
        ),
        (NoPermissionError("this user has no permissions"), "does not allow what the queue needs"),
    ],
)
def test_what_a_store_answers_in_trouble_is_put_in_words(
    own_store: EmbeddedStore, raised: Exception, told: str
) -> None:
    client = connect(Settings.load(home=own_store.home))
    with pytest.raises(StoreUnavailable, match=told) as caught, speaking(client):
        raise raised
    assert str(Address.read(own_store.home).socket) in str(caught.value)
    client.close()
