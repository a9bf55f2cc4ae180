"""The page of a training of ten thousand epochs in a real browser, until its curves are drawn and read out by a key."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import browser
from benchmarks.figure import Figure, Mark
from benchmarks.http import Address, api
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.store import EmbeddedStore, connect

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EPOCHS = 10_000
LOADS = 5
MARK = Mark("value", "<", 1000.0)
_CAPACITY = Capacity(cpus=2)
_TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": "iterative",
    "resources": {"workers": 0},
}
_DRAWN = """() => new Promise((done) => {
    const look = () => {
        const plot = document.querySelector('figure[data-chart="ELBO"] .plot');
        if (!plot || !plot.querySelector("canvas")) return requestAnimationFrame(look);
        plot.focus();
        plot.dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true }));
        if (!plot.querySelector(".plot-at")) return requestAnimationFrame(look);
        requestAnimationFrame(() => done(performance.now()));
    };
    look();
})"""


def figures(loads: int = LOADS) -> Iterator[Figure]:
    """Milliseconds of wall time, of a browser with nothing kept; nothing where there is no browser."""
    if browser.absent() is not None:
        return
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place), api_rate=100_000.0)
        with EmbeddedStore(settings.home), api(settings) as address:
            first, *others = [_trained(settings) for _ in range(1 + loads)]
            with browser.launched() as running:
                _load(running, address, first)  # the first requests of a process import and compile
                floor = median(_load(running, address, None) for _ in range(loads))
                value = median(
                    _load(running, address, job) for job in others
                )  # what nobody has looked at yet
    words = f"page, a training of {EPOCHS:,} epochs"
    yield Figure(words, value, "ms", floor, "one small file", floor / value, MARK)


def _trained(settings: Settings) -> str:
    """A job that has reported so many epochs; its id."""
    queue = Queue(connect(settings), settings.namespace, settings.backoff_seconds)
    worker = f"bench-{secrets.token_hex(4)}"
    queue.heartbeat(worker, _CAPACITY)
    queue.submit(spec.parse(_TRAIN))
    claim = queue.claim(worker, _CAPACITY, 600)
    if claim is None:
        raise RuntimeError("the job was not claimed")
    queue.start(claim.lease)
    for first in range(1, EPOCHS + 1, 1000):
        queue.report(claim.lease, [_epoch(number) for number in range(first, first + 1000)])
    return claim.job.id


def _epoch(number: int) -> dict[str, Any]:
    elbo = -90.0 - 200.0 / number + ((number * 2654435761) % 1000) / 500
    terms = {"elbo": elbo, "log_likelihood": elbo + 20.0, "kl": 20.0}
    valid = {**terms, "elbo_by_iteration": [elbo - 300.0, elbo - 3.0, elbo - 1.0, elbo], "active_units": 16}
    return {
        "type": "epoch",
        "epoch": number,
        "epochs": EPOCHS,
        "step": 60 * number,
        "train": terms,
        "valid": valid,
        "learning_rate": 2e-4,
        "kl_weight": 1.0,
        "gradient_norm": {"theta": 2.0, "phi": 1.0},
        "seconds": 1.5,
    }


def _load(running: Browser, address: Address, job: str | None) -> float:
    """Of the job's page, or without one of a page that is one small file, in a window that is signed in."""
    base = f"http://127.0.0.1:{address.port}"
    context = running.new_context(base_url=base, viewport={"width": 1360, "height": 860})
    try:
        context.request.post("/v1/session", headers={"Authorization": f"Bearer {address.token}"})
        page = context.new_page()
        page.goto("/page/icon.svg" if job is None else f"/jobs/{job}", wait_until="commit")
        return float(page.evaluate("performance.now()" if job is None else _DRAWN))
    finally:
        context.close()
