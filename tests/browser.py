"""A real Chromium for tests of the page: a test fails on any error of the browser's console, any script's error, any
breach of the content policy and any request to another host, unless it names what it expects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from benchmarks import browser

SECONDS = 20.0
"""Longest that a test waits for something to be seen."""


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, for as long as the block lasts. Skips where there is none and nobody said that it must be there.

    Its event loop occupies this thread: no other one can run meanwhile, so it is never for a whole session.
    """
    if (why := browser.absent()) is not None:
        if os.environ.get("CLOSEGAP_BROWSER_REQUIRED") == "1":
            pytest.fail(why)
        pytest.skip(why)
    expect.set_options(timeout=1000 * SECONDS)
    with browser.launched() as running:
        yield running


@final
class Window:
    """A browser's window with nothing kept from others, signed in or not."""

    def __init__(self, running: Browser, base: str, **options: Any) -> None:
        self.base = base
        self.faults: list[str] = []
        self.expected: list[str] = []
        options = {"viewport": {"width": 1360, "height": 860}} | options
        self._context = running.new_context(base_url=base, **options)
        self._context.set_default_timeout(1000 * SECONDS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", self._asked)

    def sign_in(self, secret: str) -> None:
        """Get the session's cookie for a token."""
        answer = self._context.request.post(
            "/v1/session", headers={"Authorization": f"Bearer {secret}", "X-Closegap-Page": "1"}
        )
        assert answer.status == 204, answer.text()

    def expect(self, pattern: str) -> None:
        """An error that is meant to happen."""
        self.expected.append(pattern)

    def close(self) -> None:
        """Fails for what nobody expected."""
        self._context.close()
        faults = [
            fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.expected)
        ]
        assert not faults, "\n".join(faults)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:", "about:")):
            self.faults.append(f"asked another host: {request.url}")
