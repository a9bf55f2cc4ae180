"""Linear-Gaussian models, where evidence, posterior and the best diagonal q are known in closed form (float64).

x = W z + b + noise, z ~ N(0, I), noise ~ N(0, s2 I): log p(x) = log N(x; b, W W' + s2 I), the posterior has
precision P = I + W'W / s2 and mean P^-1 W'(x - b) / s2, and the best diagonal q has that mean and variance 1 / diag P.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import iwae_bound
from closegap_core.config import RefinerConfig, TrainConfig
from closegap_core.generative import Wanted
from closegap_core.inference.refiners import refine
from closegap_core.model import Model
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior

ROWS, WIDTH, LATENT = 6, 7, 3
LOG_VAR = -0.7


class Known(NamedTuple):
    """A model and what is known about it."""

    model: Model
    weight: Tensor
    bias: Tensor
    x: Tensor

    @property
    def variance(self) -> float:
        return math.exp(LOG_VAR)

    def log_evidence(self) -> Tensor:
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(WIDTH, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(self.x)

    def precision(self) -> Tensor:
        return torch.eye(LATENT, dtype=torch.float64) + self.weight.T @ self.weight / self.variance

    def best(self) -> Posterior:
        mean = torch.linalg.solve(self.precision(), self.weight.T @ (self.x - self.bias).T / self.variance).T
        return Posterior(mean, -self.precision().diagonal().log().expand(ROWS, LATENT))

    def elbo(self, q: Posterior) -> Tensor:
        residual = self.x - self.bias - q.mean @ self.weight.T
        spread = q.log_var.exp() @ (self.weight**2).sum(0)
        quadratic = (residual.square().sum(-1) + spread) / self.variance
        likelihood = -0.5 * (quadratic + WIDTH * (LOG_VAR + math.log(2 * math.pi)))
        return likelihood - 0.5 * (q.log_var.exp() + q.mean.square() - 1 - q.log_var).sum(-1)


def known(orthogonal: bool) -> Known:
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {
                "likelihood": {"kind": "gaussian", "log_var": LOG_VAR},
                "levels": [{"latent": LATENT, "decoder": {"hidden": []}}],
            },
            "inference": {"method": "standard", "encoder": {"hidden": []}},
        }
    )
    model = Model(config, WIDTH, torch.float64)
    weight = seeds.normal((WIDTH, LATENT), torch.float64, 1)
    if orthogonal:
        weight = torch.linalg.qr(weight).Q * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    bias = seeds.normal((WIDTH,), torch.float64, 2)
    model.theta.views["decoder.1.0.weight"].copy_(weight)
    model.theta.views["decoder.1.0.bias"].copy_(bias)
    z = seeds.normal((ROWS, LATENT), torch.float64, 3)
    x = z @ weight.T + bias + math.exp(LOG_VAR / 2) * seeds.normal((ROWS, WIDTH), torch.float64, 4)
    return Known(model, weight, bias, x)


def prior() -> Posterior:
    zeros = torch.zeros(ROWS, LATENT, dtype=torch.float64)
    return Posterior(zeros, zeros)


def draw(first: int, count: int) -> Tensor:
    return seeds.normal((count, ROWS, LATENT), torch.float64, 9, first)


def corners() -> Tensor:
    """All vectors of signs (2^Z, 1, Z): first and second moments are a standard normal's, so that expectations of
    quadratics, which log p(x|z) is here, are exact."""
    signs = list(itertools.product([-1.0, 1.0], repeat=LATENT))
    return torch.tensor(signs, dtype=torch.float64)[:, None, :]


@pytest.mark.parametrize("orthogonal", [True, False])
def test_elbo_agrees_with_the_closed_form(orthogonal: bool) -> None:
    case = known(orthogonal)
    q = Posterior(
        seeds.normal((ROWS, LATENT), torch.float64, 5), seeds.normal((ROWS, LATENT), torch.float64, 6)
    )
    torch.testing.assert_close(
        case.model.bound(case.x, q, corners()).elbo, case.elbo(q), rtol=1e-10, atol=1e-10
    )
    samples = 4_000
    elbos = torch.stack([case.model.bound(case.x, q, noise[None]).elbo for noise in draw(0, samples)])
    error = elbos.std(0) / math.sqrt(samples)
    assert bool(((elbos.mean(0) - case.elbo(q)).abs() < 5 * error).all())


def test_elbo_of_the_exact_posterior_is_the_log_evidence() -> None:
    case = known(orthogonal=True)
    torch.testing.assert_close(case.elbo(case.best()), case.log_evidence(), rtol=1e-10, atol=1e-10)


def test_every_importance_weight_of_the_exact_posterior_is_the_evidence() -> None:
    """Then the bound has no variance: any number of samples gives log p(x) to rounding."""
    case = known(orthogonal=True)
    for samples in (1, 7):
        got = iwae_bound(case.model, case.x, case.best(), samples, draw)
        torch.testing.assert_close(got, case.log_evidence(), rtol=1e-10, atol=1e-10)


def test_iwae_bound_rises_to_the_log_evidence_with_samples() -> None:
    case = known(orthogonal=False)
    q = prior()
    gaps = [
        float((case.log_evidence() - iwae_bound(case.model, case.x, q, samples, draw)).mean())
        for samples in (1, 10, 100, 100_000)
    ]
    assert all(before > after for before, after in itertools.pairwise(gaps))
    assert abs(gaps[-1]) < 0.05


def test_iwae_bound_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = known(orthogonal=False)
    noise = seeds.normal((50, ROWS, LATENT), torch.float64, 8)
    results = []
    for chunk_rows in (ROWS, 7 * ROWS, 1000 * ROWS):
        monkeypatch.setattr("closegap_core.bounds.CHUNK_ROWS", chunk_rows)
        results.append(
            iwae_bound(case.model, case.x, case.best(), 50, lambda first, count: noise[first : first + count])
        )
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_the_gradient_vanishes_at_the_best_diagonal_q(orthogonal: bool) -> None:
    case = known(orthogonal)
    noise = corners()
    signals = case.model.generative.signals(
        TORCH, case.model.theta.views, case.x, case.best(), noise, len(noise), Wanted(True, False)
    )
    assert signals.gradient is not None
    for part in signals.gradient:
        assert float(part.abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("kind", "rate", "steps"),
    [
        ("sgd", 0.05, 2000),
        ("momentum", 0.02, 2000),
        ("rmsprop", 1e-3, 8000),
        ("adam", 0.02, 2000),
        ("natural", 0.3, 800),
        ("newton", 0.3, 4000),
    ],
)
@pytest.mark.parametrize("orthogonal", [True, False])
def test_every_refiner_reaches_the_optimum(orthogonal: bool, kind: str, rate: float, steps: int) -> None:
    case = known(orthogonal)
    theta, config = (
        case.model.theta.views,
        RefinerConfig(kind=kind, learning_rate=rate, trust=0.5, anneal=500.0),
    )
    walk = refine(case.model.generative, theta, case.x, prior(), lambda t: corners(), config)
    with torch.no_grad():
        q = next(itertools.islice(walk, steps, None))
    best = case.best()
    torch.testing.assert_close(q.mean, best.mean, rtol=0, atol=2e-3)
    torch.testing.assert_close(q.log_var, best.log_var, rtol=0, atol=2e-3)
    gap = case.log_evidence() - case.elbo(q)
    if orthogonal:
        assert float(gap.abs().max()) < 1e-4
    else:
        # The approximation gap of a diagonal q: half of log det(diag P) - log det P, the same for every row.
        precision = case.precision()
        expected = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        assert float(expected) > 0.05
        torch.testing.assert_close(gap, expected.expand(ROWS), rtol=0, atol=1e-4)
