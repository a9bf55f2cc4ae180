"""Measuring a trained model on held-out rows: ELBO by iteration, IWAE bound, Adam on q, and what to look at.

Every figure is a mean over rows in nats with its standard error, its number of samples, and its number of rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import iwae_bound
from closegap_core.config import EvaluationConfig, RefinementConfig
from closegap_core.data import Dataset
from closegap_core.data.draw import draw_of, fixed
from closegap_core.durable import write_bytes
from closegap_core.errors import DataError
from closegap_core.inference.base import start_of
from closegap_core.inference.refiners import refine
from closegap_core.measure.estimate import Estimate
from closegap_core.measure.gaps import GapReport, measure_gaps
from closegap_core.measure.pictures import pictures
from closegap_core.measure.units import UNITS, Unit
from closegap_core.posterior import Posterior
from closegap_core.progress import Pace, Progress
from closegap_core.trained import Trained, read_trained
from closegap_core.validation import Batch, Draws, batches, curve


class Metrics(NamedTuple):
    """The summary of an evaluation: what `metrics.json` holds."""

    summary: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "evaluation", …}."""
        return {"type": "evaluation", **self.summary}


def evaluate(
    bundle: Path, evaluation: EvaluationConfig, dataset: Dataset, folder: Path
) -> Iterator[Progress | Metrics]:
    """Measure the model of `bundle` on one part of `dataset`; writes metrics.json and arrays.npz into `folder`.

    Raises DataError when the data do not fit the model, NumericalError when a bound is not finite.
    """
    torch.set_num_threads(evaluation.threads)
    trained = read_trained(bundle)
    rows = _rows(trained, evaluation, dataset, evaluation.part, evaluation.rows)
    pace = Pace(rows.shape[0], "row")
    measured = _Measured(trained, evaluation)
    for batch in batches(rows, evaluation.batch_size):
        measured.add(batch)
        done = batch.first + batch.x.shape[0]
        if (due := pace.due(done)) is not None:
            yield due
    summary = measured.summary(dataset, rows.shape[0])
    summary["gaps"] = yield from _gaps(trained, evaluation, dataset)
    np.savez_compressed(
        folder / "arrays.npz", allow_pickle=False, **pictures(trained, evaluation, rows, dataset)
    )
    write_bytes(folder / "metrics.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    yield Metrics(summary)


def _gaps(
    trained: Trained, evaluation: EvaluationConfig, dataset: Dataset
) -> Generator[Progress, None, dict[str, Any] | None]:
    """The gap report of each part that is asked for, by its name."""
    if evaluation.gaps is None:
        return None
    reports: dict[str, Any] = {}
    draws = Draws(
        trained.config.inference.samples,
        trained.model.noise_width,
        trained.model.dtype,
        (evaluation.seed, seeds.EVALUATION),
    )

    def infer(x: Tensor) -> Posterior:
        return trained.model.infer(x, draws.inference(Batch(0, x)), evaluation.iterations)

    for part in evaluation.gaps.parts:
        x = _rows(trained, evaluation, dataset, part, evaluation.gaps.rows)
        for event in measure_gaps(trained.model, x, infer, evaluation.gaps, evaluation.seed):
            if isinstance(event, GapReport):
                reports[part] = event.summary
            else:
                yield event
    return reports


def _rows(
    trained: Trained, evaluation: EvaluationConfig, dataset: Dataset, name: str, most: int | None
) -> Tensor:
    """The first `most` rows of a part, as the model sees them."""
    part = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}[name]
    rows = part.rows[:most]
    if rows.shape[1] != trained.model.width:
        raise DataError(
            f"{dataset.source} has rows of {rows.shape[1]} values (shape {dataset.shape}), "
            f"but the model was trained on rows of {trained.model.width} (shape {trained.shape})"
        )
    rows = fixed(draw_of(trained.config.model.likelihood, dataset.binarise), rows, evaluation.seed)
    return torch.from_numpy(np.ascontiguousarray(rows))


@final
class _Measured:
    """The estimates that one pass over the rows fills."""

    def __init__(self, trained: Trained, evaluation: EvaluationConfig) -> None:
        self.model, self.evaluation = trained.model, evaluation
        self.trained_iterations = self.model.method.iterations
        self.reported = evaluation.iterations or self.trained_iterations
        one_pass = trained.config.inference.method == "standard"
        self.last = 1 if one_pass else 2 * self.reported
        self.reported = 1 if one_pass else self.reported
        self.by_iteration = [Estimate() for _ in range(self.last + 1)]
        self.log_likelihood, self.kl, self.iwae = Estimate(), Estimate(), Estimate()
        self.unit = UNITS.get(trained.config.model.likelihood.kind)
        self.elbo_in_unit, self.iwae_in_unit = Estimate(), Estimate()
        self.from_prior: dict[int, Estimate] = {}
        self.from_encoder: dict[int, Estimate] = {}
        self.method = trained.config.inference.method
        width, dtype = self.model.noise_width, self.model.dtype
        words = (evaluation.seed, seeds.EVALUATION)
        self.inference = Draws(trained.config.inference.samples, width, dtype, words)
        self.measure = Draws(evaluation.samples, width, dtype, (*words, 1))
        self.adam = Draws(
            evaluation.refinement.samples if evaluation.refinement else 1,
            self.model.generative.latent,
            dtype,
            (*words, 2),
        )
        self.importance = (*words, 3)

    def add(self, batch: Batch) -> None:
        """Measure one batch."""
        final_q, elbo = None, None
        for t, (q, bound) in enumerate(curve(self.model, batch, self.inference, self.measure, self.last)):
            self.by_iteration[t].add(bound.elbo)
            if t == self.reported:
                final_q, elbo = q, bound.elbo
                self.log_likelihood.add(bound.log_likelihood)
                self.kl.add(bound.kl)
        if final_q is None or elbo is None:
            raise DataError(f"iteration {self.reported} was not reached")
        iwae = self._iwae(batch, final_q)
        self.iwae.add(iwae)
        if self.unit is not None:
            self.elbo_in_unit.add(self.unit.of_rows(elbo, batch.x))
            self.iwae_in_unit.add(self.unit.of_rows(iwae, batch.x))
        if self.evaluation.refinement is not None:
            noise = self.adam.inference(batch)
            start = start_of(self.model.generative, self.model.theta.views, batch.x, noise)
            self._refine(batch, start, self.evaluation.refinement, self.from_prior)
            self._refine(batch, final_q, self.evaluation.refinement, self.from_encoder)

    def _iwae(self, batch: Batch, q: Posterior) -> Tensor:
        def draw(first: int, count: int) -> Tensor:
            size = (count, batch.x.shape[0], self.model.noise_width)
            return seeds.normal(size, self.model.dtype, *self.importance, batch.first, first)

        return iwae_bound(self.model, batch.x, q, self.evaluation.importance_samples, draw)

    def _refine(
        self, batch: Batch, start: Posterior, refinement: RefinementConfig, into: dict[int, Estimate]
    ) -> None:
        with torch.no_grad():
            self._walk(batch, start, refinement, into)

    def _walk(
        self, batch: Batch, start: Posterior, refinement: RefinementConfig, into: dict[int, Estimate]
    ) -> None:
        model, marks = self.model, _marks(refinement.iterations)
        noise = self.adam.inference(batch)
        walk = refine(model.generative, model.theta.views, batch.x, start, noise, refinement)
        for step, q in zip(range(refinement.iterations + 1), walk, strict=False):
            if step in marks:
                bound = model.bound(batch.x, q, self.measure.measure(batch, 0))
                into.setdefault(step, Estimate()).add(bound.elbo)

    def summary(self, dataset: Dataset, rows: int) -> dict[str, Any]:
        """Everything by name; nats."""
        elbo = self.by_iteration[self.reported].to_dict()
        return {
            "method": self.method,
            "part": self.evaluation.part,
            "rows": rows,
            "data_digest": dataset.digest,
            "samples": self.evaluation.samples,
            "trained_iterations": self.trained_iterations,
            "iterations": self.reported,
            "elbo": elbo["value"],
            "elbo_standard_error": elbo["standard_error"],
            "log_likelihood": self.log_likelihood.to_dict()["value"],
            "kl": self.kl.to_dict()["value"],
            "elbo_by_iteration": [
                {"iteration": t, "elbo": e["value"], "standard_error": e["standard_error"]}
                for t, e in enumerate(estimate.to_dict() for estimate in self.by_iteration)
            ],
            "iwae": {**self.iwae.to_dict(), "samples": self.evaluation.importance_samples},
            "refinement": self._refinement(elbo["value"]),
            **({} if self.unit is None else {self.unit.name: self._in_unit(self.unit)}),
        }

    def _in_unit(self, unit: Unit) -> dict[str, Any]:
        """The ELBO and the IWAE bound in the unit of the likelihood."""
        estimates = {"elbo": self.elbo_in_unit.to_dict(), "iwae": self.iwae_in_unit.to_dict()}
        return {
            name: unit.of_mean(estimate["value"], estimate["standard_error"])
            for name, estimate in estimates.items()
        }

    def _refinement(self, elbo: float) -> dict[str, Any] | None:
        if self.evaluation.refinement is None:
            return None
        prior, encoder = _steps(self.from_prior), _steps(self.from_encoder)
        best = max(point["elbo"] for point in [*prior, *encoder])
        return {
            **self.evaluation.refinement.model_dump(),
            "from_prior": prior,
            "from_encoder": encoder,
            "best": best,
            # A lower estimate of L[q*] - L[q]: Adam need not have converged.
            "amortization_gap": best - elbo,
        }


def _steps(estimates: dict[int, Estimate]) -> list[dict[str, float]]:
    return [
        {"step": step, "elbo": e["value"], "standard_error": e["standard_error"]}
        for step, e in ((step, estimate.to_dict()) for step, estimate in sorted(estimates.items()))
    ]


def _marks(last: int) -> set[int]:
    """Steps at which the ELBO of a refinement is measured: all to 10, then ever further apart, and the last."""
    marks, step = set(range(min(last, 10) + 1)), 10
    while step < last:
        step = min(last, math.ceil(step * 1.25))
        marks.add(step)
    return marks
