"""A real worker, watched by a person: submitted on the page, followed to its end, another one cancelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import yaml
from playwright.sync_api import Browser, expect

from closegap.api.context import Context
from closegap.job import State
from tests.browser import Window, launched
from tests.serving import brief, context, secret, url
from tests.workers.conftest import Start
from tests.workers.working import training

__all__ = ["brief", "context", "secret", "url"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


def test_submitted_watched_and_cancelled_on_the_page(
    browser: Browser, url: str, secret: Callable[..., str], start: Start, context: Context
) -> None:
    worker = start()
    window = Window(browser, url)
    window.sign_in(secret("submitter"))
    page = window.page
    page.goto("/submit")
    page.get_by_role("textbox", name="Spec").fill(yaml.safe_dump(training(12, name="short")))
    page.get_by_role("button", name="Submit", exact=True).click()
    state = page.locator(".job-title .state")
    expect(page.get_by_role("heading", name="short", level=1)).to_be_visible()
    [job] = context.queue.jobs().jobs
    attempt = worker.held(context.artifacts.work(job.work))  # it would be over before one has looked
    expect(state).to_have_text("running", timeout=90_000)
    expect(page.get_by_role("progressbar").first).to_be_visible(timeout=90_000)
    attempt.resume()
    page.reload()
    expect(page.get_by_role("heading", name="short", level=1)).to_be_visible()
    expect(state).to_have_text("succeeded", timeout=120_000)
    page.get_by_role("link", name="Artifacts").click()
    expect(page.get_by_role("link", name="Download weights.safetensors")).to_be_visible()
    page.get_by_role("link", name="Edit and submit").click()
    field = page.get_by_role("textbox", name="Spec")
    expect(field).to_have_value(re.compile("kind: train"))
    field.fill(field.input_value().replace("epochs: 12", "epochs: 100000"))
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(state).to_have_text("running", timeout=90_000)
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(state).to_have_text("cancelled", timeout=90_000)
    assert [job.state for job in context.queue.jobs().jobs] == [State.CANCELLED, State.SUCCEEDED]
    window.close()
