"""What a decoder pass is worth: ELBO and the gap left against passes and CPU seconds, for every start and refiner.

A pass is the decoder and its vector-Jacobian product for one sample of one row. The model's own iterations are a line
like any other. All points of a row are measured with the same draws, so that they compare better than each is known.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple, final

import numpy as np
import torch

from closegap_core.config import FrontierConfig, FrontierRefinerConfig
from closegap_core.inference.base import start_of
from closegap_core.inference.refiners import refine
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.marks import marks
from closegap_core.measure.moments import Columns, Moments, moments
from closegap_core.measure.optimum import best_of, stage_of
from closegap_core.measure.stage import Found, Stage
from closegap_core.measure.subject import Subject
from closegap_core.posterior import Posterior
from closegap_core.validation import Batch

START_DRAWS, REFINER_DRAWS, MEASURE_DRAWS = 4, 5, 6
"""Uses of noise; `Subject.draws` knows them."""


class Line(NamedTuple):
    """A refiner from a start that costs `first` passes; refiner: None for the model's own iterations."""

    start: str | int
    refiner: FrontierRefinerConfig | None
    first: int
    samples: int
    steps: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        refiner = None if self.refiner is None else self.refiner.model_dump(mode="json", exclude={"samples"})
        return {"start": self.start, "refiner": refiner, "samples": self.samples}


class Point(NamedTuple):
    """q after some passes, and the CPU seconds that they took for all rows of the batch."""

    q: Posterior
    seconds: float


@final
class Frontier(Stage):
    """Every line under one budget. Starts that cost more than it are left out."""

    name = "frontier"

    def __init__(self, subject: Subject, config: FrontierConfig) -> None:
        self.subject, self.model, self.config = subject, subject.model, config
        self.portion = subject.portion(subject.evaluation.part, config.rows)
        self.rows, self.chunk = self.portion.size, subject.evaluation.batch_size
        self.own_samples = subject.trained.config.inference.samples
        self.own = Line("model", None, 0, self.own_samples, self._own_steps())
        starts = [line for start in config.starts for line in self._from(start)]
        self.lines = [self.own, *starts]
        points = sum(len(line.steps) for line in self.lines)
        self.cost = 2 * len(self.lines) * config.passes + (1 + points) * config.samples

    def _own_steps(self) -> tuple[int, ...]:
        """Iterations of the model within the budget, up to those of the curve."""
        last = 1 if self.subject.one_pass else max(2 * self.subject.iterations, self.config.passes)
        return tuple(t for t in marks(last) if self._passes(t) <= self.config.passes)

    def _passes(self, iteration: int) -> int:
        return self.model.method.passes(iteration, self.own_samples)

    def _from(self, start: str | int) -> Iterator[Line]:
        first = self._passes(self._iteration(start))
        for refiner in self.config.refiners:
            if first <= self.config.passes:
                last = (self.config.passes - first) // refiner.samples
                yield Line(start, refiner, first, refiner.samples, marks(last))

    def _iteration(self, start: str | int) -> int:
        return {"prior": 0, "model": self.subject.iterations}[start] if isinstance(start, str) else start

    @torch.no_grad()
    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        batch, config = self.portion.batch(rows), self.config
        noise = self.subject.draws(config.samples, MEASURE_DRAWS).measure(batch, 0)
        optimal = self.model.bound(batch.x, best_of(found, self.portion, rows), noise).elbo.double().numpy()
        columns, done = {"optimal": optimal}, config.samples
        own = self._own(batch)
        for number, line in enumerate(self.lines):
            points = self._points(batch, line, own)
            elbos = [self.model.bound(batch.x, point.q, noise).elbo for point in points]
            elbo = torch.stack(elbos, -1).double().numpy()
            seconds = np.array([point.seconds / len(rows) for point in points])
            columns |= {
                f"elbo_{number}": elbo,
                f"gap_{number}": optimal[:, None] - elbo,
                f"seconds_{number}": np.broadcast_to(seconds, elbo.shape),
            }
            done += 2 * config.passes + len(points) * config.samples
            yield done
        return columns

    def _own(self, batch: Batch) -> list[Point]:
        """The model's own iterations, as far as any line needs them."""
        last = max(self.own.steps[-1], *(self._iteration(line.start) for line in self.lines[1:]), 0)
        return list(_timed(self.subject.posteriors(batch, last)))

    def _points(self, batch: Batch, line: Line, own: list[Point]) -> list[Point]:
        if line.refiner is None:
            return [own[t] for t in line.steps]
        generative, theta, latent = (
            self.model.generative,
            self.model.theta.views,
            self.model.generative.latent,
        )
        if line.start == "prior":
            noise = self.subject.draws(line.samples, START_DRAWS).inference(batch)
            begun = Point(start_of(generative, theta, batch.x, lambda t: noise(t)[..., :latent]), 0.0)
        else:
            begun = own[self._iteration(line.start)]
        noise = self.subject.draws(line.samples, REFINER_DRAWS).inference(batch)
        walk = refine(generative, theta, batch.x, begun.q, lambda t: noise(t)[..., :latent], line.refiner)
        steps = zip(range(line.steps[-1] + 1), _timed(walk), strict=False)
        return [Point(q, begun.seconds + seconds) for t, (q, seconds) in steps if t in line.steps]

    def summary(self, ledger: Ledger) -> dict[str, Any]:
        """Lines of points by passes, with the gap to L[q*] paired by rows."""
        found = moments(ledger.parts(self.name))
        converged = ledger.columns(stage_of(self.portion), "converged")["converged"][: self.rows]
        return {
            "passes": self.config.passes,
            "rows": self.rows,
            "batch_size": self.chunk,
            "samples": self.config.samples,
            "optimal_elbo": {**found["optimal"].to_dict(), "converged": bool(converged.all())},
            "lines": [
                {**line.to_dict(), "points": self._summed(number, line, found)}
                for number, line in enumerate(self.lines)
            ],
        }

    def _summed(self, number: int, line: Line, found: dict[str, Moments]) -> list[dict[str, Any]]:
        elbo, gap = (found[f"{name}_{number}"].points() for name in ("elbo", "gap"))
        seconds = found[f"seconds_{number}"].mean.tolist()
        own = line.refiner is None
        return [
            {
                "step": step,
                "passes": self._passes(step) if own else line.first + step * line.samples,
                "seconds": second,
                "elbo": value,
                "standard_error": error,
                "gap": left,
                "gap_standard_error": left_error,
            }
            for step, second, (value, error), (left, left_error) in zip(
                line.steps, seconds, elbo, gap, strict=True
            )
        ]


def _timed(walk: Iterator[Posterior]) -> Iterator[Point]:
    """Each q with the CPU seconds of this process that it and those before it took."""
    total = 0.0
    while True:
        begun = time.process_time()
        q = next(walk, None)
        total += time.process_time() - begun
        if q is None:
            return
        yield Point(q, total)
