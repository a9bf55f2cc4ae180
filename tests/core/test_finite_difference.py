"""Semi-amortized steps by differences against the exact ones, and clipped gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from closegap_core.config import RefinerConfig
from closegap_core.inference.refiners import REFINERS, State
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from tests.core.test_step import (
    HIERARCHIES,
    LATENT,
    LIKELIHOODS,
    NAMES,
    ROWS,
    SAMPLES,
    assert_is_the_gradient_of_the_end,
    make,
    noise,
    rows,
)

NETWORK = {"hidden": [6]}
ITERATIVE: dict[str, Any] = {"method": "iterative", "iterations": 2, "encoder": NETWORK}
STARTS: dict[str, Any] = {
    "standard": {"method": "standard", "encoder": NETWORK},
    "ladder": {"method": "ladder", "encoder": NETWORK},
    "iterative": ITERATIVE,
    "iterative after ladder": {**ITERATIVE, "start": {"method": "ladder", "encoder": NETWORK}},
}
REFINER = {"kind": "momentum", "learning_rate": 0.05, "momentum": 0.5}


def pair(likelihood: Any = "bernoulli", **options: Any) -> tuple[Model, Model]:
    """The same model, differentiated exactly and by differences."""
    options = {"start": STARTS["standard"], "iterations": 3, "refiner": REFINER, **options}
    exact, differences = (
        make(likelihood, method="semi_amortized", encoder=None, differentiate=how, **options)
        for how in ("exact", "finite_difference")
    )
    assert torch.equal(exact.phi.data, differences.phi.data)
    return exact, differences


def assert_agree(models: tuple[Model, Model], goal: Objective = ELBO, within: float = 1e-7) -> None:
    x = rows(models[0])
    bounds = [model.learn(x, noise, 1.0 / ROWS, goal).elbo for model in models]
    torch.testing.assert_close(*bounds, rtol=1e-10, atol=1e-10)
    exact, differences = ({**model.theta.grads, **model.phi.grads} for model in models)
    for name, want in exact.items():
        largest = max(1.0, float(want.abs().max()))
        torch.testing.assert_close(differences[name], want, rtol=0, atol=within * largest, msg=name)


@pytest.mark.parametrize("kind", REFINERS)
def test_every_refiner(kind: str) -> None:
    assert_agree(pair(refiner={"kind": kind, "learning_rate": 0.05}))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("levels", ["single", *HIERARCHIES])
def test_every_start_and_hierarchy(levels: str, start: str) -> None:
    assert_agree(pair(model=HIERARCHIES.get(levels), start=STARTS[start]))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=NAMES)
def test_every_likelihood(likelihood: Any) -> None:
    assert_agree(pair(likelihood, refiner={**REFINER, "learning_rate": 0.01}), within=1e-6)


@pytest.mark.parametrize(
    "goal", [Objective(0.3), Objective(1.0, 0.01), Objective(1.0, 0.0, importance_weighted=True)], ids=str
)
def test_every_objective(goal: Objective) -> None:
    assert_agree(pair(), goal)


def test_draws_in_pairs() -> None:
    assert_agree(pair(refiner={**REFINER, "draws": "antithetic"}, samples=SAMPLES))


def test_the_differences_are_the_gradient_of_the_end() -> None:
    assert_is_the_gradient_of_the_end(pair()[1], ELBO)


def test_the_differences_matter() -> None:
    """Without the second derivatives the gradients would be others: the steps are long enough to tell."""
    exact, differences = pair(refiner={**REFINER, "learning_rate": 0.05})
    short = pair(refiner={**REFINER, "learning_rate": 1e-9})[0]
    for model in (exact, differences, short):
        model.learn(rows(), noise, 1.0)
    error = float((differences.phi.grad - exact.phi.grad).norm())
    assert error < 1e-5 * float((short.phi.grad - exact.phi.grad).norm())


def test_single_precision_is_good_to_a_thousandth() -> None:
    gradients: list[Tensor] = []
    for double in pair():
        model = Model(double.config, double.width, torch.float32)
        for name, value in double.parameters().items():
            model.parameters()[name].copy_(value)
        model.learn(rows().float(), lambda t: noise(t).float(), 1.0)
        gradients.append(torch.cat([model.theta.grad, model.phi.grad]))
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 1e-3


@pytest.mark.parametrize("differentiate", ["exact", "finite_difference"])
def test_clipped_gradients_are_differentiated_through(differentiate: str) -> None:
    refiner = {"kind": "momentum", "learning_rate": 0.2, "clip": 0.7}
    exact, differences = pair(refiner=refiner)
    assert_is_the_gradient_of_the_end(exact if differentiate == "exact" else differences, ELBO)


def test_a_clipped_gradient_keeps_its_direction() -> None:
    rule = REFINERS["sgd"](RefinerConfig(kind="sgd", learning_rate=1.0, clip=2.0))
    gradient = torch.stack(
        [torch.zeros(2 * LATENT), torch.full((2 * LATENT,), 0.1), torch.arange(2.0 * LATENT)]
    )
    gradient.requires_grad_()
    still = torch.zeros(3, 2 * LATENT)
    value, _ = rule.advance(TORCH, still, gradient, State(still, still, 0))
    short, long = gradient[1].norm(), gradient[2].norm()
    torch.testing.assert_close(value[:2], gradient[:2])
    torch.testing.assert_close(value[2], gradient[2] * 2.0 / long)
    assert float(short.detach()) < 2.0 < float(long.detach())
    [slope] = torch.autograd.grad(value.sum(), gradient)
    assert bool(slope.isfinite().all())
