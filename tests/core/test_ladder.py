"""The ladder encoder against its definition, written out, and against finite differences, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from closegap_core.inference.ladder import product
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import LOG_VAR_BOUND, Posterior
from tests.core.test_step import (
    CONVOLUTIONS,
    HIERARCHIES,
    IMAGES,
    LATENT,
    assert_is_the_gradient_of_the_end,
    assert_rows_are_independent,
    make,
    noise,
    rows,
    somewhere,
)

LADDER: dict[str, Any] = {"method": "ladder", "iterations": None, "encoder": {"hidden": [6, 8]}}


def test_the_product_of_two_gaussians_adds_precisions() -> None:
    evidence, prior = somewhere(), Posterior(somewhere().log_var, somewhere().mean)
    mean, log_var = product(TORCH, evidence, prior)
    precisions = [(-q.log_var).exp() for q in (evidence, prior)]
    total = precisions[0] + precisions[1]
    torch.testing.assert_close(log_var, -total.log(), rtol=1e-12, atol=1e-13)
    weighted = (precisions[0] * evidence.mean + precisions[1] * prior.mean) / total
    torch.testing.assert_close(mean, weighted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("evidence", [-1e3, -LOG_VAR_BOUND, LOG_VAR_BOUND, 1e3])
@pytest.mark.parametrize("prior", [-LOG_VAR_BOUND, LOG_VAR_BOUND])
def test_the_product_is_finite_at_every_bound(evidence: float, prior: float, dtype: torch.dtype) -> None:
    leaf = torch.tensor(evidence, dtype=dtype, requires_grad=True)
    one = torch.tensor(1.0, dtype=dtype)
    q = product(TORCH, Posterior(one, leaf), Posterior(-one, torch.tensor(prior, dtype=dtype)))
    assert abs(float(q.log_var.detach())) <= LOG_VAR_BOUND
    assert float(q.log_var.detach()) <= min(prior, max(evidence, -LOG_VAR_BOUND)) + 1e-5
    assert -1 <= float(q.mean.detach()) <= 1
    [slope] = torch.autograd.grad(q.mean + q.log_var, leaf)
    assert bool(slope.isfinite())


def written_out(model: Model, x: Tensor) -> Posterior:
    """q of a Markov ladder of two levels, its draws one by one, with no function of the package's inference."""
    params, [low, high] = model.parameters(), model.generative.hierarchy.latents

    def network(name: str, h: Tensor, first: str) -> Tensor:
        for i, weight in enumerate((first, "weight")):
            h = functional.elu(h @ params[f"{name}.{i}.{weight}"].T + params[f"{name}.{i}.bias"])
        return h @ params[f"{name}.2.weight"].T + params[f"{name}.2.bias"]

    evidence_mean, evidence_log_var, up = network("encoder.1", x - 0.5, "weight_0").split([low, low, 8], -1)
    mean_2, log_var_2 = network("encoder.2", up, "weight_1").split([high, high], -1)
    means, log_vars = [], []
    for draw in noise(0):
        z = mean_2 + (log_var_2 / 2).exp() * draw[:, low:]
        heads = network("decoder.2", z, "weight")
        means.append(heads[:, :low])
        log_vars.append(heads[:, low : 2 * low])
    prior_mean, prior_log_var = torch.stack(means).mean(0), torch.stack(log_vars).mean(0)
    precision = 1 / evidence_log_var.exp() + 1 / prior_log_var.exp()
    mean_1 = (evidence_mean / evidence_log_var.exp() + prior_mean / prior_log_var.exp()) / precision
    return Posterior(torch.cat([mean_1, mean_2], -1), torch.cat([-precision.log(), log_var_2], -1))


def test_q_is_what_is_written_out() -> None:
    model = make(model=HIERARCHIES["markov"], **LADDER)
    prior, q, again = model.posteriors(rows(), noise, 2)
    for got, want in zip(q, written_out(model, rows()), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(q, again, strict=True))
    assert not torch.allclose(prior.mean, q.mean)


@pytest.mark.parametrize("goal", [ELBO, Objective(0.3)], ids=["elbo", "warm-up"])
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_a_step_is_the_gradient_of_the_elbo(hierarchy: str, goal: Objective) -> None:
    """By central differences, theta's way through the prior that q meets included."""
    assert_is_the_gradient_of_the_end(make(model=HIERARCHIES[hierarchy], **LADDER), goal)


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_a_step_equals_autograd(hierarchy: str, likelihood: str) -> None:
    model = make(likelihood, model=HIERARCHIES[hierarchy], **LADDER)
    x = rows(model)
    statistics = {shape.name for shape in model.phi.shapes if not shape.learned}
    theta, phi = (
        {name: view.clone().requires_grad_(name not in statistics) for name, view in flat.views.items()}
        for flat in (model.theta, model.phi)
    )
    model.learn(x, noise, 1.0)
    *_, q = _two(model.method.posteriors(model.generative, theta, phi, x, noise))
    elbo = model.generative.bound(TORCH, theta, x, q, noise(1), len(noise(1))).elbo.sum()
    leaves = {name: leaf for name, leaf in (theta | phi).items() if leaf.requires_grad}
    for name, want in zip(leaves, torch.autograd.grad(elbo, list(leaves.values())), strict=True):
        got = {**model.theta.grads, **model.phi.grads}[name]
        rounding = 1e-12 * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(got, want, rtol=1e-8, atol=rounding, msg=name)
        assert float(want.abs().max()) > 0, f"nothing reaches {name}"
    assert all(float(model.phi.grads[name].abs().max()) == 0 for name in statistics)


def _two(walk: Any) -> tuple[Posterior, Posterior]:
    return next(walk), next(walk)


def test_a_ladder_of_one_level_is_the_standard_encoder() -> None:
    ladder, standard = make(**LADDER), make(**LADDER | {"method": "standard"})
    assert ladder.parameters().keys() == standard.parameters().keys()
    bounds = [model.learn(rows(), noise, 1.0).elbo for model in (ladder, standard)]
    torch.testing.assert_close(*bounds, rtol=1e-12, atol=0)
    for a, b in ((ladder.theta, standard.theta), (ladder.phi, standard.phi)):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_a_row_does_not_depend_on_its_batch(hierarchy: str) -> None:
    assert_rows_are_independent(make(model=HIERARCHIES[hierarchy], **LADDER))


@pytest.mark.parametrize("hidden", [[], [5]], ids=str)
def test_a_ladder_of_convolutions(hidden: list[int]) -> None:
    network, above = CONVOLUTIONS["two"] | {"hidden": hidden}, {"hidden": hidden}
    levels = [
        {"latent": 4, "units": 2, "decoder": CONVOLUTIONS["two"]},
        {"latent": LATENT - 4, "decoder": {"hidden": [7]}},
    ]
    options = LADDER | {"encoder": None, "encoders": [network, above]}
    model = make(model={"levels": levels}, shape=IMAGES["colour"], **options)
    assert_is_the_gradient_of_the_end(model, ELBO)
