"""The list of jobs."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from closegap import spec
from closegap.api.context import Context
from tests.api.conftest import TRAIN


def test_jobs_are_listed(page: Page, context: Context) -> None:
    context.queue.submit(spec.parse({**TRAIN, "name": "first"}))
    page.goto("/jobs")
    expect(page.get_by_role("link", name="first")).to_be_visible()
    context.queue.submit(spec.parse({**TRAIN, "name": "second"}))
    expect(page.get_by_role("link", name="second")).to_be_visible()
    expect(page).to_have_title("Jobs – closegap")
