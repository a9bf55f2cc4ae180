"""Clients of the store: any Redis >= 7 or Valkey by URL, or the embedded server of `closegap.store.embedded`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from closegap.errors import SettingsError, StoreUnavailable
from closegap.settings import Settings
from closegap.store.address import Address, kept
from closegap.store.embedded import EmbeddedStore

__all__ = ["Address", "EmbeddedStore", "awaited", "connect", "doubts", "listener", "speaking"]

OLDEST = 7
RETURN_SECONDS = 10.0
"""How long an embedded store that is about to be started again is waited for."""
SOCKET_SECONDS = 30.0
"""A store that is silent so long in the middle of an answer is gone; no command blocks longer than a third of it."""

_AWAY = [ConnectionError, TimeoutError, BusyLoadingError]
_Client = TypeVar("_Client", redis.Redis, redis.asyncio.Redis)

log = logging.getLogger("closegap.store")


def connect(settings: Settings, patience: float = 5.0) -> redis.Redis:
    """A client whose store has answered, with text decoded.

    `patience` is how long, in seconds, one command may go on trying while the store is away: short for a person at
    a terminal, minutes for a worker in the middle of a job. Scripts can be asked again without harm, so commands are
    retried. Raises StoreUnavailable (down, wrong password, loading, too old) and SettingsError (no such URL).
    """
    with _client(settings, 0.0) as once, speaking(once):
        _refuse_wrong_password(once)
    client = _client(settings, patience)
    with speaking(client):
        facts = client.info("server")
    refuse_old(str(facts.get("redis_version", "unknown")), describe(client))
    for doubt in doubts(client):
        log.warning(doubt)
    return client


def awaited(settings: Settings, patience: float, seconds: float) -> redis.Redis:
    """As `connect`, but a store that is only being started is waited for. Raises StoreUnavailable, SettingsError."""
    limit = time.monotonic() + seconds
    while True:
        try:
            return connect(settings, patience)
        except StoreUnavailable as error:
            if time.monotonic() > limit:
                raise
            log.warning("waiting for the store: %s", error)
            time.sleep(1.0)


def refuse_old(version: str, place: str) -> None:
    """Raise StoreUnavailable unless a version is new enough. Valkey calls itself a Redis of 7.2.4."""
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST:
        raise StoreUnavailable(f"{place} is version {version}; accepted: Redis >= {OLDEST} or Valkey")


def doubts(client: redis.Redis) -> list[str]:
    """What to say about a store that may lose what it has acknowledged: in memory that is full, or by its death.

    A store that appends to a file (`appendonly yes`) writes before it answers, so its own death loses nothing; a power
    cut loses nothing under `appendfsync always`, which the embedded store has, and up to a second under `everysec`.
    """
    try:
        found = client.config_get("maxmemory-policy", "appendonly")
    except (NoPermissionError, ResponseError):
        return [
            f"{describe(client)} does not show its settings; jobs are safe under noeviction and appendonly yes"
        ]
    said = []
    if (policy := found.get("maxmemory-policy", "noeviction")) != "noeviction":
        said.append(
            f"{describe(client)} has maxmemory-policy {policy}: it may lose jobs; accepted: noeviction"
        )
    if found.get("appendonly", "yes") != "yes":
        said.append(f"{describe(client)} has appendonly no: its death loses jobs; accepted: appendonly yes")
    return said


def _refuse_wrong_password(once: redis.Redis) -> None:
    """To redis-py a refused password is a lost connection, which it would try again until its patience is over."""
    try:
        once.ping()
    except AuthenticationError:
        raise
    except (ConnectionError, TimeoutError):
        return  # Away or loading: the patient client waits.


@contextmanager
def speaking(client: redis.Redis | redis.asyncio.Redis) -> Iterator[None]:
    """Turn what redis-py raises into StoreUnavailable, with words for what to do."""
    try:
        yield
    except AuthenticationError as error:
        raise StoreUnavailable(f"{describe(client)} refuses the password: {error}") from error
    except BusyLoadingError as error:
        raise StoreUnavailable(
            f"{describe(client)} is still loading its data; try again in a moment"
        ) from error
    except (ConnectionError, TimeoutError) as error:
        raise StoreUnavailable(f"{describe(client)} cannot be reached: {error}") from error
    except (OutOfMemoryError, ReadOnlyError) as error:
        raise StoreUnavailable(f"{describe(client)} does not take writes: {error}") from error
    except NoPermissionError as error:
        raise StoreUnavailable(f"{describe(client)} does not allow what the queue needs: {error}") from error
    except RedisError as error:
        # MISCONF: the disk is full or the append-only file cannot be written. Anything else is our own mistake.
        if str(error).startswith(
            ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "UNKILLABLE", "BUSY")
        ):
            raise StoreUnavailable(f"{describe(client)} does not take writes: {error}") from error
        raise


def _returning(home: Path) -> Address:
    """Of the embedded store. One that has ended is waited for while somebody keeps it, who will start it again."""
    address, limit, said = Address.read(home), time.monotonic() + RETURN_SECONDS, False
    while not address.served():
        if not kept(home) or time.monotonic() > limit:
            raise StoreUnavailable(f"the store in {home} is not running: start it with `closegap up`")
        if not said:
            log.warning("the store in %s has ended; waiting until it is started again", home)
            said = True
        time.sleep(0.05)
    return address


def describe(client: redis.Redis | redis.asyncio.Redis) -> str:
    """`the store at HOST:PORT`, without user or password."""
    options = client.connection_pool.connection_kwargs
    place = options.get("path") or f"{options.get('host')}:{options.get('port')}"
    return f"the store at {place}"


def _client(settings: Settings, patience: float) -> redis.Redis:
    # Waits of 0.05, 0.1, … 2 s with jitter add up to about `patience`.
    retries = next(n for n in range(10_000) if sum(min(2.0, 0.05 * 2**i) for i in range(n)) >= patience)
    retry = Retry(ExponentialWithJitterBackoff(cap=2.0, base=0.05), retries)
    return _reached(redis.Redis, settings, retry=retry, retry_on_error=_AWAY)


def listener(settings: Settings) -> redis.asyncio.Redis:
    """A client for an event loop, which tries a command once: whoever listens asks again anyway.

    Connects when it is first used. Raises StoreUnavailable (nobody has started the embedded store), SettingsError.
    """
    return _reached(redis.asyncio.Redis, settings, retry=redis.asyncio.retry.Retry(NoBackoff(), 0))


def _reached(kind: Callable[..., _Client], settings: Settings, **options: Any) -> _Client:
    options |= {
        "decode_responses": True,
        "socket_connect_timeout": 5.0,
        "socket_timeout": SOCKET_SECONDS,
        "health_check_interval": 30,
    }
    from_url: Callable[..., _Client] = getattr(kind, "from_url")  # noqa: B009 – a classmethod of both
    if settings.redis_url is None:
        address = _returning(settings.home)
        password = address.password.get_secret_value()
        return kind(unix_socket_path=str(address.socket), password=password, **options)
    try:
        return from_url(settings.redis_url.get_secret_value(), **options)
    except ValueError:
        # Neither the URL nor redis-py's words for it: a `/` in a password makes the password a "port" there.
        raise SettingsError(
            "CLOSEGAP_REDIS_URL is no URL of a store (not shown, for it may hold a password); "
            "accepted: redis://, rediss://, unix://, special characters of a password as %XX"
        ) from None
