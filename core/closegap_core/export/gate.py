"""The comparison that decides whether an exported file is the trained model.

Three computations meet on held-out rows: the *file* in ONNX Runtime; the *model*, TorchOps in float32, as trained;
and the *oracle*, in float64 with the ELBO's gradient by autograd instead of the closed form.

Error of a row: max over dimensions of |a - b| / (1 + |b|), mean and log-variance together; of its ELBO:
|a - b| / max(1, |b|). A limit is widened to four times the model's own error against the oracle where that is
larger: the map amplifies rounding, and a file need not be closer to the oracle than the model that was trained.

The worst row is judged, unless rounding moves single rows far: where a step is discontinuous (log-sign inputs, a
decoder with relu or leaky relu, a refiner that divides by the gradient's own size), or where the model's own worst
row is beyond the limit, as it is when iterations diverge. A worst row is then chance, and the 95th percentile row is
judged in its place, after several iterations the median row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch

from closegap_core.config import RefineConfig
from closegap_core.encode.encoder import MOST_ITERATIONS, Encoder, Encoding
from closegap_core.export.recorded import FixedNoise
from closegap_core.export.replay import Replay
from closegap_core.model import Model
from closegap_core.posterior import Posterior

STEP_LIMIT, MEDIAN_LIMIT, ELBO_LIMIT = 1e-5, 1e-5, 1e-3
"""Of the worst row after one iteration, of the median row after several, of the worst row's ELBO."""
ROUNDING, ROBUST = 4.0, 0.95
BATCH_SIZES = (1, 3, 33, 256)
MOST_REPLAYED = 16
"""Iterations that are replayed, q by q, for the check of one more."""


class Check(NamedTuple):
    """One comparison: its figures, and what was wrong (nothing: passed)."""

    name: str
    figures: dict[str, Any]
    failures: tuple[str, ...]


class Judged(NamedTuple):
    """Errors of the file and of the model against the oracle, (N,) each."""

    file: np.ndarray
    model: np.ndarray

    def figures(self) -> dict[str, float]:
        return {
            "file_max": float(self.file.max()),
            "file_median": float(np.median(self.file)),
            "model_max": float(self.model.max()),
            "model_median": float(np.median(self.model)),
        }

    def failures(self, what: str, quantile: float, limit: float) -> tuple[str, ...]:
        """A sentence when the file's row at `quantile` is beyond the limit or is not a number."""
        if float(self.model.max()) > limit:
            quantile = min(quantile, ROBUST)
        limit = max(limit, ROUNDING * float(np.quantile(self.model, quantile)))
        value = float(np.quantile(self.file, quantile))
        if value <= limit:
            return ()
        return (f"{what}: row error {value:.2g} at quantile {quantile:g}, at most {limit:.2g} is allowed",)


@final
class Gate:
    """The checks of one file. rows: (N, X) float32 held-out rows as the model sees them; refine: as it was built."""

    def __init__(
        self,
        file: bytes,
        model: Model,
        oracle: Model,
        noise: FixedNoise,
        rows: np.ndarray,
        refine: RefineConfig | None = None,
    ) -> None:
        self.file, self.encoder, self.rows = file, Encoder(file), rows
        self.model = Replay(model, refine, noise, rows, autograd=False)
        self.oracle = Replay(oracle, refine, noise, rows, autograd=True)
        parts = self.model.parts
        trained, longer = parts.iterations, min(2 * parts.iterations, MOST_ITERATIONS)
        self.iterations = [1] if parts.last is None else sorted({0, 1, trained, longer})
        self.starts = [] if parts.last is None else self._starts(trained, longer)
        self.worst = 1.0 if parts.smooth and _is_continuous(model) else ROBUST
        self.model_walk, self.oracle_walk = (
            replay.walk(self.iterations[-1]) for replay in (self.model, self.oracle)
        )

    @property
    def count(self) -> int:
        """How many checks there are."""
        return len(self.iterations) + len(self.starts) + len(BATCH_SIZES) + 1

    def checks(self) -> Iterator[Check]:
        """Every check, in turn, whether or not one before it failed."""
        for start in self.starts:
            yield self._one_step(start)
        for count in self.iterations:
            yield self._whole(count)
        for size in BATCH_SIZES:
            yield self._batch(size)
        yield self._again()

    def _starts(self, trained: int, longer: int) -> list[int]:
        most = MOST_REPLAYED if self.model.replayed else longer
        return sorted({0, min(trained - 1, most), min(longer - 1, most)})

    def _run(self, rows: np.ndarray, iterations: int) -> Encoding:
        return self.encoder(rows, iterations, batch_size=len(rows))

    def _one_step(self, start: int) -> Check:
        """From the file's own q after `start` iterations: one more by the file, the model and the oracle.

        What else is carried is not among the file's outputs: it is replayed, along the file's own q of all iterations.
        """
        first = 0 if self.model.replayed else start
        *before, after = (self._run(self.rows, count) for count in range(first, start + 2))
        ours, exact = (
            replay.after(first, [_posterior(encoding, replay.dtype) for encoding in before])
            for replay in (self.model, self.oracle)
        )
        judged = Judged(_error(_posterior(after, torch.float64), exact), _error(ours, exact))
        name = f"one step after {start}"
        return Check(name, judged.figures(), judged.failures(name, self.worst, STEP_LIMIT))

    def _whole(self, count: int) -> Check:
        """All of `count` iterations from the first q, and the ELBO there."""
        got = self._run(self.rows, count)
        model_q, oracle_q = self.model_walk[count], self.oracle_walk[count]
        q = Judged(_error(_posterior(got, torch.float64), oracle_q), _error(model_q, oracle_q))
        exact = self.oracle.elbo(oracle_q)
        elbo = Judged(_elbo_error(got.elbo, exact), _elbo_error(self.model.elbo(model_q), exact))
        name = f"{count} iterations"
        stable = count <= 1 or float(q.model.max()) <= STEP_LIMIT
        return Check(
            name,
            {"posterior": q.figures(), "elbo": elbo.figures()},
            q.failures(name, self.worst if count <= 1 else 0.5, MEDIAN_LIMIT)
            + elbo.failures(f"{name}, ELBO", self.worst if stable else 0.5, ELBO_LIMIT),
        )

    def _batch(self, size: int) -> Check:
        """The first rows alone against the same rows among all."""
        few = self.rows[:size]
        count = self.iterations[-1]
        alone = _posterior(self._run(few, count), torch.float64)
        together = _posterior(self._run(self.rows, count), torch.float64)
        differences = Judged(
            _error(alone, Posterior(*(part[: len(few)] for part in together))),
            _error(self.model_walk[count], self.oracle_walk[count])[: len(few)],
        )
        name = f"batch of {len(few)}"
        return Check(name, differences.figures(), differences.failures(name, 0.5, MEDIAN_LIMIT))

    def _again(self) -> Check:
        """The same call twice, and in a new session, gives the same bits."""
        count = self.iterations[-1]
        first = self._run(self.rows, count)
        others = (
            self._run(self.rows, count),
            Encoder(self.file)(self.rows, count, batch_size=len(self.rows)),
        )
        equal = all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
        return Check("run again", {"bitwise": equal}, () if equal else ("run again: the result differs",))


def _posterior(encoding: Encoding, dtype: torch.dtype) -> Posterior:
    return Posterior(torch.from_numpy(encoding.mean).to(dtype), torch.from_numpy(encoding.log_var).to(dtype))


def _error(found: Posterior, expected: Posterior) -> np.ndarray:
    """(N,) error of each row; not a number where `found` is not."""
    pairs = zip(found, expected, strict=True)
    parts = [((a.double() - b.double()).abs() / (1.0 + b.double().abs())).amax(-1) for a, b in pairs]
    error: np.ndarray = torch.maximum(*parts).numpy()
    return error


def _elbo_error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    error: np.ndarray = np.abs(found.astype(np.float64) - expected) / np.maximum(1.0, np.abs(expected))
    return error


def _is_continuous(model: Model) -> bool:
    config = model.config
    activations: Sequence[str] = [level.decoder.activation for level in config.model.levels]
    signs = getattr(config.inference, "normalise", "none") == "log_sign"
    return not signs and not {"relu", "leaky_relu"}.intersection(activations)
