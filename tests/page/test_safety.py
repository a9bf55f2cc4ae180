"""What others write is shown, never run; and everybody can use the page, by eye, ear, keys, in light and in dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from closegap.api.context import Context
from closegap.job import Failure
from tests.page import work
from tests.page.conftest import Open
from tests.page.legible import illegible, settled

HOSTILE = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'


def test_what_others_write_is_text(page: Page, context: Context) -> None:
    queue = context.queue
    claim = work.running(
        queue,
        "odd",
        [
            {"type": "log", "line": HOSTILE},
            {"type": "metric", HOSTILE: 1.0, "x": HOSTILE},
            {"type": HOSTILE[:20], "a": 1.0},
            {"type": "progress", "done": 1, "total": 2, "unit": HOSTILE},
        ],
        labels={"note": HOSTILE},
    )
    page.goto("/jobs")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    for tab in ("", "?tab=spec", "?tab=history", "?tab=logs", "?tab=events", "?tab=artifacts"):
        page.goto(f"/jobs/{claim.job.id}{tab}")
        expect(page.get_by_role("heading", name="odd", level=1)).to_be_visible()
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
    queue.fail(claim.lease, Failure(failure="user", message=HOSTILE, traceback=HOSTILE, hint=HOSTILE))
    page.goto(f"/jobs/{claim.job.id}")
    page.get_by_role("button", name="Traceback").click()
    expect(page.get_by_text(HOSTILE).nth(3)).to_be_visible()
    page.goto("/jobs?q=%3Cimg%20src%3Dx%20onerror%3D%22window.ran%3D1%22%3E&label=a%3D%3Cb%3E")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()
    page.goto("/login?next=%22%3E%3Cscript%3Ewindow.ran%3D1%3C/script%3E")
    assert page.evaluate("window.ran") is None
    assert page.locator("img, script:not([src])").count() == 0


@pytest.fixture
def scene(context: Context) -> dict[str, str]:
    """A job of each sort."""
    queue = context.queue
    return {
        "failed": work.failed(queue, "broken").id,
        "succeeded": work.succeeded(queue, "done", {"elbo": -3.0}).id,
        "running": work.running(queue, "busy", [work.progress(10), {"type": "log", "line": "a line"}]).job.id,
        "queued": work.submitted(queue, "waits", labels={"team": "vision"}).id,
        "paused": queue.pause(work.submitted(queue, "held").id).id,
        "cancelled": queue.cancel(work.submitted(queue, "ended").id).id,
    }


def test_every_control_has_a_name_and_every_text_a_contrast(page: Page, scene: dict[str, str]) -> None:
    places = ["/jobs", "/submit?example=quick", "/workers", f"/jobs/{scene['queued']}?tab=spec"]
    places += [f"/jobs/{scene[name]}" for name in ("failed", "running")]
    places += [f"/jobs/{scene['running']}?tab={tab}" for tab in ("history", "logs", "events")]
    for place in places:
        page.goto(place)
        assert illegible(page) == [], place


def test_where_one_is_by_keys_is_seen(page: Page, scene: dict[str, str]) -> None:
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(6)
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_colours_are_chosen_and_kept(window: Open) -> None:
    page = window(color_scheme="light").page
    page.goto("/jobs")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colours").click()  # light, whatever the system has
    page.get_by_role("button", name="Colours").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Colours").click()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) == dark


def test_a_narrow_window_has_nothing_beside_it(window: Open, scene: dict[str, str]) -> None:
    page = window(viewport={"width": 390, "height": 800}).page
    jobs = [f"/jobs/{scene['running']}", f"/jobs/{scene['failed']}?tab=spec"]
    for place in ("/jobs", *jobs, "/submit?example=quick", "/workers"):
        page.goto(place)
        settled(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{place} is {wide} px too wide"
