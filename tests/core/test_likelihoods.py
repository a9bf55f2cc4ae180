"""One contract for every likelihood: densities against torch.distributions, scores and errors against autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import LikelihoodConfig
from closegap_core.likelihoods import LIKELIHOODS, Likelihood
from closegap_core.ops import TORCH

CASES: list[Any] = [
    "bernoulli",
    {"kind": "gaussian", "log_var": 0.3},
    {"kind": "gaussian", "mean": "sigmoid", "log_var": -1.2},
]
SAMPLES, ROWS, WIDTH = 3, 4, 5


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Any, Likelihood, dict[str, Tensor]]:
    config: Any = TypeAdapter(LikelihoodConfig).validate_python(request.param)
    likelihood = LIKELIHOODS[config.kind](config)
    params = {s.name: torch.full(s.size, s.value, dtype=torch.float64) for s in likelihood.shapes()}
    return config, likelihood, params


def values() -> tuple[Tensor, Tensor]:
    out = seeds.normal((SAMPLES, ROWS, WIDTH), torch.float64, 1)
    return out, (seeds.normal((ROWS, WIDTH), torch.float64, 2) > 0).double()


def distribution(config: Any, out: Tensor) -> torch.distributions.Distribution:
    if config.kind == "bernoulli":
        return torch.distributions.Bernoulli(logits=out)
    mean = out if config.mean == "identity" else out.sigmoid()
    return torch.distributions.Normal(mean, torch.tensor(config.log_var / 2, dtype=torch.float64).exp())


def test_log_likelihood_is_the_distribution_s(case: Any) -> None:
    config, likelihood, params = case
    out, x = values()
    expected = distribution(config, out).log_prob(x.expand_as(out)).sum(-1)
    torch.testing.assert_close(
        likelihood.log_likelihood(TORCH, params, out, x), expected, rtol=1e-12, atol=1e-12
    )


def test_mean_is_the_distribution_s(case: Any) -> None:
    config, likelihood, _ = case
    out, _ = values()
    torch.testing.assert_close(
        likelihood.mean(TORCH, out), distribution(config, out).mean, rtol=1e-12, atol=0
    )


def test_score_is_the_gradient(case: Any) -> None:
    _, likelihood, params = case
    out, x = values()
    out.requires_grad_()
    [expected] = torch.autograd.grad(likelihood.log_likelihood(TORCH, params, out, x).sum(), out)
    torch.testing.assert_close(likelihood.score(TORCH, params, out, x), expected, rtol=1e-10, atol=1e-12)


def test_error_is_weighted_by_the_precision(case: Any) -> None:
    config, likelihood, params = case
    out, x = values()
    law = distribution(config, out)
    expected = (x - law.mean) / law.variance
    torch.testing.assert_close(likelihood.error(TORCH, params, out, x), expected, rtol=1e-10, atol=1e-12)


def test_own_parameters_learn_their_gradient(case: Any) -> None:
    _, likelihood, params = case
    out, x = values()
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    grads = {name: torch.zeros_like(value) for name, value in params.items()}
    likelihood.accumulate(grads, params, out, x, 0.5)
    for name, leaf in leaves.items():
        total = 0.5 * likelihood.log_likelihood(TORCH, leaves, out, x).sum()
        torch.testing.assert_close(grads[name], torch.autograd.grad(total, leaf)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bound", [-7.0, 15.0])
def test_a_variance_at_its_bound_no_longer_learns(bound: float) -> None:
    config: Any = TypeAdapter(LikelihoodConfig).validate_python({"kind": "gaussian", "log_var": bound})
    likelihood = LIKELIHOODS["gaussian"](config)
    params = {s.name: torch.full(s.size, s.value, dtype=torch.float64) for s in likelihood.shapes()}
    grads = {name: torch.zeros_like(value) for name, value in params.items()}
    out, x = values()
    likelihood.accumulate(grads, params, out, x, 1.0)
    assert all(float(grad.abs().max()) == 0 for grad in grads.values())


def test_extreme_logits_stay_finite() -> None:
    likelihood = LIKELIHOODS["bernoulli"](None)
    out = torch.tensor([[[-500.0, 500.0, 0.0, 80.0, -80.0]]])
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]])
    for value in (
        likelihood.log_likelihood(TORCH, {}, out, x),
        likelihood.score(TORCH, {}, out, x),
        likelihood.error(TORCH, {}, out, x),
    ):
        assert bool(value.isfinite().all())
