"""The refiner for a handful of steps, and draws in pairs of opposite sign."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import (
    FrontierRefinerConfig,
    HybridConfig,
    IterativeConfig,
    RefinementConfig,
    RefinerConfig,
    SemiAmortizedConfig,
    StandardConfig,
    SviConfig,
    TrainConfig,
)
from closegap_core.config.base import Config
from closegap_core.errors import ConfigError
from closegap_core.generative import Wanted
from closegap_core.inference.draws import DRAWS
from closegap_core.inference.refiners import refine
from closegap_core.model import Model
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior

ROWS, WIDTH, LATENT = 4, 9, 3


def linear_model() -> Model:
    """x = W z + b + noise, whose posterior's precision is known and constant."""
    config = {
        "data": {"source": "digits"},
        "model": {
            "likelihood": {"kind": "gaussian", "log_var": -0.4},
            "levels": [{"latent": LATENT, "decoder": {"hidden": []}}],
        },
        "inference": {"method": "standard", "encoder": {"hidden": []}},
    }
    return Model(TrainConfig.model_validate(config), WIDTH, torch.float64)


def precision(model: Model) -> Tensor:
    weight = model.theta.views["decoder.1.0.weight"]
    return torch.eye(LATENT, dtype=torch.float64) + weight.T @ weight * math.exp(0.4)


def start() -> Posterior:
    mean, log_var = (seeds.normal((ROWS, LATENT), torch.float64, word) for word in (1, 2))
    return Posterior(mean, log_var)


def rows() -> Tensor:
    return seeds.normal((ROWS, WIDTH), torch.float64, 3)


def corners() -> Tensor:
    """All vectors of signs: expectations of quadratics, which log p(x|z) is here, are exact."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=LATENT))).double()[:, None, :]


def walk(config: RefinerConfig, steps: int) -> list[Posterior]:
    model = linear_model()
    with torch.no_grad():
        found = refine(model.generative, model.theta.views, rows(), start(), lambda t: corners(), config)
        return list(itertools.islice(found, steps + 1))


def test_the_precision_is_the_mean_of_the_starts_and_of_what_each_step_says() -> None:
    exact = precision(linear_model()).diagonal()
    for t, q in enumerate(walk(RefinerConfig(kind="newton", trust=3.0), 6)):
        expected = (3.0 * torch.exp(-start().log_var) + t * exact) / (3.0 + t)
        torch.testing.assert_close(torch.exp(-q.log_var), expected, rtol=1e-12, atol=0)


def test_the_first_step_of_the_mean_is_the_natural_gradient() -> None:
    model, q = linear_model(), start()
    signals = model.generative.signals(
        TORCH, model.theta.views, rows(), q, corners(), len(corners()), Wanted(True, False)
    )
    assert signals.gradient is not None
    _, after = walk(RefinerConfig(kind="newton", learning_rate=0.7), 1)
    expected = q.mean + 0.7 * q.log_var.exp() * signals.gradient.mean
    torch.testing.assert_close(after.mean, expected, rtol=1e-12, atol=1e-12)


def test_rate_and_momentum_fall_together() -> None:
    """Two steps written out: the second at a look-ahead of half the momentum, both halved after `anneal` steps."""
    model, config = linear_model(), RefinerConfig(kind="newton", learning_rate=0.6, momentum=0.8, anneal=1.0)
    q0, q1, q2 = walk(config, 2)
    velocity = q1.mean - q0.mean
    ahead = Posterior(q1.mean + 0.4 * velocity, q1.log_var)
    signals = model.generative.signals(
        TORCH, model.theta.views, rows(), ahead, corners(), len(corners()), Wanted(True, False)
    )
    assert signals.gradient is not None
    expected = q1.mean + 0.4 * velocity + 0.3 * q1.log_var.exp() * signals.gradient.mean
    torch.testing.assert_close(q2.mean, expected, rtol=1e-12, atol=1e-12)


def test_the_precision_stays_positive_when_a_draw_says_otherwise() -> None:
    model = linear_model()
    noise = 40.0 * seeds.normal((2, ROWS, LATENT), torch.float64, 4)
    config = RefinerConfig(kind="newton", trust=0.01)
    with torch.no_grad():
        found = refine(model.generative, model.theta.views, -rows(), start(), lambda t: noise, config)
        steps = list(itertools.islice(found, 4))
    for before, after in itertools.pairwise(steps):
        assert bool(after.log_var.isfinite().all())
        least = torch.exp(-before.log_var) * 0.25
        assert bool((torch.exp(-after.log_var) >= least * (1 - 1e-12)).all())


def test_pairs_take_the_first_half_of_the_draws() -> None:
    noise = seeds.normal((4, ROWS, LATENT), torch.float64, 5)
    assert DRAWS["independent"](noise) is noise
    torch.testing.assert_close(DRAWS["antithetic"](noise), torch.cat([noise[:2], -noise[:2]]))
    signs = DRAWS["signs"](noise)
    torch.testing.assert_close(signs, torch.cat([noise[:2].sign(), -noise[:2].sign()]))
    assert signs.dtype == noise.dtype


@pytest.mark.parametrize("draws", ["antithetic", "signs"])
def test_an_odd_number_of_draws_has_no_pairs(draws: str) -> None:
    with pytest.raises(ConfigError, match="even number of samples, but there are 3"):
        DRAWS[draws](torch.zeros(3, 1, LATENT))


@pytest.mark.parametrize("draws", ["antithetic", "signs"])
def test_a_pair_gives_the_exact_gradient_of_the_mean_where_the_likelihood_is_quadratic(draws: str) -> None:
    model, q = linear_model(), start()

    def gradient(noise: Tensor) -> Tensor:
        wanted = Wanted(True, False)
        signals = model.generative.signals(TORCH, model.theta.views, rows(), q, noise, len(noise), wanted)
        assert signals.gradient is not None
        mean: Tensor = signals.gradient.mean
        return mean

    noise = seeds.normal((2, ROWS, LATENT), torch.float64, 6)
    exact = gradient(corners())
    torch.testing.assert_close(gradient(DRAWS[draws](noise)), exact, rtol=1e-10, atol=1e-10)
    assert float((gradient(noise) - exact).abs().max()) > 0.1


PAIRS = {"kind": "newton", "draws": "signs"}


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (StandardConfig, {"draws": "antithetic"}),
        (IterativeConfig, {"draws": "antithetic", "samples": 3}),
        (HybridConfig, {"draws": "antithetic"}),
        (HybridConfig, {"refiner": PAIRS}),
        (SviConfig, {"refiner": PAIRS, "samples": 3}),
        (SemiAmortizedConfig, {"refiner": {**PAIRS, "draws": "antithetic"}}),
        (RefinementConfig, PAIRS),
        (FrontierRefinerConfig, {**PAIRS, "samples": 5}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_pairs_of_an_odd_number_of_samples_are_refused(config: type[Config], value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"come in pairs, but samples is [135]; give an even number"):
        config.model_validate(value)
    assert config.model_validate({**value, "samples": 4})


def bernoulli_model(inference: dict[str, Any]) -> Model:
    config = {
        "data": {"source": "digits"},
        "model": {"likelihood": "bernoulli", "levels": [{"latent": LATENT, "decoder": {"hidden": [5]}}]},
        "inference": inference,
    }
    return Model(TrainConfig.model_validate(config), WIDTH, torch.float64)


@pytest.mark.parametrize(
    "inference",
    [
        {"method": "standard", "samples": 4},
        {"method": "iterative", "iterations": 3, "samples": 4},
        {"method": "hybrid", "iterations": 2, "samples": 4, "refiner": "newton"},
    ],
    ids=lambda value: str(value["method"]),
)
def test_a_method_with_antithetic_draws_sees_pairs_and_nothing_else_changes(
    inference: dict[str, Any],
) -> None:
    x = (rows() > 0).double()

    def noise(t: int) -> Tensor:
        return seeds.normal((4, ROWS, LATENT), torch.float64, 7, t)

    def pairs(t: int) -> Tensor:
        return torch.cat([noise(t)[:2], -noise(t)[:2]])

    paired, plain = bernoulli_model({**inference, "draws": "antithetic"}), bernoulli_model(inference)
    for got, expected in zip(paired.posteriors(x, noise), plain.posteriors(x, pairs), strict=True):
        assert torch.equal(got.mean, expected.mean)
        assert torch.equal(got.log_var, expected.log_var)
    assert torch.equal(paired.learn(x, noise, 0.25).elbo, plain.learn(x, pairs, 0.25).elbo)
    assert torch.equal(paired.theta.grad, plain.theta.grad)
    assert torch.equal(paired.phi.grad, plain.phi.grad)
    assert float(plain.phi.grad.abs().max()) > 0
