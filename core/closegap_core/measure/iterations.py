"""The pass over all rows: ELBO and gradient by iteration, KL by dimension, importance-weighted bound."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import iwae_bound
from closegap_core.errors import NumericalError
from closegap_core.generative import Bound
from closegap_core.inference.refiners import GRADIENT_ONLY
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.moments import Columns, Moments
from closegap_core.measure.stage import Found, Stage
from closegap_core.measure.subject import Subject
from closegap_core.measure.units import UNITS
from closegap_core.ops import TORCH
from closegap_core.posterior import ACTIVE, Posterior
from closegap_core.validation import Batch


class Reached(NamedTuple):
    """An iteration's q, its bound, and the mean magnitudes of the gradient there, (B,) for mean and log_var."""

    q: Posterior
    bound: Bound
    gradient: tuple[Tensor, Tensor] | None


@final
class Iterations(Stage):
    """Inference goes on to twice the iterations that the figures are reported at."""

    name = "iterations"

    def __init__(self, subject: Subject) -> None:
        evaluation = subject.evaluation
        self.subject, self.model, self.samples = subject, subject.model, evaluation.samples
        self.part, self.chunk = evaluation.part, evaluation.batch_size
        self.rows = subject.size(self.part, evaluation.rows)
        self.last = 1 if subject.one_pass else 2 * subject.iterations
        self.importance_samples = evaluation.importance_samples
        self.unit = UNITS.get(subject.trained.config.model.likelihood.kind)
        self.gaussian = self.model.method.auxiliary == 0
        self.curve_cost = 3 * (self.last + 1) * self.samples
        self.cost = self.curve_cost + self.importance_samples

    @torch.no_grad()
    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        batch = self.subject.batch(self.part, rows)
        walk = [self._reached(batch, t, q) for t, q in enumerate(self.subject.posteriors(batch, self.last))]
        yield self.curve_cost
        reported = walk[self.subject.iterations]
        columns = {
            "elbo_by_iteration": torch.stack([reached.bound.elbo for reached in walk], -1),
            "elbo": reported.bound.elbo,
            "log_likelihood": reported.bound.log_likelihood,
            "kl": reported.bound.kl,
            "after": walk[-1].bound.elbo - reported.bound.elbo,
            "iwae": self._iwae(batch, reported.q),
            "posterior_mean": reported.q.mean,
            **self._of_gaussian(batch, walk, reported.q),
        }
        _check(columns["elbo_by_iteration"], columns["iwae"], rows.start)
        if self.unit is not None:
            for name in ("elbo", "iwae"):
                columns[f"{name}_in_unit"] = self.unit.of_rows(columns[name], batch.x)
        return {name: values.numpy() for name, values in columns.items()}

    def _reached(self, batch: Batch, t: int, q: Posterior) -> Reached:
        noise = self._noise(batch, t)
        bound = self.model.bound(batch.x, q, noise)
        if not self.gaussian:
            return Reached(q, bound, None)
        theta, count = self.model.theta.views, noise.shape[0]
        signals = self.model.generative.signals(TORCH, theta, batch.x, q, noise, count, GRADIENT_ONLY)
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        mean, log_var = (part.abs().mean(-1) for part in signals.gradient)
        return Reached(q, bound, (mean, log_var))

    def _of_gaussian(self, batch: Batch, walk: list[Reached], q: Posterior) -> dict[str, Tensor]:
        """What is defined only where q is the diagonal Gaussian that it names."""
        if not self.gaussian:
            return {}
        gradients = [reached.gradient for reached in walk if reached.gradient is not None]
        generative, noise = self.model.generative, self._noise(batch, self.subject.iterations)
        kl = generative.kl_by_dimension(self.model.theta.views, q, noise)
        levels = torch.split(kl, list(generative.hierarchy.latents), -1)
        return {
            "gradient_mean": torch.stack([mean for mean, _ in gradients], -1),
            "gradient_log_var": torch.stack([log_var for _, log_var in gradients], -1),
            "kl_by_dimension": kl,
            "kl_by_level": torch.stack([level.sum(-1) for level in levels], -1),
        }

    def _noise(self, batch: Batch, t: int) -> Tensor:
        return self.subject.draws(self.samples, 1).measure(batch, t)

    def _iwae(self, batch: Batch, q: Posterior) -> Tensor:
        words = (self.subject.evaluation.seed, seeds.EVALUATION, 3, batch.first)

        def draw(first: int, count: int) -> Tensor:
            size = (count, batch.x.shape[0], self.model.noise_width)
            return seeds.normal(size, self.model.dtype, *words, first)

        return iwae_bound(self.model, batch.x, q, self.importance_samples, draw)

    def summary(self, found: dict[str, Moments]) -> dict[str, Any]:
        """Everything by name; nats, means over rows."""
        elbo = found["elbo"].to_dict()
        return {
            "elbo": elbo["value"],
            "elbo_standard_error": elbo["standard_error"],
            "log_likelihood": float(found["log_likelihood"].mean),
            "kl": float(found["kl"].mean),
            "elbo_by_iteration": [
                {"iteration": t, "elbo": value, "standard_error": error}
                for t, (value, error) in enumerate(found["elbo_by_iteration"].points())
            ],
            # What the further iterations change, paired by rows.
            "after_iterations": None if self.subject.one_pass else found["after"].to_dict(),
            "iwae": {**found["iwae"].to_dict(), "samples": self.importance_samples},
            **self._latent(found),
            **self._in_unit(found),
        }

    def arrays(self, ledger: Ledger) -> dict[str, np.ndarray]:
        """rows_elbo and rows_iwae, (N,) nats, and in the unit of the likelihood: what two models are compared by."""
        names = [
            f"{name}{ending}"
            for name in ("elbo", "iwae")
            for ending in ("", "_in_unit")[: 2 if self.unit else 1]
        ]
        return {f"rows_{name}": values for name, values in ledger.columns(self.name, *names).items()}

    def _latent(self, found: dict[str, Moments]) -> dict[str, Any]:
        """What the dimensions of z carry; KL by dimension and gradients only of a diagonal Gaussian."""
        variance, latents = found["posterior_mean"].variance, self.model.generative.hierarchy.latents
        units = {"count": int((variance > ACTIVE).sum()), "threshold": ACTIVE, "variance": variance.tolist()}
        if not self.gaussian:
            names = ("kl_by_dimension", "kl_by_level", "gradient_by_iteration")
            return {"active_units": units, **dict.fromkeys(names)}
        levels = np.split(variance, np.cumsum(latents)[:-1])
        gradients = zip(found["gradient_mean"].mean, found["gradient_log_var"].mean, strict=True)
        return {
            "active_units": units,
            "kl_by_dimension": found["kl_by_dimension"].mean.tolist(),
            "kl_by_level": [
                {
                    "level": level,
                    "latent": len(part),
                    "kl": value,
                    "standard_error": error,
                    "active_units": int((part > ACTIVE).sum()),
                }
                for level, (part, (value, error)) in enumerate(
                    zip(levels, found["kl_by_level"].points(), strict=True), 1
                )
            ],
            "gradient_by_iteration": [
                {"iteration": t, "mean": float(mean), "log_var": float(log_var)}
                for t, (mean, log_var) in enumerate(gradients)
            ],
        }

    def _in_unit(self, found: dict[str, Moments]) -> dict[str, Any]:
        """The ELBO and the IWAE bound in the unit of the likelihood."""
        if self.unit is None:
            return {}
        estimates = {name: found[f"{name}_in_unit"].to_dict() for name in ("elbo", "iwae")}
        figures = {
            name: self.unit.of_mean(estimate["value"], estimate["standard_error"])
            for name, estimate in estimates.items()
        }
        return {self.unit.name: figures}


def _check(curve: Tensor, iwae: Tensor, first: int) -> None:
    """Raises NumericalError when a bound of a row is not finite."""
    for values in (*curve.unbind(-1), iwae):
        if not bool(values.isfinite().all()):
            row = int((~values.isfinite()).nonzero()[0])
            raise NumericalError(f"a bound is not finite: {float(values[row])} at row {first + row}")
