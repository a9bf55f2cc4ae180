"""Adam, or another refiner, on each row's own q: the comparison curve from the prior and from the model's q."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, final

import torch
from torch import Tensor

from closegap_core.config import RefinementConfig
from closegap_core.inference.base import Noise, start_of
from closegap_core.inference.refiners import refine
from closegap_core.measure.marks import marks
from closegap_core.measure.moments import Columns, Moments
from closegap_core.measure.stage import Found, Stage
from closegap_core.measure.subject import Subject
from closegap_core.posterior import Posterior
from closegap_core.validation import Batch


@final
class Refinement(Stage):
    """The ELBO after so many steps, at marks that lie ever further apart."""

    name = "refinement"

    def __init__(self, subject: Subject, config: RefinementConfig) -> None:
        evaluation = subject.evaluation
        self.subject, self.model, self.config = subject, subject.model, config
        self.part, self.chunk = evaluation.part, evaluation.batch_size
        self.rows = subject.size(self.part, evaluation.rows)
        self.marks = marks(config.iterations)
        walk = 2 * config.iterations * config.samples + len(self.marks) * evaluation.samples
        self.cost = 2 * walk

    @torch.no_grad()
    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        batch = self.subject.batch(self.part, rows)
        prior = start_of(self.model.generative, self.model.theta.views, batch.x, self._noise(batch))
        from_prior = self._walk(batch, prior)
        yield self.cost // 2
        *_, q = self.subject.posteriors(batch, self.subject.iterations)
        return {"from_prior": from_prior.numpy(), "from_encoder": self._walk(batch, q).numpy()}

    def _noise(self, batch: Batch) -> Noise:
        latent = self.model.generative.latent
        noise = self.subject.draws(self.config.samples, 2).inference(batch)
        return lambda t: noise(t)[..., :latent]

    def _walk(self, batch: Batch, start: Posterior) -> Tensor:
        """The ELBO at the marks, (B, marks)."""
        model, measured = self.model, self.subject.draws(self.subject.evaluation.samples, 1)
        walk = refine(model.generative, model.theta.views, batch.x, start, self._noise(batch), self.config)
        steps = zip(range(self.config.iterations + 1), walk, strict=False)
        noise = measured.measure(batch, 0)
        return torch.stack([model.bound(batch.x, q, noise).elbo for t, q in steps if t in self.marks], -1)

    def summary(self, found: dict[str, Moments], elbo: float) -> dict[str, Any]:
        """Both curves, the best of both, and how far above `elbo`, the model's own, it is."""
        prior, encoder = (self._points(found[name]) for name in ("from_prior", "from_encoder"))
        best = max(point["elbo"] for point in [*prior, *encoder])
        return {
            **self.config.model_dump(),
            "from_prior": prior,
            "from_encoder": encoder,
            "best": best,
            # A lower estimate of L[q*] - L[q]: Adam need not have converged.
            "amortization_gap": best - elbo,
        }

    def _points(self, found: Moments) -> list[dict[str, float]]:
        return [
            {"step": step, "elbo": value, "standard_error": error}
            for step, (value, error) in zip(self.marks, found.points(), strict=True)
        ]
