"""The page of one job: what is told of it, what can be done with it, its tabs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect

from closegap.api.context import Context
from closegap.job import State
from closegap.specs import document, spec
from closegap.specs.kinds import SPECS
from closegap_core import bundle
from tests.api.sealed import sealed_model
from tests.page import work
from tests.page.conftest import Open


def test_a_running_job_is_followed_to_its_end(page: Page, context: Context) -> None:
    queue = context.queue
    claim = work.running(queue, "busy", [work.progress(10)])
    job = claim.job.id
    page.goto(f"/jobs/{job}")
    expect(page.get_by_role("heading", name="busy", level=1)).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    bar = page.get_by_role("progressbar", name="10 of 40 steps")
    expect(bar).to_be_visible()
    expect(page.get_by_text("25 %")).to_be_visible()
    queue.report(claim.lease, [work.progress(20)])
    expect(page.get_by_text("50 %")).to_be_visible()
    page.reload()
    expect(page.get_by_text("50 %")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    queue.succeed(claim.lease, {})
    expect(page.locator(".job-title .state")).to_have_text("succeeded")
    expect(page.get_by_text("live", exact=True)).to_be_hidden()
    expect(page).to_have_title("busy · succeeded – closegap")


def test_what_can_be_done_with_it(page: Page, context: Context) -> None:
    queue = context.queue
    work.submitted(queue, "before")
    job = work.submitted(queue, "waits").id
    page.goto("/jobs/waits")
    expect(page).to_have_url(f"{page.url.rsplit('/', 1)[0]}/{job}")
    expect(page.get_by_text("Number 2 in the line.")).to_be_visible()
    expect(page.get_by_text("What would let it run")).to_be_visible()
    state = page.locator(".job-title .state")
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("queued")
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(state).to_have_text("queued")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(state).to_have_text("cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(state).to_have_text("queued")
    assert not page.url.endswith(job)
    page.go_back()
    expect(page.get_by_role("link", name="Its retry")).to_be_visible()


def test_a_running_one_is_asked_to_stop(page: Page, context: Context) -> None:
    claim = work.running(context.queue, "busy")
    page.goto(f"/jobs/{claim.job.id}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".job-title .state")).to_have_text("pausing…")
    expect(page.get_by_text("asked to stop at its next checkpoint")).to_be_visible()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".job-title .state")).to_have_text("cancelling…")
    expect(page.get_by_role("button", name="Cancelling…")).to_be_disabled()
    context.queue.stopped(claim.lease)
    expect(page.locator(".job-title .state")).to_have_text("cancelled")
    assert context.queue.get(claim.job.id).state is State.CANCELLED


def test_why_it_failed(page: Page, context: Context) -> None:
    job = work.failed(context.queue, "broken", "the ELBO is not finite at step 12")
    page.goto(f"/jobs/{job.id}")
    expect(page.get_by_text("the ELBO is not finite at step 12")).to_be_visible()
    expect(page.get_by_text("a smaller training.learning_rate")).to_be_visible()
    page.get_by_role("button", name="Traceback").click()
    expect(page.get_by_text("Traceback (most recent call last)")).to_be_visible()


def test_its_tabs_are_addresses(page: Page, context: Context) -> None:
    job = work.submitted(context.queue, "waits").id
    page.goto(f"/jobs/{job}?tab=spec")
    expect(page.get_by_role("link", name="Spec")).to_have_attribute("aria-current", "page")
    expect(page.get_by_label("Spec", exact=True)).to_contain_text("kind: train")
    page.get_by_role("button", name="JSON").click()
    expect(page.get_by_label("Spec", exact=True)).to_contain_text('"kind": "train"')
    expect(page.get_by_text(f"closegap cancel {job}")).to_be_visible()
    page.keyboard.press("3")
    assert page.url.endswith("?tab=history")
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.locator(".entry")).to_contain_text("queued submitted")
    context.queue.pause(job, actor="grace")
    expect(page.locator(".entry").nth(1)).to_contain_text("by grace")
    page.keyboard.press("5")
    expect(page.locator(".event")).to_have_count(2)
    page.locator(".event").first.click()
    expect(page.locator(".events pre")).to_contain_text('"actor": "grace"')
    page.go_back()
    expect(page.locator(".entry")).to_have_count(2)


def test_its_log_is_followed_and_searched(page: Page, context: Context) -> None:
    queue = context.queue
    lines = [{"type": "log", "line": f"step {i}"} for i in range(1100)]
    said = {"event": "epoch", "level": "warning", "rank": 1, "elbo": -90.5, "job": "x", "attempt": 1}
    claim = work.running(queue, "busy", [*lines, {"type": "log", "line": json.dumps(said)}])
    page.goto(f"/jobs/{claim.job.id}?tab=logs")
    log = page.get_by_role("log")
    expect(log.locator(".log-line")).to_have_count(1000)
    expect(log).to_contain_text("epoch elbo=-90.5")
    expect(log.locator(".log-warning")).to_have_count(1)
    queue.report(claim.lease, [{"type": "log", "line": "\x1b[31mRED\x1b[0m \x07 <b>bold</b>"}])
    last = log.locator(".log-line").last
    expect(last).to_contain_text("RED � <b>bold</b>")
    expect(last).to_be_in_viewport()
    log.evaluate("box => { box.scrollTop = 0; }")
    expect(page.get_by_label("follow")).not_to_be_checked()
    page.get_by_role("button", name="Earlier lines").click()
    expect(page.get_by_text("1,102 lines")).to_be_visible()
    page.get_by_placeholder("Find").fill("step 109")
    expect(log.locator(".log-line")).to_have_count(11)
    expect(log.locator("mark").first).to_have_text("step 109")
    expect(page.get_by_text("11 of 1,102 lines")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 1102


def test_a_long_log_is_followed_without_a_gap(page: Page, context: Context) -> None:
    """Of more lines than are kept the first go; the last are always there."""
    claim = work.running(context.queue, "busy")
    page.goto(f"/jobs/{claim.job.id}?tab=logs")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    lines = page.get_by_role("log").locator(".log-text")
    for first in range(0, 6000, 1000):
        numbers = range(first, first + 1000)
        context.queue.report(claim.lease, [{"type": "log", "line": f"line {n}"} for n in numbers])
        expect(lines.last).to_have_text(f"line {first + 999}")
    expect(page.get_by_text("5,000 lines")).to_be_visible()
    assert lines.all_text_contents() == [f"line {n}" for n in range(1000, 6000)]


def test_what_cannot_be_drawn_leaves_the_other_tabs(window: Open, context: Context) -> None:
    with context.artifacts.staged("evaluate-1", 1) as folder:
        (folder / "metrics.json").write_text("{}")
        bundle.write(folder, "evaluation", {})
        digest = context.artifacts.publish(folder)
    queue, capacity = context.queue, work.CAPACITY
    queue.submit(spec.parse({"kind": "evaluate", "name": "odd", "model": "m", "resources": {"workers": 0}}))
    queue.heartbeat(work.WORKER, capacity)
    claim = queue.claim(work.WORKER, capacity, 600)
    assert claim is not None
    queue.start(claim.lease)
    queue.succeed(claim.lease, {"report": digest})
    one = window()
    one.expect("TypeError")
    one.page.goto(f"/jobs/{claim.job.id}")
    expect(one.page.get_by_role("alert")).to_contain_text("This cannot be drawn")
    one.page.get_by_role("link", name="Logs").click()
    expect(one.page.get_by_role("heading", name="Nothing was written")).to_be_visible()


def test_its_artefacts_are_downloaded_whole(page: Page, context: Context) -> None:
    digest = sealed_model(context.artifacts)
    job = work.succeeded(context.queue, "done", {"model": digest, "valid_elbo": -25.5})
    page.goto(f"/jobs/{job.id}?tab=artifacts")
    expect(page.get_by_text("−25.5")).to_be_visible()
    sealed = context.artifacts.open(digest)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download config.json").click()
    assert download.value.suggested_filename == "config.json"
    assert Path(download.value.path()).read_bytes() == (sealed.path / "config.json").read_bytes()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download notes/read me.html").click()
    assert download.value.suggested_filename == "read_me.html"


def test_its_pipeline_is_a_line_of_links(page: Page, context: Context) -> None:
    specs = [
        work.TRAIN | {"name": "a"},
        {"kind": "evaluate", "name": "b", "model": "${a.model}", "needs": ["a"]},
    ]
    first, second = context.queue.submit(spec.parse(specs))
    page.goto(f"/jobs/{second.id}")
    expect(page.get_by_text("It waits for a")).to_be_visible()
    page.get_by_role("navigation", name="Pipeline").get_by_role("link", name="a").click()
    expect(page.get_by_role("heading", name="a", level=1, exact=True)).to_be_visible()
    assert first.id in page.url


def test_a_job_that_there_is_not(window: Open) -> None:
    one = window()
    one.expect("status of 404")
    one.page.goto("/jobs/train-00000000")
    expect(one.page.get_by_role("alert")).to_contain_text("there is no job")
    one.page.goto("/models/none/such/page")
    assert json.loads(one.page.locator("body").inner_text())["status"] == 404


def test_rows_of_word_counts_are_taken_whole(window: Open) -> None:
    """A preview has a byte a value, which is no whole count; an encoder takes nothing else."""
    counts = [0, 1, 7, 30]
    levels = bytes(round(255 * count / 30) for count in counts)
    preview = {"rows": 2, "low": 0.0, "high": 30.0, "originals": base64.b64encode(2 * levels).decode()}
    page = window(None).page
    page.goto("/page/icon.svg")
    script = "async (preview) => (await import('/page/model/tryout.js')).rowsOf(preview, true)"
    assert page.evaluate(script, preview) == [counts, counts]


@pytest.mark.parametrize("kind", [*SPECS])
def test_a_spec_as_it_is_shown_is_the_same_spec(window: Open, context: Context, kind: str) -> None:
    """What the page shows of a spec, read back, has the digest of the spec."""
    [value] = document.read(spec.example(kind))
    [wanted] = spec.parse(value)
    page = window(None)
    page.page.goto("/page/icon.svg")
    shown = page.page.evaluate(
        """async (value) => {
            const [{ readable }, { toYaml }] = [await import("/page/readable.js"), await import("/page/yaml.js")];
            return toYaml(readable(value));
        }""",
        spec.dump(wanted),
    )
    [found] = spec.parse(yaml.safe_load(shown))
    assert spec.digest(found) == spec.digest(wanted), shown
