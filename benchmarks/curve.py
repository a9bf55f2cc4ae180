"""The page of a training of ten thousand epochs in a real browser, until its curves are drawn and read out by a key."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import browser, visit
from benchmarks.figure import Figure
from benchmarks.http import served
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.store import connect

if TYPE_CHECKING:
    from playwright.sync_api import Page

EPOCHS = 10_000
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


def figures(loads: int = visit.LOADS) -> Iterator[Figure]:
    """Of the job's page; nothing where there is no browser."""
    if browser.absent() is not None:
        return
    with served() as (settings, address):
        jobs = iter([_trained(settings) for _ in range(1 + loads)])
        drawn = partial(_drawn, jobs=jobs)
        yield from visit.figures(address, {f"a training of {EPOCHS:,} epochs": drawn}, loads)


def _drawn(page: Page, jobs: Iterator[str]) -> float:
    """Of the next job: nobody has looked at it yet."""
    page.goto(f"/jobs/{next(jobs)}", wait_until="commit")
    return float(page.evaluate(_DRAWN))


def _trained(settings: Settings) -> str:
    """A job that has reported so many epochs; its id."""
    with connect(settings) as client:
        queue = Queue(client, settings.namespace)
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
