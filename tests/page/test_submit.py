"""Submitting: a spec is checked while it is written, planned, and becomes a job."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from closegap.api.context import Context
from closegap.job import Capacity
from closegap.specs import spec
from tests.page import work
from tests.page.conftest import Open


def test_a_spec_is_checked_planned_and_submitted(window: Open, context: Context) -> None:
    context.queue.heartbeat("w1", Capacity(cpus=4))
    one = window()
    one.expect("status of 422")
    page = one.page
    page.goto("/submit?example=quick")
    field = page.get_by_role("textbox", name="Spec")
    expect(page.get_by_text("a worker is about to claim it")).to_be_visible()
    text = field.input_value()
    field.fill(text.replace("epochs: 15", "epochs: -3").replace("hidden: [128]", "hiden: [128]"))
    expect(page.get_by_role("heading", name="3 problems")).to_be_visible()
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()
    marked = page.locator(".editor-marked")
    expect(marked).to_have_count(3)
    assert marked.all_inner_texts() == ["7", "11", "13"]
    page.get_by_role("button", name="/training/epochs").click()
    expect(field).to_be_focused()
    assert page.evaluate("getSelection().toString()").startswith("training: {epochs: -3")
    page.reload()
    expect(field).to_have_value(re.compile("epochs: -3"))  # what was written is kept
    page.get_by_label("Begin with").select_option("quick")
    expect(field).to_have_value(text)
    field.focus()
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_enabled()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="digits", level=1)).to_be_visible()
    [job] = context.queue.jobs().jobs
    assert job.submitted_by.startswith("admin (token ")
    assert job.spec["training"]["epochs"] == 15


def test_a_pipeline(page: Page, context: Context) -> None:
    page.goto("/submit")
    page.evaluate("localStorage.setItem('closegap.project', 'another')")
    page.reload()
    page.get_by_label("Begin with").select_option("pipeline")
    expect(page.get_by_role("heading", name="Valid: 4 jobs")).to_be_visible()
    expect(page.get_by_text("it would wait for export")).to_be_visible()
    page.get_by_label("Project").last.fill("vision")
    page.get_by_role("button", name="Submit 4 jobs").click()
    expect(page.locator("tbody tr")).to_have_count(4)
    assert re.search(r"/jobs\?pipeline=", page.url)
    assert {job.project for job in context.queue.jobs().jobs} == {"vision"}


def test_again_with_changes(page: Page, context: Context) -> None:
    specs = [
        work.TRAIN | {"name": "a"},
        {"kind": "evaluate", "name": "b", "model": "${a.model}", "needs": ["a"]},
    ]
    first, second = context.queue.submit(spec.parse(specs), project="vision")
    page.goto(f"/jobs/{second.id}")
    page.get_by_role("link", name="Edit and submit").click()
    field = page.get_by_role("textbox", name="Spec")
    expect(field).to_have_value(re.compile(re.escape(f"${{{first.id}.model}}")))
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("heading", name="b", level=1, exact=True)).to_be_visible()
    newest = context.queue.jobs().jobs[0]
    assert newest.id != second.id
    assert (newest.project, list(newest.needs.values())) == ("vision", [first.id])


@pytest.mark.parametrize("kind", ["train", "sweep"])
def test_what_can_never_run_is_said_before(page: Page, context: Context, kind: str) -> None:
    context.queue.heartbeat("w1", Capacity(cpus=1))
    page.goto(f"/submit?example={kind}")
    field = page.get_by_role("textbox", name="Spec")
    expect(field).to_have_value(re.compile(f"kind: {kind}"))
    expect(page.get_by_role("heading", name="Valid")).to_be_visible()
    if kind == "train":
        field.fill(field.input_value().replace("gpus: 0", "gpus: 8"))
        expect(page.get_by_text("It would be refused")).to_be_visible()
