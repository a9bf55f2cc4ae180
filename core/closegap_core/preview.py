"""What inference does to a few validation rows, to be looked at while a model trains.

    {"format": 1, "epoch": 3, "step": 189, "rows": 8, "shape": [28, 28],
     "iterations": [0, 1, 2, 5],               which of 0 … T are shown
     "elbo": [[…], …],                         nats, by shown iteration, then by row
     "low": 0.0, "high": 1.0,                  values that the bytes 0 and 255 stand for
     "originals": "…",                         base64 of rows x X bytes
     "reconstructions": ["…", …],              of each shown iteration: means of p(x | mean of q)
     "measured_rows": 64,                      the two lists below are over so many rows
     "kl_by_dimension": […], "posterior_variance": […], "active": 0.01}

Bounded in size, but for rows that are large by themselves: one is always shown. A function of the weights alone: its
draws are its own, so that a training with it and one without are the same training.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.durable import write_bytes
from closegap_core.model import Model
from closegap_core.posterior import ACTIVE
from closegap_core.validation import Batch, Draws

FORMAT = 1
PREVIEW = "preview.json"
"""Its name in a trained model's folder."""
PICTURED, MEASURED = 8, 64
"""Rows that are shown, and over which dimensions are measured."""
MOST_ITERATIONS = 8
MOST_BYTES = 1 << 19
"""Of all pictures together; fewer rows are shown where they are large."""
DIGITS = 5


@torch.no_grad()
def preview(model: Model, rows: Tensor, shape: tuple[int, ...], epoch: int, step: int) -> dict[str, Any]:
    """Of validation rows (N, X) as they were drawn."""
    batch = Batch(0, rows[:MEASURED])
    words = (model.config.training.seed, seeds.VALIDATION)
    draws = Draws(model.config.inference.samples, model.noise_width, model.dtype, words)
    shown = shown_iterations(model.method.iterations)
    walk = list(model.posteriors(batch.x, draws.inference(batch), model.method.iterations))
    few = max(1, min(PICTURED, len(batch.x), MOST_BYTES // ((len(shown) + 1) * batch.x.shape[1])))
    originals = batch.x[:few]
    pictures = [model.generative.reconstruct(model.theta.views, walk[t].mean[:few]) for t in shown]
    low, high = float(originals.min()), float(originals.max())
    bounds = [model.bound(batch.x, walk[t], draws.measure(batch, t)).elbo[:few] for t in shown]
    last = walk[-1]
    kl = None
    if model.method.auxiliary == 0:
        noise = draws.measure(batch, model.method.iterations)
        kl = _brief(model.generative.kl_by_dimension(model.theta.views, last, noise).double().mean(0))
    variance = last.mean.double().var(0, correction=0)
    return {
        "format": FORMAT,
        "epoch": epoch,
        "step": step,
        "rows": few,
        "shape": list(shape),
        "iterations": shown,
        "elbo": [_brief(bound) for bound in bounds],
        "low": low,
        "high": high,
        "originals": _bytes(originals, low, high),
        "reconstructions": [_bytes(picture, low, high) for picture in pictures],
        "measured_rows": len(batch.x),
        "kl_by_dimension": kl,
        "posterior_variance": _brief(variance),
        "active": ACTIVE,
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """Whole or not at all. Raises StorageError."""
    write_bytes(path, (json.dumps(value, separators=(",", ":")) + "\n").encode())


def shown_iterations(last: int) -> list[int]:
    """Of 0 … `last` at most eight: the ends, and those between ever further apart."""
    if last < MOST_ITERATIONS:
        return list(range(last + 1))
    steps = np.geomspace(1, last, MOST_ITERATIONS - 1)
    return sorted({0, *(round(float(step)) for step in steps)})


def _brief(values: Tensor) -> list[float | None]:
    """Few digits; JSON has no value that is not finite."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]


def _bytes(rows: Tensor, low: float, high: float) -> str:
    """(R, X) values as base64 of bytes: low to high becomes 0 to 255, what lies beyond is clipped."""
    scaled = (rows.double() - low) / (high - low if high > low else 1.0)
    levels = scaled.nan_to_num(0.0).clamp(0.0, 1.0).mul(255).round().to(torch.uint8)
    return base64.b64encode(levels.cpu().numpy().tobytes()).decode("ascii")
