"""The page against the real API on the session's store, in one browser for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Window, launched
from tests.serving import brief, context, secret, settings, url

__all__ = ["brief", "context", "secret", "settings", "url"]

Open = Callable[..., Window]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests of the page."""
    with launched() as running:
        yield running


@pytest.fixture
def window(browser: Browser, url: str, secret: Callable[..., str]) -> Iterator[Open]:
    """Opens windows: `window()` is an admin's, `window("viewer", "project")` another's, `window(None)` nobody's."""
    opened: list[Window] = []

    def make(role: str | None = "admin", *projects: str, **options: Any) -> Window:
        opened.append(Window(browser, url, **options))
        if role is not None:
            opened[-1].sign_in(secret(role, *projects))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def page(window: Open) -> Page:
    """The page of an admin."""
    return window().page
