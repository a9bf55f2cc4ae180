"""What inference starts from: its q, what it learns from, and what a refiner makes of it, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core.generative import Wanted
from closegap_core.inference.amortized import Amortized
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior
from tests.core.test_step import (
    HIERARCHIES,
    ROWS,
    SAMPLES,
    assert_is_the_gradient_of_the_end,
    assert_rows_are_independent,
    make,
    noise,
    objective_sum,
    rows,
)

NETWORK = {"hidden": [6]}
STARTS: dict[str, Any] = {
    "standard": {"method": "standard", "encoder": NETWORK},
    "ladder": {"method": "ladder", "encoder": {"hidden": [6, 5], "connection": "highway"}},
}
ITERATIVE: dict[str, Any] = {"method": "iterative", "iterations": 2, "encoder": NETWORK}
LEVELS = {"single": None, **HIERARCHIES}


def autograd_learn(model: Model, x: Tensor, goal: Objective) -> dict[str, Tensor]:
    """phi's gradient by autograd alone: the start's of the ELBO at its own q, the encoder's of the mean over t."""
    method, theta = model.method, dict(model.theta.views)
    assert isinstance(method, Amortized)
    fixed = {shape.name for shape in model.phi.shapes if not shape.learned}
    phi = {name: view.clone().requires_grad_(name not in fixed) for name, view in model.phi.views.items()}
    q = method.start.at(model.generative, theta, phi, x, noise).q
    total = objective_sum(model, theta, x, *q, t=1, goal=goal) / ROWS
    for t in range(1, method.iterations + 1):
        leaves = [part.detach().clone().requires_grad_() for part in q]
        gradient = torch.autograd.grad(objective_sum(model, theta, x, *leaves, t=t, goal=goal), leaves)
        at = Posterior(*(part.detach() for part in leaves))
        wanted = Wanted(False, method.wanted.error)
        signals = model.generative.signals(TORCH, theta, x, at, noise(t), SAMPLES, wanted)
        if method.wanted.gradient:
            signals = signals._replace(gradient=Posterior(*gradient))
        q = method.update(TORCH, phi, method.constant(TORCH, phi, x), signals, method.first(at), t - 1).q
        mean = objective_sum(model, theta, x, *q, t=t + 1, goal=goal) / ROWS / method.iterations
        total = total + mean
    learned = {name: leaf for name, leaf in phi.items() if name not in fixed}
    return dict(zip(learned, torch.autograd.grad(total, list(learned.values())), strict=True))


@pytest.mark.parametrize(
    "encode", [["data"], ["data", "gradient"], ["data", "error", "estimate"]], ids="+".join
)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("start", STARTS)
def test_an_iterative_step_after_a_start(start: str, levels: str, encode: list[str]) -> None:
    model = make(model=LEVELS[levels], start=STARTS[start], encode=encode)
    assert_learns_like_autograd(model, ELBO)


@pytest.mark.parametrize("goal", [Objective(0.3), Objective(1.0, 0.4)], ids=str)
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("start", STARTS)
def test_a_start_follows_the_objective(start: str, likelihood: str, goal: Objective) -> None:
    model = make(likelihood, model=LEVELS["markov"], start=STARTS[start], update="natural")
    assert_learns_like_autograd(model, goal)


def assert_learns_like_autograd(model: Model, goal: Objective) -> None:
    x = rows(model)
    model.learn(x, noise, 1.0 / ROWS, goal)
    expected = autograd_learn(model, x, goal)
    for name, want in expected.items():
        rounding = 1e-12 * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(model.phi.grads[name], want, rtol=1e-8, atol=rounding, msg=name)
        assert float(want.abs().max()) > 0, f"nothing reaches {name}"
    assert all(float(grad.abs().max()) > 0 for grad in model.theta.grads.values())
    assert float(model.phi.grad.abs().sum()) == pytest.approx(
        sum(float(model.phi.grads[name].abs().sum()) for name in expected)
    ), "a statistic has a gradient"


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("start", STARTS)
def test_iteration_0_is_the_start(start: str, levels: str) -> None:
    """The same q as the method of that name has with the same parameters; then the ELBO is the iterations' own."""
    model = make(model=LEVELS[levels], start=STARTS[start])
    alone = make(model=LEVELS[levels], **STARTS[start], iterations=None)
    for name, value in alone.parameters().items():
        value.copy_(model.parameters()[name if name in model.theta.views else f"start.{name}"])
    first = next(iter(model.posteriors(rows(), noise, 0)))
    for got, want in zip(first, alone.infer(rows(), noise), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("start", STARTS)
def test_a_start_learns_at_its_own_output(start: str, levels: str) -> None:
    """Its gradient is that of the method of its name by itself, whatever comes after."""
    alone = make(model=LEVELS[levels], **STARTS[start], iterations=None)
    hybrid = make(model=LEVELS[levels], method="hybrid", start=STARTS[start], refiner="adam", encoder=None)
    iterative = make(model=LEVELS[levels], start=STARTS[start])
    for model in (hybrid, iterative):
        for name, value in alone.parameters().items():
            model.parameters()[name if name in alone.theta.views else f"start.{name}"].copy_(value)
    for model in (alone, hybrid, iterative):
        model.learn(rows(), noise, 1.0 / ROWS)
    for name, want in alone.phi.grads.items():
        for model in (hybrid, iterative):
            torch.testing.assert_close(model.phi.grads[f"start.{name}"], want, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("start", [None, *STARTS])
@pytest.mark.parametrize("levels", LEVELS)
def test_a_refiner_goes_on_where_iterations_end(levels: str, start: str | None) -> None:
    inner = {**ITERATIVE, "start": None if start is None else STARTS[start]}
    hybrid = make(
        model=LEVELS[levels],
        method="hybrid",
        start=inner,
        iterations=3,
        refiner={"kind": "sgd", "learning_rate": 1e-3},
        encoder=None,
    )
    alone = make(model=LEVELS[levels], **inner)
    for name, value in alone.parameters().items():
        value.copy_(hybrid.parameters()[name if name in alone.theta.views else f"start.{name}"])
    expected, found = list(alone.posteriors(rows(), noise)), list(hybrid.posteriors(rows(), noise))
    assert len(found) == len(expected) + 3
    for before, after in zip(expected, found, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    draws = noise(99)
    ends = [float(hybrid.bound(rows(), q, draws).elbo.sum()) for q in (expected[-1], found[-1])]
    assert ends[1] > ends[0]
    alone.learn(rows(), noise, 1.0 / ROWS)
    hybrid.learn(rows(), noise, 1.0 / ROWS)
    torch.testing.assert_close(hybrid.phi.grad, alone.phi.grad, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(hybrid.theta.grad, alone.theta.grad)


@pytest.mark.parametrize(
    "start", [*STARTS, "iterative", "iterative after standard", "iterative after ladder"]
)
@pytest.mark.parametrize("levels", LEVELS)
def test_a_semi_amortized_step_differentiates_every_start(levels: str, start: str) -> None:
    inner = {
        **STARTS,
        "iterative": ITERATIVE,
        "iterative after standard": ITERATIVE | {"start": STARTS["standard"]},
        "iterative after ladder": ITERATIVE | {"start": STARTS["ladder"]},
    }[start]
    refiner = {"kind": "momentum", "learning_rate": 0.05}
    model = make(
        model=LEVELS[levels],
        method="semi_amortized",
        start=inner,
        iterations=2,
        refiner=refiner,
        encoder=None,
    )
    assert_is_the_gradient_of_the_end(model, ELBO)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("start", STARTS)
def test_a_row_after_a_start_does_not_depend_on_its_batch(start: str, levels: str) -> None:
    assert_rows_are_independent(make(model=LEVELS[levels], start=STARTS[start]))


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        ({"start": "svi"}, "standard"),
        ({"start": "iterative"}, "standard"),
        ({"start": "standard", "online": True}, "there is a start"),
        ({"start": {"method": "standard", "samples": 3}}, "samples"),
        ({"start": {"method": "standard", "encoders": [NETWORK]}}, "inference.start.encoders has 1 networks"),
        ({"method": "hybrid", "start": "svi", "encoder": None}, "iterative"),
        ({"method": "hybrid", "start": "standard", "encoders": [NETWORK, NETWORK]}, "encoders"),
    ],
)
def test_starts_that_make_no_sense_are_refused(inference: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(model=LEVELS["markov"], **inference)
