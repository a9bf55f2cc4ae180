"""The list of jobs: live, filtered by the address, in pages, changed where it stands."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from closegap.api.context import Context
from closegap.job import State
from tests.page import work
from tests.page.conftest import Open


def names(page: Page) -> list[str]:
    return page.locator("tbody .job-name > a:first-child").all_inner_texts()


def test_the_first_thing_that_one_sees(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    page.get_by_role("link", name="Train on digits").click()
    expect(page.get_by_role("textbox", name="Spec")).to_have_value(re.compile("kind: train"))
    expect(page.get_by_role("button", name="Submit")).to_be_enabled()


def test_jobs_are_shown_as_they_change(page: Page, context: Context) -> None:
    queue = context.queue
    work.failed(queue, "broken")
    work.succeeded(queue, "done", {"valid_elbo": -25.9489, "epochs": 15, "model": "sha256:00"})
    claim = work.running(queue, "busy", [work.progress(10)])
    waiting = work.submitted(queue, "first", labels={"team": "vision"})
    page.goto("/jobs")
    expect(page).to_have_title("Jobs – closegap")
    row = page.locator("tr", has_text="broken")
    expect(row).to_contain_text("numerical the ELBO is not finite")
    expect(page.locator("tr", has_text="done")).to_contain_text("valid elbo −25.949")
    expect(page.locator("tr", has_text="busy").get_by_role("progressbar")).to_have_attribute(
        "aria-valuenow", "25"
    )
    expect(page.locator("tr", has_text="first")).to_contain_text("queued")
    expect(page.get_by_role("link", name="queued 1")).to_be_visible()
    queue.report(claim.lease, [work.progress(30)])
    work.submitted(queue, "second")
    queue.cancel(waiting.id)
    expect(page.get_by_role("link", name="second")).to_be_visible()
    expect(page.locator("tr", has_text="busy").get_by_role("progressbar")).to_have_attribute(
        "aria-valuenow", "75"
    )
    expect(page.locator("tr", has_text="first")).to_contain_text("cancelled")
    expect(page.get_by_role("link", name="cancelled 1")).to_be_visible()


def test_filters_are_in_the_address(page: Page, context: Context) -> None:
    queue = context.queue
    work.succeeded(queue, "alpha-done")
    other = work.submitted(queue, "alpha-waits", labels={"team": "vision"})
    work.submitted(queue, "beta-waits")
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("link", name=re.compile("^queued")).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("alpha")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert names(page) == ["alpha-waits"]
    assert page.url.endswith("?state=queued&q=alpha")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_placeholder("Name, id")).to_have_value("alpha")
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.go_forward()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto("/jobs")
    page.get_by_placeholder("Name, id").fill("team=vision")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Label team=vision: remove").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_placeholder("Name, id").fill(other.id[:9])
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_placeholder("Name, id").fill("nothing-like-it")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()
    page.get_by_role("link", name="Remove all filters").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_label("Kind").select_option("sweep")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()


def test_pages_of_many(page: Page, context: Context) -> None:
    work.many(context.queue, "one", 120)
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(page.get_by_role("link", name="All 120")).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(20)
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    assert page.url.endswith("/jobs")


def test_many_are_cancelled_after_a_question(page: Page, context: Context) -> None:
    queue = context.queue
    jobs = work.many(queue, "one", 60)
    kept = work.submitted(queue, "kept", kind="train", labels={"keep": "yes"})
    page.goto("/jobs")
    page.get_by_label(f"Select {jobs[-1].id}").check()
    page.get_by_label(f"Select {jobs[-2].id}").check()
    page.get_by_role("button", name="Cancel 2…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Keep them")).to_be_focused()
    dialog.get_by_role("button", name="Keep them").click()
    assert queue.get(jobs[-1].id).state is State.QUEUED
    page.get_by_role("button", name="Cancel 2…").click()
    dialog.get_by_role("button", name="Cancel 2 jobs").click()
    expect(page.get_by_role("link", name="cancelled 2")).to_be_visible()
    page.goto("/jobs?q=one")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Select all that match").click()
    page.get_by_role("button", name="Cancel all…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel all of them").click()
    expect(page.get_by_role("link", name="cancelled 60")).to_be_visible()
    assert queue.get(kept.id).state is State.QUEUED


def test_what_is_chosen_stays_chosen_when_newer_jobs_come(page: Page, context: Context) -> None:
    queue = context.queue
    oldest, *_ = work.many(queue, "one", 50)
    page.goto("/jobs")
    page.get_by_label(f"Select {oldest.id}").check()
    work.submitted(queue, "newer")
    expect(page.get_by_role("link", name="newer")).to_be_visible()
    expect(page.get_by_label(f"Select {oldest.id}")).to_have_count(0)
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Cancel 1…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 1 job").click()
    expect(page.get_by_role("link", name="cancelled 1")).to_be_visible()
    assert queue.get(oldest.id).state is State.CANCELLED


def test_the_priority_is_changed_in_its_place(window: Open, context: Context) -> None:
    job = work.submitted(context.queue, "waits")
    one = window()
    one.expect("status of 422")
    page = one.page
    page.goto("/jobs")
    page.get_by_role("button", name=f"Priority 50 of {job.id}").click()
    field = page.get_by_label(f"Priority of {job.id}")
    field.fill("101")
    page.keyboard.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("80")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=f"Priority 80 of {job.id}")).to_be_visible()
    assert context.queue.get(job.id).priority == 80


def test_by_keys_alone(page: Page, context: Context) -> None:
    for name in ("third", "second", "first"):
        work.submitted(context.queue, name)
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.at")).to_contain_text("second")
    page.keyboard.press("x")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("1 selected")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto("/jobs?q=first")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_role("link", name="Spec")).to_have_attribute("aria-current", "page")
    page.keyboard.press("u")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("/jobs?q=first")
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", name="Workers")).to_be_visible()


def test_a_project_is_chosen_and_kept(page: Page, context: Context) -> None:
    work.submitted(context.queue, "ours", "ours")
    work.submitted(context.queue, "theirs", "theirs")
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Project").select_option("ours")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="All 1")).to_be_visible()
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_one_who_may_only_look(window: Open, context: Context) -> None:
    job = work.submitted(context.queue, "ours", "ours")
    work.submitted(context.queue, "theirs", "theirs")
    page = window("viewer", "ours").page
    page.goto("/jobs")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("button", name="Priority")).to_have_count(0)
    page.goto(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", name="ours")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.goto("/submit")
    expect(page.get_by_role("heading", name="Your token may only look")).to_be_visible()


def test_a_service_that_goes_away_and_comes_back(window: Open, context: Context) -> None:
    work.submitted(context.queue, "there")
    one = window()
    one.expect("Failed to load resource")
    one.page.goto("/jobs")
    expect(one.page.get_by_role("link", name="there")).to_be_visible()
    one.page.route("**/v1/**", lambda route: route.abort())
    expect(one.page.get_by_role("status").filter(has_text="does not answer")).to_be_visible()
    expect(one.page.get_by_role("link", name="there")).to_be_visible()
    one.page.unroute("**/v1/**")
    expect(one.page.get_by_role("status").filter(has_text="does not answer")).to_be_hidden()
    one.page.route("**/v1/jobs?*", lambda route: route.fulfill(body="{", content_type="application/json"))
    expect(one.page.get_by_role("status").filter(has_text="broke off")).to_be_visible()
    one.page.unroute("**/v1/jobs?*")
    expect(one.page.get_by_role("status").filter(has_text="broke off")).to_be_hidden()
    said = {"title": "Service Unavailable", "detail": "the store cannot be reached", "request_id": "abc123"}
    one.page.route("**/v1/jobs?*", lambda route: route.fulfill(status=503, json=said))
    one.page.goto("/jobs?state=queued")
    expect(one.page.get_by_role("alert")).to_contain_text("the store cannot be reached")
    expect(one.page.get_by_role("alert")).to_contain_text("abc123")
    one.page.unroute("**/v1/jobs?*")
    one.page.get_by_role("button", name="Try again").click()
    expect(one.page.get_by_role("link", name="there")).to_be_visible()
