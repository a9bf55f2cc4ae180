"""Training steps on a GPU: as captured graphs, against the same steps launched operator by operator.

Nobody has run this yet: there was no GPU where it was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch

from benchmarks.figure import Figure
from benchmarks.workload import COLOURS, CONFIGS, colours, dataset, noise_images
from closegap_core.config import TrainConfig
from closegap_core.data import Dataset
from closegap_core.feed import Piece
from closegap_core.group import SINGLE
from closegap_core.learner import Eager
from closegap_core.model import Model
from closegap_core.run import Run

STEPS = 50
"""A turn, by the clock."""
WARM_UP = 3
"""The first runs operator by operator, the second is recorded, the third is the first that is only replayed."""


def absent() -> str | None:
    """Why there are no figures; None where there are."""
    if torch.cuda.is_available():
        return None
    return "training steps on a GPU: not measured, for there is no GPU here"


def figures(rounds: int) -> Iterator[Figure]:
    """Of every workload; none without a GPU."""
    if absent() is not None:
        return
    for name, config in CONFIGS.items():
        yield from measured(f"GPU training step, {name}", *_runs(config, dataset(config.data), 784), rounds)
    yield from measured(
        "GPU training step, CIFAR-10 size", *_runs(colours(), noise_images(), COLOURS), rounds
    )


def measured(name: str, captured: Run, eager: Run, rounds: int, steps: int = STEPS) -> Iterator[Figure]:
    """Steps a second of both, in turns, and how fast the host alone draws what they read: no step is faster."""
    rates: dict[str, list[float]] = {"captured": [], "eager": [], "drawn": []}
    for run in (captured, eager):
        _rate(run, run.learn, WARM_UP)
    for _ in range(rounds):
        rates["captured"].append(_rate(captured, captured.learn, steps))
        rates["eager"].append(_rate(eager, eager.learn, steps))
        rates["drawn"].append(_rate(eager, _drawing(eager), steps))
    fast, slow, drawn = (median(found) for found in rates.values())
    yield Figure(f"{name}, captured", fast, "step/s", slow, "operator by operator", fast / slow)
    yield Figure(f"{name}, inputs drawn by the host", drawn, "step/s", fast, "captured", drawn / fast)


def _runs(config: TrainConfig, rows: Dataset, width: int) -> tuple[Run, Run]:
    """Captured, and operator by operator."""
    device = torch.device("cuda")
    fast, slow = (Model(config, width, device=device) for _ in range(2))
    return Run(fast, rows, SINGLE), Run(slow, rows, SINGLE, learner=Eager)


def _drawing(run: Run) -> Callable[[], None]:
    """What the host does for a step of full inference: the batch and noise, and no more."""
    pieces = [Piece("rows"), *(Piece("noise", 0, t) for t in range(run.model.method.draws + 1))]

    def draw() -> None:
        batch = run.feed.batch(run.step)
        fed = run.feed.serve(run.model, run.step, batch, slice(0, len(batch)))
        for piece in pieces:
            fed(piece)

    return draw


def _rate(run: Run, work: Callable[[], None], times: int) -> float:
    """Calls a second, what they leave to the device included."""
    _settle(run.model.device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    _settle(run.model.device)
    return times / (time.perf_counter() - start)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
