"""The bound of a row over two dimensions of q's mean, and the paths of inference on it (Marino et al. 2018, fig. 3)."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import CHUNK_ROWS
from closegap_core.config import FrontierRefinerConfig, SurfaceConfig
from closegap_core.errors import ConfigError
from closegap_core.inference.base import Noise, start_of
from closegap_core.inference.refiners import refine
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.moments import Columns
from closegap_core.measure.optimum import best_of
from closegap_core.measure.stage import Found, Stage
from closegap_core.measure.subject import Subject
from closegap_core.posterior import Posterior
from closegap_core.validation import Batch

PATH_DRAWS = 7
"""Use of noise; `Subject.draws` knows it."""


@final
class Surface(Stage):
    """A row at a time: all of a grid's points are one batch of the same row."""

    name, chunk = "surface", 1

    def __init__(self, subject: Subject, config: SurfaceConfig) -> None:
        """Raises ConfigError when the model has no such dimensions."""
        latent = subject.model.generative.latent
        if max(config.dimensions) >= latent:
            raise ConfigError(
                f"evaluation.surface.dimensions are {list(config.dimensions)}, but z has {latent}, counted from 0"
            )
        self.subject, self.model, self.config = subject, subject.model, config
        self.portion = subject.portion(subject.evaluation.part, config.rows)
        self.rows = self.portion.size
        self.axis = np.arange(config.low, config.high + config.step / 2, config.step)
        self.last = 1 if subject.one_pass else 2 * subject.iterations
        self.samples = config.samples if config.objective == "elbo" else 1
        walks = sum(refiner.samples * config.steps for refiner in config.refiners)
        self.cost = self.samples * len(self.axis) ** 2 + 2 * walks

    @torch.no_grad()
    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        batch, best = self.portion.batch(rows), best_of(found, self.portion, rows)
        columns = {"optimum": self._plane(best)}
        own = self.subject.posteriors(batch, self.last)
        columns["path_0"] = np.stack([self._plane(q) for q in own], 1)
        for number, refiner in enumerate(self.config.refiners, 1):
            columns[f"path_{number}"] = np.stack([self._plane(q) for q in self._walk(batch, refiner)], 1)
        heights = []
        for part in self._grid(best):
            heights.append(self._heights(batch.x, part))
            yield self.samples * sum(map(len, heights))
        side = len(self.axis)
        return {**columns, "heights": torch.cat(heights).view(1, side, side).numpy()}

    def _plane(self, q: Posterior) -> np.ndarray:
        """(B, 2)"""
        found: np.ndarray = q.mean[:, list(self.config.dimensions)].numpy()
        return found

    def _grid(self, best: Posterior) -> Iterator[Posterior]:
        """The best q with its mean at every point, in parts: the second dimension by lines, the first along them."""
        axis = torch.as_tensor(self.axis, dtype=self.model.dtype)
        second, first = (line.flatten() for line in torch.meshgrid(axis, axis, indexing="ij"))
        mean = best.mean.repeat(len(first), 1)
        mean[:, self.config.dimensions[0]], mean[:, self.config.dimensions[1]] = first, second
        for part in mean.split(max(1, CHUNK_ROWS // self.samples)):
            yield Posterior(part, best.log_var.expand(len(part), -1))

    def _heights(self, x: Tensor, q: Posterior) -> Tensor:
        """Of each q for the one row x (1, X): (P,), nats."""
        x = x.expand(len(q.mean), -1)
        if self.config.objective == "log_joint":
            return self.model.generative.log_joint(self.model.theta.views, x, q.mean[None])[0]
        words = (self.subject.evaluation.seed, seeds.EVALUATION, PATH_DRAWS)
        noise = seeds.normal((self.samples, 1, self.model.generative.latent), self.model.dtype, *words)
        elbo: Tensor = self.model.bound(x, q, noise).elbo
        return elbo

    def _walk(self, batch: Batch, refiner: FrontierRefinerConfig) -> Iterator[Posterior]:
        generative, theta = self.model.generative, self.model.theta.views
        draws = self.subject.draws(refiner.samples, PATH_DRAWS).inference(batch)
        noise: Noise = lambda t: draws(t)[..., : generative.latent]  # noqa: E731
        walk = refine(generative, theta, batch.x, start_of(generative, theta, batch.x, noise), noise, refiner)
        return itertools.islice(walk, self.config.steps + 1)

    def summary(self) -> dict[str, Any]:
        """What the arrays show: paths by number, the model's own first."""
        refiners = [refiner.model_dump(mode="json") for refiner in self.config.refiners]
        return {
            "dimensions": list(self.config.dimensions),
            "objective": self.config.objective,
            "rows": self.rows,
            "samples": self.samples,
            "paths": [None, *refiners],
        }

    def arrays(self, ledger: Ledger) -> dict[str, np.ndarray]:
        """surface_axis (P,), surface_heights (R, P, P) with the first dimension along the last axis, nats;
        surface_optimum (R, 2), surface_path_i (R, steps + 1, 2)."""
        names = ["heights", "optimum", *(f"path_{i}" for i in range(len(self.config.refiners) + 1))]
        columns = ledger.columns(self.name, *names)
        return {"surface_axis": self.axis, **{f"surface_{name}": columns[name] for name in names}}
