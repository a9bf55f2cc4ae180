"""Workers, lines and projects."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from closegap.api.context import Context
from closegap.job import Capacity
from tests.page import work
from tests.page.conftest import Open


def test_who_runs_what(page: Page, context: Context) -> None:
    queue = context.queue
    page.goto("/workers")
    expect(page.get_by_role("heading", name="No worker has been heard of")).to_be_visible()
    claim = work.running(queue, "busy", [work.progress(10)])
    queue.heartbeat("idle-1", Capacity(cpus=2))
    work.submitted(queue, "waits", "vision")
    expect(page.get_by_text("2 alive · 1 of 10 CPUs taken")).to_be_visible()
    busy = page.locator(".worker", has_text=work.WORKER)
    expect(busy).to_contain_text("works")
    expect(busy).to_contain_text("1 of 8 CPUs")
    expect(busy.get_by_role("link", name="busy")).to_be_visible()
    expect(page.locator(".worker", has_text="idle-1")).to_contain_text("Idle")
    expect(page.get_by_role("row", name="vision train 1 CPU 1")).to_be_visible()
    busy.get_by_role("button", name="Drain…").click()
    page.get_by_role("dialog").get_by_label("Also give back").check()
    page.get_by_role("dialog").get_by_role("button", name="Drain it").click()
    expect(busy).to_contain_text("drained by admin")
    wish = queue.get(claim.job.id).wish
    assert wish is not None
    busy.get_by_role("button", name="Let it work").click()
    expect(busy).to_contain_text("works")


def test_a_project_is_limited(page: Page, context: Context) -> None:
    work.submitted(context.queue, "waits", "vision")
    page.goto("/workers")
    row = page.get_by_role("row", name="vision 1 1")
    row.get_by_role("button", name="Limits…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Running jobs").fill("4")
    gpus = dialog.get_by_label("GPUs")
    gpus.fill("1.2.3")  # no number, so not sent: it would take the limit away
    assert gpus.evaluate("field => field.validity.patternMismatch")
    gpus.fill("1.5")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("0 of 4")
    limited = context.queue.projects(["vision"])[0]
    assert (limited.most_running, limited.most_gpus) == (4, 1.5)


def test_an_admin_of_a_project_only_looks(window: Open, context: Context) -> None:
    work.running(context.queue, "secret-name", project="theirs")
    page = window("admin", "ours").page
    page.goto("/workers")
    expect(page.get_by_text("1 of 8 CPUs taken")).to_be_visible()
    expect(page.get_by_role("button", name="Drain…")).to_have_count(0)
    assert "secret-name" not in page.content()
