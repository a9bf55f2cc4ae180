"""Where the embedded store of a home folder is reached: a private socket and a password in a private file."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from closegap.errors import StoreUnavailable

LONGEST_SOCKET = 107
"""Bytes of a unix socket's path (Linux; macOS allows 103, and its folders are shorter)."""
KEEPER = "keeper"
"""File in the store's folder that whoever keeps the server has locked for as long as it would start it again."""


@final
@dataclass(frozen=True)
class Address:
    """How the server of a home folder is reached. Kept in a file that only its owner can read."""

    socket: Path
    password: SecretStr

    @classmethod
    def read(cls, home: Path) -> Self:
        """The address of the home's server, running or not. Raises StoreUnavailable."""
        file = store_folder(home) / "address.json"
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
            return cls(Path(value["socket"]), SecretStr(value["password"]))
        except FileNotFoundError as error:
            raise StoreUnavailable(
                f"no store runs in {home}: start one with `closegap up`, or set CLOSEGAP_REDIS_URL"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable(f"{file} cannot be read: {error}") from error

    def served(self) -> bool:
        """Whether anything listens here, be it still loading."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def answers(self) -> bool:
        """Whether a server answers here, data loaded."""
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.password.get_secret_value(),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=5.0,
        )
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False
        finally:
            client.close()


def kept(home: Path) -> bool:
    """Whether somebody keeps the home's server, so that one that has ended comes back."""
    try:
        keeper = os.open(store_folder(home) / KEEPER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(keeper, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(keeper)
    return False


def store_folder(home: Path) -> Path:
    """Of a home folder."""
    return home / "store"


def keep_address(folder: Path) -> Address:
    """The address of last time, so that workers find a store that was restarted; a new one the first time."""
    file = folder / "address.json"
    try:
        password = json.loads(file.read_text(encoding="utf-8"))["password"]
    except FileNotFoundError:
        password = secrets.token_urlsafe(32)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnavailable(f"{file} cannot be read: {error}; delete it to have a new password") from error
    address = Address(_socket(folder), SecretStr(password))
    fresh = file.with_name(f".address-{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump({"socket": str(address.socket), "password": password}, out)
    fresh.replace(file)
    return address


def _socket(folder: Path) -> Path:
    """Inside the folder, or, where that path is too long, in a private folder of the system's temporary one."""
    inside = folder.resolve() / "socket"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET:
        return inside
    name = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
    for root in (tempfile.gettempdir(), "/tmp"):
        private = Path(root) / f"closegap-{os.getuid()}-{name}"
        if len(os.fsencode(private / "socket")) <= LONGEST_SOCKET:
            private.mkdir(mode=0o700, exist_ok=True)
            found = private.lstat()
            # The name can be guessed: somebody else's folder, or a link, must not be given our socket.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise StoreUnavailable(f"{private} is not a private folder of this user; remove it")
            return private / "socket"
    raise StoreUnavailable(
        f"no path for a socket has at most {LONGEST_SOCKET} bytes; choose a shorter home folder"
    )
