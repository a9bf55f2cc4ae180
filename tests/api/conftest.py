"""A client for each token, on the server of `tests/serving.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.serving import TRAIN, app, brief, context, secret, settings, url

__all__ = ["TRAIN", "As", "app", "brief", "by", "context", "secret", "served", "settings", "url"]

As = Callable[..., httpx.Client]


@pytest.fixture
def served(url: str) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def by(url: str, secret: Callable[..., str]) -> Iterator[As]:
    """A client with a token of a role, for some projects or all."""
    made: list[httpx.Client] = []

    def client(role: str = "admin", *projects: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {secret(role, *projects)}"}
        made.append(httpx.Client(base_url=url, headers=headers, timeout=60))
        return made[-1]

    yield client
    for one in made:
        one.close()
