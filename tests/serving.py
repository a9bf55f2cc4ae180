"""The API on the session's store, for tests of it and of what is built on it: fixtures that a conftest takes in."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import structlog
from fastapi import FastAPI

from closegap.access.token import Role
from closegap.api.app import build
from closegap.api.context import Context, opened
from closegap.api.server import Server, listening
from closegap.api.server import url as server_url
from closegap.settings import Settings

Answer = TypeVar("Answer")
TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": "standard",
    "resources": {"workers": 0},
}


def awaited(work: Coroutine[Any, Any, Answer]) -> Answer:
    """What it comes to, in a thread of its own: the browser of this session has its loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No limit of the rate that a test would meet by accident; quick heartbeats."""
    return settings.model_copy(update={"api_rate": 100_000.0, "api_beat_seconds": 0.2})


@pytest.fixture
def context(settings: Settings) -> Context:
    """Let go of by the application."""
    return opened(settings)


@pytest.fixture
def app(context: Context) -> FastAPI:
    """The application."""
    return build(context)


@contextmanager
def served(context: Context) -> Iterator[str]:
    """The address of a server for the API, for as long as the block lasts."""
    place = listening("127.0.0.1", 0)
    server = Server(context)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, name="api")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield server_url(place)
    finally:
        server.should_exit = True
        thread.join(30)
        place.close()
    assert not thread.is_alive()


@pytest.fixture
def url(context: Context) -> Iterator[str]:
    """Where the application is served."""
    with served(context) as address:
        yield address


@pytest.fixture
def secret(context: Context) -> Callable[..., str]:
    """A fresh token's secret."""

    def make(role: str = "admin", *projects: str, expires: timedelta | None = None) -> str:
        return context.tokens.create(role, Role(role), projects or None, expires).secret

    return make


@pytest.fixture(autouse=True, scope="session")
def brief() -> None:
    """What the API says of a fault, without the values of every frame, as `closegap api` has it."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.processors.add_log_level, plain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
