"""What a browser with nothing kept takes for something on the page, beside one small file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import browser
from benchmarks.figure import Figure, Mark
from benchmarks.http import Address

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOADS = 5
MARK = Mark("value", "<", 1000.0)


def figures(address: Address, acts: Mapping[str, Callable[[Page], float]], loads: int) -> Iterator[Figure]:
    """Milliseconds of wall time that each act tells, by its name."""
    with browser.launched() as running:
        for act in acts.values():
            _visit(running, address, act)  # the first requests of a process import and compile
        floor = median(_visit(running, address, _picture) for _ in range(loads))
        for name, act in acts.items():
            value = median(_visit(running, address, act) for _ in range(loads))
            yield Figure(f"page, {name}", value, "ms", floor, "one small file", floor / value, MARK)


def _visit(running: Browser, address: Address, act: Callable[[Page], float]) -> float:
    """`act` in a window of its own that is signed in."""
    base = f"http://127.0.0.1:{address.port}"
    context = running.new_context(base_url=base, viewport={"width": 1360, "height": 860})
    try:
        context.request.post("/v1/session", headers={"Authorization": f"Bearer {address.token}"})
        return act(context.new_page())
    finally:
        context.close()


def _picture(page: Page) -> float:
    page.goto("/page/icon.svg")
    return float(page.evaluate("performance.now()"))
