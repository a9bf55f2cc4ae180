"""What the page shows of the work itself: a pipeline that really runs, and what it left, figure by figure."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from closegap.access.token import Role
from closegap.api.context import Context, opened
from closegap.job import Capacity, Failure, Job, Lease, State
from closegap.settings import Settings
from closegap.specs import spec
from tests.page.conftest import Window
from tests.page.hands import Hands
from tests.page.legible import illegible
from tests.serving import served

DATA: dict[str, Any] = {"source": "digits", "split": {"train": 512, "valid": 128, "test": 128}}
INLINE = {"workers": 0}
EPOCHS = 12
PIPELINE: list[dict[str, Any]] = [
    {
        "kind": "train", "name": "learn", "data": DATA, "resources": INLINE, "register": "learned",
        "model": {"likelihood": "bernoulli", "levels": [{"latent": 4, "decoder": {"hidden": [32]}}]},
        "inference": {"method": "iterative", "iterations": 3, "encoder": {"hidden": [32]}},
        "training": {"epochs": EPOCHS, "batch_size": 64, "kl_warmup": 4},
    },
    {
        "kind": "evaluate", "name": "measure", "model": "${learn.model}", "resources": INLINE,
        "evaluation": {
            "rows": 32, "samples": 4, "importance_samples": 20, "refinement": {"iterations": 8},
            "gaps": {
                "rows": 8, "elbo_samples": 20, "importance_samples": 50, "ais": None, "certificate_rows": 0,
                "optimum": {"max_steps": 40, "window": 10},
            },
            "frontier": {"rows": 8, "passes": 6, "samples": 4},
        },
    },
    {"kind": "export", "name": "export", "model": "${learn.model}", "resources": INLINE, "register": "encoder"},
    {
        "kind": "encode", "name": "encode", "model": "${export.model}", "data": {"part": "train"},
        "encode": {"shard_rows": 100}, "resources": INLINE,
    },
    {
        "kind": "compare", "name": "beside", "resources": INLINE,
        "comparison": {"title": "Ours and theirs", "columns": ["elbo", "iwae"], "published_in": "a paper"},
        "reports": [
            {"label": "ours", "report": "${measure.report}", "published": {"elbo": -30.5, "iwae": "not told"}},
        ],
    },
]  # fmt: skip
LONGEST = 90.0
LARGE = 4096
"""CPUs that only a worker has that is elsewhere."""
ELSEWHERE = Capacity(cpus=LARGE)


class Service(NamedTuple):
    """A service that works, for all tests of this module."""

    context: Context
    url: str
    client: httpx.Client
    jobs: dict[str, str]

    def get(self, path: str, **params: Any) -> Any:
        """What the API answers."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, name: str) -> Job:
        """The job of this name once it has succeeded."""
        limit = time.monotonic() + LONGEST
        while not (job := self.context.queue.get(self.jobs[name])).state.terminal:
            assert time.monotonic() < limit, f"{name} is {job.state}"
            time.sleep(0.1)
        assert job.state is State.SUCCEEDED, job.error
        return job


@pytest.fixture(scope="module")
def service(store_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The pipeline is submitted; whoever looks first sees it run."""
    folder = tmp_path_factory.mktemp("work")
    settings = Settings.load(
        home=store_home, namespace=f"test-{secrets.token_hex(6)}", storage=(folder / "storage").as_uri(),
        api_rate=100_000.0, api_beat_seconds=0.2,
    )  # fmt: skip
    context = opened(settings)
    headers = {"Authorization": f"Bearer {context.tokens.create('test', Role.ADMIN).secret}"}
    hands = Hands(settings, folder / "attempts.log")
    hands.start()
    try:
        with served(context) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            made = client.post("/v1/jobs", json=PIPELINE)
            assert made.status_code == 202, made.text
            jobs = {job["name"]: job["id"] for job in made.json()["jobs"]}
            yield Service(context, url, client, jobs)
    finally:
        hands.stop()
        sys.stdout.write((folder / "attempts.log").read_text())


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page of an admin; any error that the browser tells of fails the test."""
    window = Window(browser, service.url)
    window.sign_in(service.context.tokens.create("page", Role.ADMIN).secret)
    yield window.page
    window.close()


def tile(page: Page, name: str) -> Locator:
    return page.locator(".tiles > div").filter(
        has=page.locator("dt", has_text=re.compile(f"^{re.escape(name)}$"))
    )


def number(text: str) -> float:
    found = re.search(r"[−-]?[\d,]+(\.\d+)?(e[−-]?\d+)?", text)
    assert found, text
    return float(found.group().replace("−", "-").replace(",", ""))


def figure(page: Page, title: str) -> Locator:
    return page.locator(f'figure[data-chart="{title}"]')


def data(page: Page, title: str) -> list[list[str]]:
    """The table of a chart."""
    chart = figure(page, title)
    chart.get_by_role("button", name="Show data").click()
    rows = chart.locator(".chart-data tbody tr")
    rows.first.wait_for()
    found: list[list[str]] = rows.evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    chart.get_by_role("button", name="Hide data").click()
    return found


def test_a_training_is_watched_as_it_goes(page: Page, service: Service) -> None:
    page.goto(f"/jobs/{service.jobs['learn']}")
    epoch = tile(page, "Epoch").locator("dd > .number")
    expect(epoch).to_be_visible(timeout=1000 * LONGEST)
    service.ended("learn")
    expect(epoch).to_have_text(str(EPOCHS))
    series = {
        one["name"]: one["points"]
        for one in service.get(f"/v1/jobs/{service.jobs['learn']}/metrics")["series"]
    }
    for title, term in (("ELBO", "elbo"), ("Log-likelihood", "log_likelihood"), ("KL", "kl")):
        rows = data(page, title)
        assert [number(row[0]) for row in rows] == list(range(1, EPOCHS + 1))
        for column, part in ((1, "valid"), (2, "train")):
            shown = [number(row[column]) for row in rows]
            assert shown == pytest.approx([y for _, y in series[f"{part}.{term}"]], rel=1e-4)
    weights = [number(row[3]) for row in data(page, "KL")]  # overlaid, for the KL was warmed up
    assert weights == pytest.approx([y for _, y in series["kl_weight"]], rel=1e-4)
    last = service.get(f"/v1/jobs/{service.jobs['learn']}/iterations")["epochs"][-1]
    rows = data(page, "ELBO over iterations")
    assert [number(row[-1]) for row in rows] == pytest.approx(last["elbo"], rel=1e-4)
    assert number(tile(page, "Active units").locator("dd > .number").inner_text()) <= 4
    canvases = figure(page, "Reconstructions over iterations").locator("canvas")
    expect(canvases).to_have_count(5)  # x, and 0 to 3 iterations
    ink = canvases.evaluate_all(
        "all => all.map(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((a, b) => a + b, 0))"
    )
    assert len(set(ink)) == 5  # pictures, and not the same one
    expect(figure(page, "Norm of the gradient")).to_be_visible()
    expect(figure(page, "KL by dimension")).to_be_visible()


def test_a_curve_is_read_out_by_keys_and_kept_by_reload(page: Page, service: Service) -> None:
    service.ended("learn")
    page.goto(f"/jobs/{service.jobs['learn']}")
    chart = figure(page, "ELBO")
    plot = chart.locator(".plot")
    plot.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(chart.locator(".plot-at")).to_have_text("epoch 2")
    rows = data(page, "ELBO")
    shown = chart.locator(".key-value").first.inner_text()
    assert number(shown) == pytest.approx(number(rows[1][1]), rel=1e-3)
    chart.get_by_title("Hide training").click()
    expect(chart.get_by_title("Show training")).to_be_visible()
    page.reload()
    expect(figure(page, "ELBO")).to_be_visible()


def test_an_evaluation_shows_its_gaps(page: Page, service: Service) -> None:
    job = service.ended("measure")
    found = service.get(f"/v1/jobs/{job.id}/artifacts/report/metrics.json")
    page.goto(f"/jobs/{job.id}")
    elbo = tile(page, "ELBO").locator("dd > .number")
    assert number(elbo.inner_text()) == pytest.approx(found["elbo"], rel=1e-4)
    rows = {row[0]: row for row in data(page, "Gaps")}
    for part, gap in found["gaps"].items():
        for name in ("amortization", "approximation", "inference"):
            row = rows[f"{part}, 8 rows, {name}"]
            assert number(row[1]) == pytest.approx(gap[f"{name}_gap"]["value"], rel=1e-4, abs=1e-6)
            errors = gap[f"{name}_gap"]
            error = (errors["standard_error"] ** 2 + errors["estimator_error"] ** 2) ** 0.5
            assert number(row[2]) == pytest.approx(error, rel=1e-4)
    curve = [number(row[1]) for row in data(page, "ELBO over iterations")]
    assert curve == pytest.approx([point["elbo"] for point in found["elbo_by_iteration"]], rel=1e-4)
    for sentence in found["verdict"]:
        expect(page.get_by_text(sentence).first).to_be_visible()
    expect(figure(page, "Gap left by decoder passes")).to_be_visible()
    expect(figure(page, "Reconstructions over iterations").locator("canvas")).to_have_count(5)


def test_a_comparison_shows_what_was_published_beside_what_was_measured(page: Page, service: Service) -> None:
    job = service.ended("beside")
    lines = service.get(f"/v1/jobs/{job.id}/artifacts/comparison/table.json")["lines"]
    # Shown as far as its error lets it be known: two digits of that.
    measured = {
        line["quantity"]: pytest.approx(line["measured"], abs=0.051 * line["standard_error"])
        for line in lines
    }
    page.goto(f"/jobs/{job.id}")
    table = page.get_by_role("table", name="Published and measured")
    expect(table).to_be_visible()
    label, *cells = table.locator("tbody td").all_inner_texts()
    assert (label, number(cells[0]), cells[2]) == ("ours", -30.5, "not told")
    assert number(cells[1]) == measured["elbo"]
    assert number(cells[3]) == measured["iwae"]
    picture = page.get_by_role("img", name="Ours and theirs")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").click()
    assert "</html>" in Path(download.value.path()).read_text()


def test_an_export_shows_parity_and_quality(page: Page, service: Service) -> None:
    job = service.ended("export")
    quality = service.get(f"/v1/jobs/{job.id}/artifacts/model/quality.json")
    parity = service.get(f"/v1/jobs/{job.id}/artifacts/model/parity.json")
    page.goto(f"/jobs/{job.id}")
    expect(tile(page, "Knee")).to_contain_text(str(quality["knee"]))
    rows = data(page, "ELBO and speed by iterations")
    assert [number(row[1]) for row in rows] == pytest.approx([p["elbo"] for p in quality["points"]], rel=1e-4)
    rates = [number(row[2]) for row in rows]
    assert rates == pytest.approx(
        [job.outputs["rows_per_second"][str(p["iterations"])] for p in quality["points"]], rel=1e-3
    )
    checks = page.get_by_role("table", name="Checks of the exported file").locator("tbody tr")
    expect(checks).to_have_count(len(parity["checks"]) + len(parity["iterations"]))  # q and ELBO of each


def test_an_encoding_shows_shards_and_how_unlike_rows_are(page: Page, service: Service) -> None:
    job = service.ended("encode")
    found = service.get(f"/v1/jobs/{job.id}/artifacts/encoding/metrics.json")
    page.goto(f"/jobs/{job.id}")
    expect(tile(page, "Rows")).to_contain_text("512")
    expect(page.locator(".shard-map .shard.done")).to_have_count(6)
    expect(tile(page, "Parity")).to_contain_text("passed")
    rows = data(page, "ELBO of the encoded rows")
    assert [number(row[2]) for row in rows] == found["elbo_histogram"]["counts"]
    assert [number(row[3]) for row in rows] == found["validation"]["counts"]
    share = number(tile(page, "Unlike the data").locator("dd > .number").inner_text())
    assert share == pytest.approx(100 * found["validation"]["below"], rel=1e-2)


def test_a_model_has_lineage_aliases_and_is_tried_out(page: Page, service: Service) -> None:
    for name in ("export", "measure"):
        service.ended(name)
    page.goto("/models")
    page.get_by_role("link", name="encoder", exact=True).click()
    expect(page.get_by_role("heading", name="encoder version 1")).to_be_visible()
    steps = page.locator(".lineage-step")
    expect(steps).to_have_count(3)  # data, trained, exported
    expect(steps.nth(1).get_by_role("link", name="learn")).to_have_attribute(
        "href", f"/jobs/{service.jobs['learn']}"
    )
    expect(figure(page, "Gaps")).to_be_visible()  # of the evaluation that was submitted with it
    page.get_by_label("Alias", exact=True).fill("best")
    page.get_by_role("button", name="Set alias").click()
    expect(page.get_by_role("table", name="Aliases")).to_contain_text("@best")
    expect(page.get_by_role("table", name="Aliases")).to_contain_text("page")  # who set it
    assert service.get("/v1/models/encoder/aliases/best")["version"] == 1
    page.get_by_role("button", name="Take 3 validation rows").click()
    rows = json.loads(page.locator("textarea").input_value())
    page.get_by_role("button", name="Encode 3 rows").click()
    expect(page.locator(".posterior")).to_have_count(3)
    expected = service.client.post("/v1/encode/encoder@best", json={"rows": rows}).json()
    shown = [number(text) for text in page.locator(".posterior-head .number").all_inner_texts()]
    assert shown == pytest.approx(expected["elbo"], rel=1e-3)
    page.locator("textarea").fill("[[1, 2], [3]]")
    expect(page.get_by_role("alert")).to_contain_text("Row 1")
    page.get_by_role("button", name="Remove @best").click()
    page.get_by_role("button", name="Remove", exact=True).last.click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert service.client.get("/v1/models/encoder/aliases/best").status_code == 404


SWEEP: dict[str, Any] = {
    "kind": "sweep", "name": "many",
    "train": {name: PIPELINE[0][name] for name in ("data", "model", "inference")},
    "space": {
        "training.learning_rate": {"log_uniform": [1e-4, 1e-1]}, "inference.iterations": {"choice": [1, 2, 4]},
    },
    "search": {"algorithm": "random", "trials": 1000}, "resources": {"workers": 1, "cpus": LARGE},
}  # fmt: skip
MARKUP = "<img src=x onerror=alert(1)>"


def test_a_sweep_of_a_thousand_trials_stays_fluid(page: Page, service: Service) -> None:
    service.context.queue.heartbeat("elsewhere", ELSEWHERE)
    job = service.context.queue.submit(spec.parse(SWEEP))[0]
    folder = service.context.artifacts.work(job.work) / "held-000000000000001" / "trials"
    for i in range(1000):
        place = folder / f"trial-{i:05d}"
        place.mkdir(parents=True)
        params = {
            "training.learning_rate": 10 ** (-4 + 3 * ((i * 7919) % 1000) / 1000),
            "inference.iterations": (1, 2, 4)[i % 3],
        }
        if i == 17:
            params["note"] = MARKUP
        row = {
            "id": i,
            "params": params,
            "epochs": 10,
            "epoch": 10,
            "value": -30.0 + (i % 97) / 10,
            "state": "completed",
            "failure": None,
        }
        (place / "trial.json").write_text(json.dumps(row))
        (place / "curve.txt").write_text("".join(f"{e} {row['value'] - 20 / e}\n" for e in range(1, 11)))
    page.goto(f"/jobs/{job.id}")
    expect(tile(page, "Trials")).to_contain_text("1,000")
    best = service.get(f"/v1/jobs/{job.id}/trials")["best"]
    expect(page.get_by_role("heading", name=f"Best so far: trial {best['id']}")).to_be_visible()
    expect(figure(page, "Validation ELBO").locator("canvas")).to_be_visible()
    expect(figure(page, "Parallel coordinates")).to_be_visible()
    table = page.locator(".trials")
    assert table.locator("tbody tr").count() < 40  # only those that are seen are there
    taken = page.evaluate(
        """async () => {
            const heads = [...document.querySelectorAll('.trials .sort')];
            const sort = heads.find(head => head.textContent.startsWith('training.learning_rate'));
            const begun = performance.now();
            sort.click();
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            return performance.now() - begun;
        }"""
    )
    assert taken < 2000, f"sorting took {taken:.0f} ms"
    rates = [
        number(text) for text in table.locator("tbody tr:not(.spacer) td:nth-child(5)").all_inner_texts()
    ]
    assert rates == sorted(rates) or rates == sorted(rates, reverse=True)
    page.locator(".trials .sort", has_text="note").click()
    expect(table.get_by_text(MARKUP)).to_be_visible()  # as text
    page.get_by_role("button", name="Copy as a train spec").click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    service.context.queue.cancel(job.id, "test")


def test_a_curve_of_ten_thousand_points_is_drawn_at_once(page: Page, service: Service) -> None:
    job, lease = fabricated(service, {**PIPELINE[0], "name": "long", "register": None})
    noise = [((n * 2654435761) % 1000) / 1000 for n in range(10_000)]
    for first in range(0, 10_000, 1000):
        service.context.queue.report(
            lease,
            [
                epoch(n + 1, -100 + 60 * (1 - 2.71 ** (-n / 900)) + noise[n])
                for n in range(first, first + 1000)
            ],
        )
    page.goto(f"/jobs/{job}")
    # A bound that a busy machine keeps, too; the figure is in the benchmarks.
    expect(figure(page, "ELBO").locator("canvas")).to_be_visible(timeout=30_000)
    assert number(tile(page, "Epoch").locator("dd > .number").inner_text()) == 10_000
    service.context.queue.report(lease, [epoch(10_001, -1.0)])
    expect(tile(page, "Epoch")).to_contain_text("10,001")  # as it comes
    assert number(tile(page, "Best").locator("dd > .number").inner_text()) == -1.0
    assert len(data(page, "Throughput")) == 500  # though other figures are thinned to other epochs
    service.context.queue.fail(lease, failure())


def test_a_quick_training_is_drawn_as_it_goes(page: Page, service: Service) -> None:
    """Though an epoch comes before what was drawn of the one before is a second old."""
    job, lease = fabricated(service, {**PIPELINE[0], "name": "quick", "register": None})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/iterations?" in request.url else None)
    page.goto(f"/jobs/{job}")
    limit, n = time.monotonic() + 30, 0
    while len(asked) < 2:
        assert time.monotonic() < limit, f"{n} epochs, asked for {len(asked)} times"
        n += 1
        service.context.queue.report(lease, [epoch(n, -5.0)])
        page.wait_for_timeout(150)
    service.context.queue.fail(lease, failure())


def test_what_has_not_begun_says_so(page: Page, service: Service) -> None:
    service.context.queue.heartbeat("elsewhere", ELSEWHERE)
    later = {**PIPELINE[0], "name": "later", "register": None, "resources": {"workers": 1, "cpus": LARGE}}
    job = service.context.queue.submit(spec.parse(later))[0]
    page.goto(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", name="It waits for a worker")).to_be_visible()
    service.context.queue.cancel(job.id, "test")
    expect(page.get_by_role("heading", name="It was cancelled before it measured anything")).to_be_visible()
    page.goto("/models?name=nothing-like-it")
    expect(page.get_by_role("heading", name="No model has")).to_be_visible()


def test_what_is_damaged_is_told_and_the_rest_is_shown(browser: Browser, service: Service) -> None:
    job, lease = fabricated(service, {**PIPELINE[0], "name": "hurt", "register": None})
    service.context.queue.report(lease, [epoch(1, -5.0)])
    held = service.context.artifacts.work(service.context.queue.get(job).work) / "held-000000000000001"
    held.mkdir(exist_ok=True)
    (held / "preview.json").write_text("{")
    window = Window(browser, service.url)
    window.sign_in(service.context.tokens.create("page", Role.ADMIN).secret)
    window.expect("409")
    window.page.goto(f"/jobs/{job}")
    expect(window.page.get_by_role("alert")).to_contain_text("the preview cannot be read")
    expect(figure(window.page, "ELBO")).to_be_visible()
    window.close()
    service.context.queue.fail(lease, failure())


def test_everybody_can_read_what_the_work_left(browser: Browser, service: Service) -> None:
    for name in service.jobs:
        service.ended(name)
    window = Window(browser, service.url)
    window.sign_in(service.context.tokens.create("page", Role.ADMIN).secret)
    for place in (*(f"/jobs/{job}" for job in service.jobs.values()), "/models", "/models/encoder"):
        window.page.goto(place)
        assert illegible(window.page) == [], place
    window.close()


def epoch(n: int, elbo: float) -> dict[str, Any]:
    terms = {"elbo": elbo, "log_likelihood": elbo + 3.0, "kl": 3.0}
    valid = {**terms, "elbo_by_iteration": [elbo - 50.0, elbo - 2.0, elbo], "active_units": 4}
    return {
        "type": "epoch", "epoch": n, "epochs": 20_000, "step": 16 * n, "train": terms, "valid": valid,
        "seconds": 0.1 + n * 7919 % 100 / 1000,
        "learning_rate": 1e-3, "kl_weight": 1.0, "gradient_norm": {"theta": 2.0, "phi": 1.0},
    }  # fmt: skip


def fabricated(service: Service, document: dict[str, Any]) -> tuple[str, Lease]:
    """A job that runs here and not on the worker, which it is too large for: its id, and the lease to report by."""
    for name in service.jobs:
        service.ended(name)
    made = spec.parse({**document, "resources": {"workers": 0, "cpus": LARGE}})
    service.context.queue.heartbeat("elsewhere", ELSEWHERE)
    job = service.context.queue.submit(made)[0]
    claim = service.context.queue.claim("elsewhere", Capacity(cpus=LARGE, kinds=frozenset({"train"})), 600)
    assert claim is not None
    assert claim.job.id == job.id
    service.context.queue.start(claim.lease)
    return job.id, claim.lease


def failure() -> Failure:
    return Failure(failure="user", message="the test is over")
