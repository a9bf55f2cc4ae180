"""Training on the importance-weighted bound (float64)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.generative import Signals, Wanted
from closegap_core.model import Model
from closegap_core.objective import Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior, log_density, sample

ROWS, WIDTH, LATENT, SAMPLES = 4, 5, 4, 3
IWAE = Objective(importance_weighted=True)
LIKELIHOODS: dict[str, Any] = {
    "bernoulli": "bernoulli",
    "gaussian": "gaussian",
    "by dimension": {"kind": "gaussian", "variance": "dimension"},
    "predicted": {"kind": "gaussian", "variance": "predicted"},
    "dequantised": {"kind": "dequantised", "variance": "global", "log_var": -1.0},
    "multinomial": "multinomial",
}
LEVELS: dict[str, Any] = {
    "single": {"levels": [{"latent": 4}]},
    "markov": {"levels": [{"latent": 2, "units": 2}, {"latent": 2}]},
    "learned": {"levels": [{"latent": 2}, {"latent": 2}], "prior_variance": "learned"},
}


def config(
    likelihood: Any = "bernoulli", levels: str = "single", inference: Any = "standard", **training: Any
) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {
                "likelihood": likelihood,
                **LEVELS[levels],
                "levels": [{"decoder": {"hidden": [7]}, **level} for level in LEVELS[levels]["levels"]],
            },
            "inference": inference,
            "training": training,
        }
    )


def make(likelihood: Any = "bernoulli", levels: str = "single", inference: Any = "standard") -> Model:
    model = Model(config(likelihood, levels, inference), WIDTH, torch.float64)
    for i, tensor in enumerate(model.parameters().values()):
        tensor += 0.2 * seeds.normal(tuple(tensor.shape), torch.float64, 7, i)
    return model


def rows(model: Model) -> Tensor:
    x = torch.rand(ROWS, WIDTH, generator=seeds.generator(3), dtype=torch.float64)
    return (6 * x).floor() if model.generative.likelihood.kind == "multinomial" else x


def noise(t: int) -> Tensor:
    return seeds.normal((SAMPLES, ROWS, LATENT), torch.float64, 11, t)


def somewhere() -> Posterior:
    mean, log_var = (seeds.normal((ROWS, LATENT), torch.float64, 5, i) for i in range(2))
    return Posterior(mean, 0.5 * log_var)


def bound(model: Model, x: Tensor, q: Posterior, t: int, objective: Objective) -> Tensor:
    elbo: Tensor = model.generative.bound(TORCH, model.theta.views, x, q, noise(t), SAMPLES, objective).elbo
    return elbo.sum()


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_gradients_equal_finite_differences(likelihood: str, levels: str, weight: float) -> None:
    """Of q and of theta, in directions at random, by central differences."""
    model, objective, h = make(LIKELIHOODS[likelihood], levels), IWAE._replace(kl_weight=weight), 1e-6
    theta, x, q = model.theta.views, rows(model), somewhere()
    learned, _ = model.generative.learn(
        theta, model.theta.grads, x, q, noise(0), 1.0, Wanted(True, False), objective
    )
    shown = model.generative.goal(theta, x, q, noise(0), Signals(None, None), objective)
    assert learned.gradient is not None
    for got, again in zip(learned.gradient, shown, strict=True):
        torch.testing.assert_close(got, again, rtol=1e-12, atol=1e-12)
    for trial in range(3):
        along = Posterior(*(seeds.normal((ROWS, LATENT), torch.float64, 13, trial, i) for i in range(2)))
        up, down = (Posterior(*(at + s * h * d for at, d in zip(q, along, strict=True))) for s in (1, -1))
        difference = bound(model, x, up, 0, objective) - bound(model, x, down, 0, objective)
        product = sum(float((g * d).sum()) for g, d in zip(shown, along, strict=True))
        assert product == pytest.approx(float(difference) / (2 * h), rel=1e-6, abs=1e-6)
        direction = seeds.normal(tuple(model.theta.data.shape), torch.float64, 17, trial)
        values = []
        for sign in (h, -h):
            model.theta.data.add_(direction, alpha=sign)
            values.append(float(bound(model, x, q, 0, objective)))
            model.theta.data.add_(direction, alpha=-sign)
        expected = (values[0] - values[1]) / (2 * h)
        assert float(model.theta.grad @ direction) == pytest.approx(expected, rel=2e-6, abs=1e-6)


def test_with_one_draw_it_is_the_elbo_with_a_sampled_kl() -> None:
    model = make(levels="markov")
    x, q, draw = rows(model), somewhere(), noise(0)[:1]
    found = model.generative.bound(TORCH, model.theta.views, x, q, draw, 1, IWAE)
    weights = model.log_weights(x, q, draw)
    torch.testing.assert_close(found.elbo, weights[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("svi", {}),
        ("hybrid", {}),
        ("semi_amortized", {}),
        ("semi_amortized", {"differentiate": "finite_difference"}),
    ],
    ids=["svi", "hybrid", "exact", "finite difference"],
)
def test_a_refiner_follows_the_elbo_and_theta_learns_at_its_end(kind: str, options: dict[str, Any]) -> None:
    """By central differences along theta at the last q, which svi and hybrid take as a constant."""
    start = {} if kind == "svi" else {"start": {"method": "standard", "encoder": {"hidden": [6]}}}
    refiner = {"kind": "momentum", "learning_rate": 0.05}
    model = make(inference={"method": kind, "iterations": 3, "refiner": refiner, **start, **options})
    x, h, steps = rows(model), 1e-6, model.method.iterations
    walk = model.method.posteriors(model.generative, model.theta.views, model.phi.views, x, noise)
    *_, q = itertools.islice(walk, steps + 1)
    model.learn(x, noise, 1.0, IWAE)
    last = model.method.draws

    def reached() -> Posterior:
        if kind != "semi_amortized":
            return q
        walk = model.method.posteriors(model.generative, model.theta.views, model.phi.views, x, noise)
        *_, moved = itertools.islice(walk, steps + 1)
        return moved

    flats = (model.theta, model.phi) if kind == "semi_amortized" else (model.theta,)
    for flat, trial in itertools.product(flats, range(3)):
        direction = seeds.normal(tuple(flat.data.shape), torch.float64, 19, trial)
        values = []
        for sign in (h, -h):
            flat.data.add_(direction, alpha=sign)
            values.append(float(bound(model, x, reached(), last, IWAE)))
            flat.data.add_(direction, alpha=-sign)
        expected = (values[0] - values[1]) / (2 * h)
        assert float(flat.grad @ direction) == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_the_shares_of_the_draws_sum_to_one_and_favour_the_likely() -> None:
    model = make()
    x, q = rows(model), somewhere()
    z, log_q = sample(TORCH, q, noise(0)), log_density(noise(0), q.log_var)
    descent = model.generative.hierarchy.descend(TORCH, model.theta.views, z, SAMPLES)
    weighed = model.generative.weighted.weigh(model.theta.views, x, z, log_q, descent, 1.0)
    torch.testing.assert_close(weighed.share.sum(0), torch.ones(ROWS, dtype=torch.float64))
    torch.testing.assert_close(weighed.log_weight, model.log_weights(x, q, noise(0)), rtol=1e-12, atol=1e-12)
    assert torch.equal(weighed.share.argmax(0), weighed.log_weight.argmax(0))


def test_what_it_cannot_go_with_is_refused() -> None:
    drawn = {"method": "standard", "samples": 5}
    assert config(inference=drawn, objective="iwae").training.objective == "iwae"
    with pytest.raises(ValidationError, match=r"iwae, which with inference\.samples 1 is the ELBO"):
        config(objective="iwae")
    with pytest.raises(ValidationError, match=r"free_bits is 0\.5, but training\.objective iwae"):
        config(inference=drawn, objective="iwae", free_bits=0.5)


def test_more_draws_give_a_tighter_bound() -> None:
    model = make()
    x, q = rows(model), somewhere()
    draws = seeds.normal((3000, ROWS, LATENT), torch.float64, 23)
    log_weights = model.log_weights(x, q, draws)
    means = [
        float((torch.logsumexp(log_weights.view(-1, k, ROWS), 1) - math.log(k)).mean()) for k in (1, 5, 50)
    ]
    assert means == sorted(means)
