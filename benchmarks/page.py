"""The page in a real browser with ten thousand jobs: a first load, and a filter, until what was asked for is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import browser
from benchmarks.figure import Figure, Mark
from benchmarks.http import JOBS, Address, api, fill
from closegap.settings import Settings
from closegap.store.store import EmbeddedStore

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOADS = 5
MARK = Mark("value", "<", 1000.0)
ROWS = 50
_LISTED = """() => new Promise((done) => {
    const look = () => {
        if (document.querySelectorAll("tbody tr").length < %d) return requestAnimationFrame(look);
        // Interactive: a key goes where it should, and what is typed is drawn.
        dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
        const field = document.activeElement;
        if (field.type !== "search") return requestAnimationFrame(look);
        requestAnimationFrame(() => done(performance.now()));
    };
    look();
})"""
_FILTERED = """() => new Promise((done) => {
    const begin = performance.now();
    document.querySelector('a.chip[href*="state=cancelled"]').click();
    const look = () => {
        if (!document.querySelector(".empty")) return requestAnimationFrame(look);
        requestAnimationFrame(() => done(performance.now() - begin));
    };
    look();
})"""


def figures(loads: int = LOADS) -> Iterator[Figure]:
    """Milliseconds of wall time, of a browser with nothing kept; nothing where there is no browser."""
    if browser.absent() is not None:
        return
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place), api_rate=100_000.0)
        with EmbeddedStore(settings.home), api(settings) as address:
            fill(settings)
            with browser.launched() as running:
                _load(running, address, _first)  # the first requests of a process import and compile
                floor = median(_load(running, address, _picture) for _ in range(loads))
                for name, act in (("first load", _first), ("filter", _filter)):
                    value = median(_load(running, address, act) for _ in range(loads))
                    words = f"page, {name} with {JOBS:,} jobs"
                    yield Figure(words, value, "ms", floor, "one small file", floor / value, MARK)


def _load(running: Browser, address: Address, act: Callable[[Page], float]) -> float:
    """What `act` takes in a window of its own that is signed in."""
    base = f"http://127.0.0.1:{address.port}"
    context = running.new_context(base_url=base, viewport={"width": 1360, "height": 860})
    try:
        headers = {"Authorization": f"Bearer {address.token}"}
        context.request.post("/v1/session", headers=headers)
        return act(context.new_page())
    finally:
        context.close()


def _first(page: Page) -> float:
    """From the beginning of the navigation until rows are there and the search takes what is typed."""
    page.goto("/jobs", wait_until="commit")
    return float(page.evaluate(_LISTED % ROWS))


def _filter(page: Page) -> float:
    """From a click on a state until the list shows it."""
    _first(page)
    return float(page.evaluate(_FILTERED))


def _picture(page: Page) -> float:
    """The same of a page that is one small file."""
    page.goto("/page/icon.svg")
    return float(page.evaluate("performance.now()"))
