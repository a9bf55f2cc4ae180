"""The page in a real browser with ten thousand jobs: a first load, and a filter, until what was asked for is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks import browser, visit
from benchmarks.figure import Figure
from benchmarks.http import JOBS, fill, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS = 50
_LISTED = """(rows) => new Promise((done) => {
    const look = () => {
        if (document.querySelectorAll("tbody tr").length < rows) return requestAnimationFrame(look);
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


def figures(loads: int = visit.LOADS) -> Iterator[Figure]:
    """Of both; nothing where there is no browser."""
    if browser.absent() is not None:
        return
    with served() as (settings, address):
        fill(settings)
        acts = {f"first load with {JOBS:,} jobs": _first, f"filter with {JOBS:,} jobs": _filter}
        yield from visit.figures(address, acts, loads)


def _first(page: Page) -> float:
    """From the beginning of the navigation until rows are there and the search takes what is typed."""
    page.goto("/jobs", wait_until="commit")
    return float(page.evaluate(_LISTED, ROWS))


def _filter(page: Page) -> float:
    """From a click on a state until the list shows it."""
    _first(page)
    return float(page.evaluate(_FILTERED))
