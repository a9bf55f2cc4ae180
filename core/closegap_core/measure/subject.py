"""What is measured: a trained model, and rows of each part of its data as the model sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from closegap_core import seeds
from closegap_core.config import EvaluationConfig
from closegap_core.data import Dataset, Part
from closegap_core.data.draw import Draw, draw_of, fixed
from closegap_core.errors import DataError
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.trained import Trained
from closegap_core.validation import Batch, Draws


class Portion(NamedTuple):
    """The first `size` rows of a part, read by their numbers; the model, and its q of a batch of them."""

    model: Model
    name: str
    size: int
    batch: Callable[[range], Batch]
    infer: Callable[[Batch], Posterior]
    seed: int


class Subject(NamedTuple):
    """Rows are read, drawn and made dense only as they are asked for."""

    trained: Trained
    evaluation: EvaluationConfig
    dataset: Dataset

    @property
    def model(self) -> Model:
        return self.trained.model

    @property
    def draw(self) -> Draw:
        """What is drawn of a stored row before a model sees it."""
        return draw_of(self.trained.config.model.likelihood, self.dataset.binarise)

    @property
    def one_pass(self) -> bool:
        """Whether q stays as it is after the first iteration."""
        return self.model.method.one_pass

    @property
    def iterations(self) -> int:
        """T of the reported figures."""
        return 1 if self.one_pass else self.evaluation.iterations or self.model.method.iterations

    def part(self, name: str) -> Part:
        """One part of the data. Raises DataError when its rows do not fit the model."""
        part = {"train": self.dataset.train, "valid": self.dataset.valid, "test": self.dataset.test}[name]
        if part.rows.shape[1] != self.model.width:
            raise DataError(
                f"{self.dataset.source} has rows of {part.rows.shape[1]} values (shape {self.dataset.shape}), "
                f"but the model was trained on rows of {self.model.width} (shape {self.trained.shape})"
            )
        return part

    def size(self, part: str, most: int | None) -> int:
        """How many rows of a part are measured."""
        rows = len(self.part(part).rows)
        return rows if most is None else min(most, rows)

    def batch(self, part: str, rows: range) -> Batch:
        """Consecutive rows (B, X), each drawn once and for all by its position."""
        stored = self.part(part).rows[rows.start : rows.stop]
        drawn = fixed(self.draw, stored, self.evaluation.seed, rows.start)
        return Batch(rows.start, torch.from_numpy(np.ascontiguousarray(drawn)))

    @property
    def inference(self) -> Draws:
        """Noise of the model's own iterations, as many samples as in training."""
        words = (self.evaluation.seed, seeds.EVALUATION)
        return Draws(self.trained.config.inference.samples, self.model.noise_width, self.model.dtype, words)

    def draws(self, samples: int, use: int) -> Draws:
        """Noise for another use."""
        words = (self.evaluation.seed, seeds.EVALUATION, use)
        return Draws(samples, self.model.noise_width, self.model.dtype, words)

    def posteriors(self, batch: Batch, iterations: int) -> Iterator[Posterior]:
        """q of iterations 0 … iterations, by the model's own steps."""
        return self.model.posteriors(batch.x, self.inference.inference(batch), iterations)

    def infer(self, batch: Batch) -> Posterior:
        """The model's q after the iterations that are reported."""
        *_, q = self.posteriors(batch, self.iterations)
        return q

    def portion(self, part: str, most: int | None) -> Portion:
        """The first `most` rows of a part."""
        size, seed = self.size(part, most), self.evaluation.seed
        return Portion(self.model, part, size, lambda rows: self.batch(part, rows), self.infer, seed)
