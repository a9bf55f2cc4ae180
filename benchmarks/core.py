"""Training steps and encodings against the machine's peak, in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.figure import Figure, Mark
from benchmarks.flops import encoding, importance_weights, training_step
from benchmarks.peak import Peak, cpu_seconds
from benchmarks.workload import COLOURS, CONFIGS, colours, dataset, exported, noise_images
from closegap_core import memory, seeds
from closegap_core.bounds import iwae_bound
from closegap_core.config import EncodeConfig, ExportConfig
from closegap_core.encode.dataset import encode_dataset
from closegap_core.encode.encoder import Encoder
from closegap_core.group import SINGLE
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.run import Run

ROUNDS = 9
STEP_MARKS = {"paper": Mark("share", "≥", 0.70), "two levels": Mark("share", "≥", 0.55)}
COLOUR_MARK, ENCODE_MARK = Mark("share", "≥", 0.80), Mark("share", "≥", 0.60)
WEIGHTS_MARK = Mark("share", "≥", 0.75)
"""5,000 samples of 64 images in 7 seconds where the best product has 85 GFLOP/s: three quarters of it."""
JOB_ROWS = 1024


@dataclass(frozen=True)
class Task:
    """Work with a known number of FLOP; `units` of it a call."""

    name: str
    unit: str
    units: float
    flop: float
    times: int
    work: Callable[[], object]
    mark: Mark | None


def figures(rounds: int = ROUNDS) -> Iterator[Figure]:
    """Peak, steps, encodings, and the encode job against the bare session."""
    torch.set_num_threads(1)
    memory.keep()
    peak = Peak()
    with exported("paper") as folder:
        tasks = [*_steps(), _weights(), *_encodings(folder)]
        for task in tasks:
            task.work()
        peak()
        rates: dict[str, list[float]] = {task.name: [] for task in tasks}
        shares: dict[str, list[float]] = {task.name: [] for task in tasks}
        peaks: list[dict[str, float]] = []
        for turn in range(rounds):
            peaks.append(peak())
            for task in tasks[turn % len(tasks) :] + tasks[: turn % len(tasks)]:
                seconds = cpu_seconds(task.work, task.times)
                rates[task.name].append(task.units / seconds)
                shares[task.name].append(task.flop / seconds / max(peaks[-1].values()))
        best = median(max(found.values()) for found in peaks)
        for library in peaks[0]:
            rate = median(found[library] for found in peaks)
            name = f"matrix product, {library}"
            yield Figure(name, rate / 1e9, "GFLOP/s", best / 1e9, "best library", rate / best)
        for task in tasks:
            limit, share = best * task.units / task.flop, median(shares[task.name])
            yield Figure(
                task.name, median(rates[task.name]), task.unit, limit, "at best product", share, task.mark
            )
        yield _job(folder, rounds)


def _steps() -> Iterator[Task]:
    for name, config in CONFIGS.items():
        levels = config.model.levels
        size = f"Z {'+'.join(str(level.latent) for level in levels)}, 2x{levels[0].decoder.hidden[0]}"
        run = Run(Model(config, 784), dataset(config.data), SINGLE)
        yield _step(run, size, STEP_MARKS.get(name), 10 if name == "demo" else 1)
    run = Run(Model(colours(), COLOURS), noise_images(), SINGLE)
    yield _step(run, "Z 1024, 1x2048, X 3072", COLOUR_MARK, 1)


def _step(run: Run, size: str, mark: Mark | None, times: int) -> Task:
    batch, samples = run.config.training.batch_size, run.config.inference.samples
    name = f"training step, B {batch}, S {samples}, T 5, {size}"
    return Task(name, "step/s", 1.0, training_step(run.model, batch), times, run.learn, mark)


def _weights() -> Task:
    """Importance weights; a tenth of 5,000 samples, for the rate does not depend on their number."""
    rows, samples, config = 64, 500, CONFIGS["paper"]
    model = Model(config, 784)
    x = torch.from_numpy(dataset(config.data).test.rows[:rows].copy())
    latent = model.generative.latent
    q = Posterior(torch.zeros(rows, latent), torch.zeros(rows, latent))

    def noise(first: int, count: int) -> Tensor:
        return seeds.normal((count, rows, latent), torch.float32, 0, first)

    flop = importance_weights(model, rows, samples)
    name = f"importance-weighted bound, {rows} images"
    return Task(
        name, "sample/s", samples, flop, 1, lambda: iwae_bound(model, x, q, samples, noise), WEIGHTS_MARK
    )


def _encodings(folder: Path) -> Iterator[Task]:
    config = CONFIGS["paper"]
    encoder = Encoder(folder / "encoder.onnx", threads=1)
    fixed = ExportConfig()
    flop = encoding(Model(config, 784), 5, fixed.samples, fixed.elbo_samples)
    rows = dataset(config.data).test.rows[:]
    for size, times in ((1, 40), (32, 6), (256, 1)):
        x = np.ascontiguousarray(rows[:size])
        mark = ENCODE_MARK if size == 256 else None
        work = _call(encoder, x)
        yield Task(f"encode, batch {size}", "row/s", float(size), size * flop, times, work, mark)


def _call(encoder: Encoder, x: np.ndarray) -> Callable[[], object]:
    return lambda: encoder(x, batch_size=len(x))


def _job(folder: Path, rounds: int) -> Figure:
    """Reading, digesting, writing Parquet and the ledger, against nothing but the session; CPU time."""
    encoder = Encoder(folder / "encoder.onnx", threads=1)
    part = dataset(CONFIGS["paper"].data).test
    rows = np.tile(part.rows[:], (JOB_ROWS // len(part.rows), 1))
    ids = np.arange(len(rows), dtype=np.int64)
    bare, job = [], []
    for _ in range(max(3, rounds // 3)):
        bare.append(cpu_seconds(lambda: encoder(rows, batch_size=256)))
        with _folder() as place:
            start = time.process_time()
            for _ in encode_dataset(
                folder / "encoder.onnx", rows, ids, place, EncodeConfig(), {"model": "bench"}
            ):
                continue
            job.append(time.process_time() - start)
    share = median(b / j for b, j in zip(bare, job, strict=True))
    return Figure(
        f"encode job, {JOB_ROWS} rows",
        JOB_ROWS / median(job),
        "row/s",
        JOB_ROWS / median(bare),
        "bare session",
        share,
    )


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        yield Path(place)
