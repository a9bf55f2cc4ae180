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

from benchmarks.figure import Figure, Mark
from benchmarks.flops import encoding, training_step
from benchmarks.peak import Peak, cpu_seconds
from benchmarks.workload import CONFIGS, dataset, exported
from closegap_core.config import EncodeConfig, ExportConfig
from closegap_core.encode.dataset import encode_dataset
from closegap_core.encode.encoder import Encoder
from closegap_core.group import SINGLE
from closegap_core.model import Model
from closegap_core.run import Run

ROUNDS = 9
STEP_MARK, ENCODE_MARK = Mark("share", "≥", 0.45), Mark("share", "≥", 0.60)
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
    peak = Peak()
    with exported("paper") as folder:
        tasks = [*_steps(), *_encodings(folder)]
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
        run = Run(Model(config, 784), dataset(config.data), SINGLE)
        batch = config.training.batch_size
        level, inference = config.model.levels[0], config.inference
        size = f"B {batch}, S {inference.samples}, T 5, Z {level.latent}, 2x{level.decoder.hidden[0]}"
        mark, times = (STEP_MARK, 1) if name == "paper" else (None, 10)
        yield Task(
            f"training step, {size}", "step/s", 1.0, training_step(run.model, batch), times, run.learn, mark
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
