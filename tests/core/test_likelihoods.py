"""One contract for every likelihood: densities against torch.distributions, scores and errors against autograd."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import LikelihoodConfig
from closegap_core.inputs import CENTRED, IDF, TERM_WEIGHTS
from closegap_core.likelihoods import LIKELIHOODS, Likelihood
from closegap_core.ops import TORCH

CASES: list[Any] = [
    "bernoulli",
    {"kind": "gaussian", "log_var": 0.3},
    {"kind": "gaussian", "mean": "sigmoid", "log_var": -1.2},
    {"kind": "gaussian", "variance": "dimension", "log_var": -0.5},
    {"kind": "gaussian", "variance": "predicted", "log_var": 0.4},
    {"kind": "gaussian", "mean": "sigmoid", "variance": "predicted"},
    "dequantised",
    {"kind": "dequantised", "variance": "global"},
    {"kind": "dequantised", "variance": "dimension", "legacy": True},
    "multinomial",
]
SAMPLES, ROWS, WIDTH = 3, 4, 5


def built(config: Any) -> tuple[Any, Likelihood, dict[str, Tensor]]:
    config = TypeAdapter(LikelihoodConfig).validate_python(config)
    likelihood = LIKELIHOODS[config.kind](config, WIDTH)
    params = {
        s.name: s.value + 0.3 * seeds.normal(s.size, torch.float64, 4, i)
        for i, s in enumerate(likelihood.shapes())
    }
    return config, likelihood, params


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Any, Likelihood, dict[str, Tensor]]:
    return built(request.param)


def values(likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    out = seeds.normal((SAMPLES, ROWS, WIDTH * likelihood.outputs), torch.float64, 1)
    x = torch.rand((ROWS, WIDTH), generator=seeds.generator(2), dtype=torch.float64)
    if likelihood.kind == "bernoulli":
        return out, (x > 0.5).double()
    return out, (8 * x).floor() if likelihood.kind == "multinomial" else x


def normal(config: Any, params: dict[str, Tensor], out: Tensor) -> torch.distributions.Normal:
    if config.variance == "predicted":
        out, log_var = out[..., :WIDTH], out[..., WIDTH:] + config.log_var
    else:
        log_var = params["likelihood.log_var"]
    mean = out if getattr(config, "mean", "sigmoid") == "identity" else out.sigmoid()
    return torch.distributions.Normal(mean, (log_var.clamp(-7, 15) / 2).exp())


def log_prob(config: Any, params: dict[str, Tensor], out: Tensor, x: Tensor) -> Tensor:
    if config.kind == "bernoulli":
        return torch.distributions.Bernoulli(logits=out).log_prob(x.expand_as(out)).sum(-1)
    if config.kind == "multinomial":
        log_coefficient = torch.lgamma(x.sum(-1) + 1) - torch.lgamma(x + 1).sum(-1)
        law = torch.distributions.Multinomial(logits=out, validate_args=False)
        return law.log_prob(x.expand_as(out)) - log_coefficient
    density = normal(config, params, out).log_prob(x).sum(-1)
    return density - WIDTH * math.log(256) * (config.kind == "dequantised")


def test_log_likelihood_is_the_distribution_s(case: Any) -> None:
    config, likelihood, params = case
    out, x = values(likelihood)
    expected = log_prob(config, params, out, x)
    torch.testing.assert_close(
        likelihood.log_likelihood(TORCH, params, out, x), expected, rtol=1e-12, atol=1e-12
    )


def test_mean_is_the_distribution_s(case: Any) -> None:
    config, likelihood, params = case
    out, _ = values(likelihood)
    if config.kind == "bernoulli":
        expected = out.sigmoid()
    elif config.kind == "multinomial":
        expected = out.softmax(-1)
    else:
        expected = normal(config, params, out).mean.expand(SAMPLES, ROWS, WIDTH)
    torch.testing.assert_close(likelihood.mean(TORCH, out), expected, rtol=1e-12, atol=0)


def test_samples_have_the_mean(case: Any) -> None:
    _, likelihood, params = case
    out = values(likelihood)[0][0, :1].expand(40_000, -1)
    drawn = likelihood.sample(params, out, seeds.generator(9))
    assert drawn.shape == (40_000, WIDTH)
    words = 100.0 if likelihood.kind == "multinomial" else 1.0
    error = drawn.std(0) / 200
    assert bool(((drawn.mean(0) - words * likelihood.mean(TORCH, out[0])).abs() < 5 * error).all())


def test_score_is_the_gradient(case: Any) -> None:
    _, likelihood, params = case
    out, x = values(likelihood)
    out.requires_grad_()
    [expected] = torch.autograd.grad(likelihood.log_likelihood(TORCH, params, out, x).sum(), out)
    torch.testing.assert_close(likelihood.score(TORCH, params, out, x), expected, rtol=1e-10, atol=1e-12)


def test_error_is_weighted_by_the_precision(case: Any) -> None:
    """The covariance times the error is what x differs from its mean by."""
    config, likelihood, params = case
    out, x = values(likelihood)
    error, words = likelihood.error(TORCH, params, out, x), 1.0 * x.sum(-1, keepdim=True)
    if config.kind == "bernoulli":
        mean = out.sigmoid()
        back = error * mean * (1 - mean)
    elif config.kind == "multinomial":
        pi = out.softmax(-1)
        mean = words * pi
        covariance = words[..., None] * (torch.diag_embed(pi) - pi[..., None] * pi[..., None, :])
        back = (covariance @ error[..., None])[..., 0]
    else:
        mean = normal(config, params, out).mean
        back = error * normal(config, params, out).variance
    torch.testing.assert_close(back, (x - mean).expand_as(back), rtol=1e-10, atol=1e-12)


def test_own_parameters_learn_their_gradient(case: Any) -> None:
    _, likelihood, params = case
    out, x = values(likelihood)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    grads = {name: torch.zeros_like(value) for name, value in params.items()}
    likelihood.accumulate(grads, params, out, x, 0.5)
    for name, leaf in leaves.items():
        total = 0.5 * likelihood.log_likelihood(TORCH, leaves, out, x).sum()
        torch.testing.assert_close(grads[name], torch.autograd.grad(total, leaf)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("variance", ["global", "dimension", "predicted"])
@pytest.mark.parametrize("beyond", [-7.5, 15.5])
def test_a_variance_beyond_its_bound_no_longer_learns(beyond: float, variance: str) -> None:
    _, likelihood, params = built({"kind": "gaussian", "variance": variance})
    params = {name: torch.full_like(value, beyond) for name, value in params.items()}
    out, x = values(likelihood)
    if variance == "predicted":
        out[..., WIDTH:] = beyond
        assert float(likelihood.score(TORCH, params, out, x)[..., WIDTH:].abs().max()) == 0
    grads = {name: torch.zeros_like(value) for name, value in params.items()}
    likelihood.accumulate(grads, params, out, x, 1.0)
    assert all(float(grad.abs().max()) == 0 for grad in grads.values())
    bounded = math.exp(min(max(beyond, -7.0), 15.0))
    error = (x - out[..., :WIDTH]) / bounded
    torch.testing.assert_close(likelihood.error(TORCH, params, out, x), error, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["bernoulli", "multinomial"])
def test_extreme_logits_stay_finite(kind: str) -> None:
    _, likelihood, _ = built(kind)
    out = torch.tensor([[[-500.0, 500.0, 0.0, 80.0, -80.0]]])
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]])
    for value in (
        likelihood.log_likelihood(TORCH, {}, out, x),
        likelihood.score(TORCH, {}, out, x),
        likelihood.error(TORCH, {}, out, x),
    ):
        assert bool(value.isfinite().all())


def test_the_dequantised_density_bounds_the_probability_of_a_grey_level() -> None:
    """Averaged over u, exp(density) / 256 is the integral over the bin; its logarithm lies above the mean bound."""
    config, likelihood, params = built({"kind": "dequantised", "variance": "dimension"})
    out = values(likelihood)[0][0, :1]
    pixels = torch.tensor([[0.0, 17.0, 128.0, 254.0, 255.0]], dtype=torch.float64)
    u = (torch.arange(2000, dtype=torch.float64)[:, None] + 0.5) / 2000
    law = normal(config, params, out)
    for v in range(WIDTH):
        one = [law.log_prob((pixels + level) / 256)[0, v] - math.log(256) for level in u[:, 0]]
        exact = torch.log(law.cdf((pixels + 1) / 256) - law.cdf(pixels / 256))[0, v]
        bound = torch.stack(one)
        assert float(bound.mean()) <= float(exact)
        assert float(bound.exp().mean().log()) == pytest.approx(float(exact), abs=1e-6)


def test_images_enter_an_encoder_centred() -> None:
    x = torch.rand(3, 4)
    assert torch.equal(CENTRED.apply(TORCH, {}, x), x - 0.5)
    assert LIKELIHOODS["bernoulli"](None, WIDTH).inputs is CENTRED


def test_counts_enter_an_encoder_as_tfidf() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = np.random.default_rng(0).poisson(0.4, (50, WIDTH)).astype(np.float32)
    counts[:, 3] = 0  # a word that no training document holds
    statistics = {s.name: torch.zeros(s.size, dtype=torch.float64) for s in TERM_WEIGHTS.shapes(WIDTH)}
    TERM_WEIGHTS.fit(statistics, counts)
    reference = TfidfTransformer().fit(counts.astype(np.float64))
    np.testing.assert_allclose(statistics[IDF].numpy(), reference.idf_, rtol=1e-12)
    new = np.random.default_rng(1).poisson(0.8, (20, WIDTH)).astype(np.float64)
    new[4] = 0
    got = TERM_WEIGHTS.apply(TORCH, statistics, torch.from_numpy(new))
    np.testing.assert_allclose(got.numpy(), reference.transform(new).toarray(), rtol=1e-12, atol=1e-15)
