"""`python -m tests.page.screenshots FOLDER`: pictures of every page, of a real service that does real work.

Starts `closegap up` in a folder of its own, lets a pipeline and a sweep run, fills the queue, and photographs each page
in light, in dark and in a narrow window. Takes some minutes; docs/page.md shows the result.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, final

import httpx
import numpy as np
import yaml
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks import browser
from closegap.settings import environment

ROOT = Path(__file__).parents[2]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 400, "height": 800}
COLOURS = 256
LONG: dict[str, Any] = {"epochs": 100_000, "batch_size": 64, "learning_rate": 1e-3}
NAMES = (
    "mnist-iterative",
    "mnist-standard",
    "reuters-ladder",
    "patches-iterative",
    "omniglot-svi",
    "digits-hybrid",
)


@final
class Service(NamedTuple):
    """A running service and an admin's client of it."""

    url: str
    client: httpx.Client

    def submit(self, *specs: dict[str, Any], project: str = "default") -> list[dict[str, Any]]:
        """The jobs of these specs."""
        answer = self.client.post("/v1/jobs", json=list(specs), params={"project": project})
        answer.raise_for_status()
        jobs: list[dict[str, Any]] = answer.json()["jobs"]
        return jobs

    def wait(self, job: dict[str, Any], *states: str, seconds: float = 300.0) -> dict[str, Any]:
        """The job once it is in one of these states."""
        limit = time.monotonic() + seconds
        while (found := self.client.get(f"/v1/jobs/{job['id']}").json())["state"] not in states:
            if time.monotonic() > limit:
                raise RuntimeError(f"{job['id']} is {found['state']} after {seconds:g} s")
            time.sleep(0.3)
        return dict(found)


@contextmanager
def service(home: Path) -> Iterator[Service]:
    """`closegap up`, for as long as the block lasts."""
    variables = {
        "CLOSEGAP_HOME": str(home),
        "CLOSEGAP_STORAGE": (home / "storage").as_uri(),
        "CLOSEGAP_API_PORT": "0",
    }
    command = [sys.executable, "-c", "from closegap.cli import main; main()", "up", "--json"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment(**variables))
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        token = Path(said["token_file"]).read_text().strip()
        with httpx.Client(
            base_url=said["url"], headers={"Authorization": f"Bearer {token}"}, timeout=30
        ) as client:
            yield Service(said["url"], client)
    finally:
        process.terminate()
        process.wait(60)


def train(name: str, **fields: Any) -> dict[str, Any]:
    """A spec of a small training."""
    [first, *_] = yaml.safe_load_all((ROOT / "examples" / "pipeline.yaml").read_text())
    return {**first, "name": name, **fields}


def worked(served: Service) -> dict[str, str]:
    """Real work, done: a pipeline, a comparison, a sweep, a failure; ids by what they are."""
    pipeline, compared = (
        list(yaml.safe_load_all((ROOT / "examples" / name).read_text()))
        for name in ("pipeline.yaml", "compare.yaml")
    )
    pipeline[0] |= {"register": "digits", "labels": {"team": "vision"}}
    jobs = {job["kind"]: job for job in served.submit(*pipeline)}
    jobs["compare"] = served.submit(*compared)[-1]
    sweep = yaml.safe_load((ROOT / "examples" / "sweep.yaml").read_text())
    sweep["train"]["training"]["epochs"] = 12
    jobs["sweep"] = served.submit(sweep)[0]
    lost = {"kind": "evaluate", "name": "not-there", "model": "never-registered", "resources": {"workers": 0}}
    jobs["failed"] = served.submit(lost)[0]
    for name, job in jobs.items():
        served.wait(job, "failed" if name == "failed" else "succeeded")
    return {name: job["id"] for name, job in jobs.items()}


def busy(served: Service) -> dict[str, str]:
    """A queue as it is in the middle of a day."""
    running = served.submit(
        train(
            "digits-long",
            training=LONG,
            priority=90,
            labels={"paper": "table1"},
            resources={"workers": 0, "cpus": 2},
        )
    )[0]
    served.wait(running, "running")
    for number in range(40):
        labels = [{}, {"team": "vision"}, {"paper": "table1", "seed": str(number % 5)}][number % 3]
        name, priority = f"{NAMES[number % len(NAMES)]}-{number}", (20, 50, 50, 80)[number % 4]
        project = ("vision", "vision", "text")[number % 3]
        last = served.submit(train(name, labels=labels, priority=priority), project=project)[0]
    served.client.post(f"/v1/jobs/{last['id']}:cancel")
    held = served.submit(train("held"))[0]
    served.client.post(f"/v1/jobs/{held['id']}:pause")
    first = train("second-try", training=LONG)
    report = {"kind": "evaluate", "name": "measure", "needs": ["second-try"], "model": "${second-try.model}"}
    waiting = served.submit(first, report)[0]
    time.sleep(5.0)  # some epochs
    return {"running": running["id"], "queued": waiting["id"]}


def places(ids: dict[str, str]) -> dict[str, str]:
    """Addresses of the page by the names of their pictures."""
    kinds = ("train", "sweep", "evaluate", "compare", "export", "encode", "failed", "running", "queued")
    tabs = ("spec", "history", "logs", "events", "artifacts")
    return {
        "jobs": "/jobs",
        **{name: f"/jobs/{ids[name]}" for name in kinds},
        **{tab: f"/jobs/{ids['train']}?tab={tab}" for tab in tabs},
        "submit": "/submit?example=pipeline",
        "models": "/models",
        "model": "/models/digits/1",
        "encoder": "/models/digits-encoder/1",
        "workers": "/workers",
    }


def photograph(running: Browser, served: Service, found: dict[str, str], folder: Path) -> None:
    """Each place in each manner."""
    manners: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {"viewport": WIDE, "color_scheme": "light"}),
        ("-dark", {"viewport": WIDE, "color_scheme": "dark"}),
        ("-narrow", {"viewport": NARROW, "color_scheme": "light"}),
    )
    for suffix, options in manners:
        context = running.new_context(base_url=served.url, locale="en-GB", **options)
        context.request.post("/v1/session", headers=dict(served.client.headers))
        page = context.new_page()
        for name, address in found.items():
            if suffix == "-narrow" and name not in ("jobs", "running", "workers", "submit"):
                continue
            page.goto(address)
            take(page, folder / f"{name}{suffix}.png")
        context.close()


def take(page: Page, file: Path) -> None:
    """A picture of what is in the window, in few colours: a third of the bytes."""
    page.locator("main").wait_for()
    page.wait_for_timeout(1500)
    _in_few_colours(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1024} KiB")


def _in_few_colours(picture: Image.Image) -> Image.Image:
    """Each colour is the most frequent one of those that it stands for, so that areas keep theirs exactly."""
    few = picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    pixels = np.asarray(picture).reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    places = np.asarray(few).reshape(-1).astype(np.int64)
    pairs, counts = np.unique(places << 24 | pixels, return_counts=True)
    palette = np.zeros((COLOURS, 3), np.uint8)
    for pair in pairs[np.argsort(counts)]:  # the most frequent last
        palette[pair >> 24] = (pair >> 16 & 255, pair >> 8 & 255, pair & 255)
    few.putpalette(palette.tobytes())
    return few


def main() -> int:
    """Pictures into a folder; exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.page.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if (why := browser.absent()) is not None:
        sys.stderr.write(f"{why}\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="closegap-page-") as home, service(Path(home)) as served:
        with browser.launched() as running:
            nobody = running.new_context(base_url=served.url, viewport=WIDE, color_scheme="light")
            page = nobody.new_page()
            page.goto("/login")
            take(page, folder / "login.png")
            photograph(running, served, {"first": "/jobs"}, folder)
        ids = worked(served) | busy(served)
        with browser.launched() as running:
            photograph(running, served, places(ids), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
