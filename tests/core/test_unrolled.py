"""Learning by autograd: equal to the hand-written backward where both serve, and through iterations and states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.generative import Signals
from closegap_core.inference.amortized import Amortized, Iterate
from closegap_core.inference.base import start_of
from closegap_core.inference.level import by_level
from closegap_core.inference.taped import Taped
from closegap_core.inference.unrolled import MOMENTUM, Unrolled
from closegap_core.model import Model
from closegap_core.networks import Moment
from closegap_core.networks.recurrent import Recurrent
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior
from tests.core.test_step import (
    CONVOLUTIONS,
    ENCODINGS,
    HIERARCHIES,
    IMAGES,
    ROWS,
    WIDTH,
    assert_rows_are_independent,
    make,
    noise,
    objective_sum,
    rows,
)

RECURRENT: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "lstm", "hidden": [4]},
    "gru": {"kind": "gru", "hidden": [5]},
    "deep lstm": {"kind": "lstm", "hidden": [4, 3]},
    "deep gru": {"kind": "gru", "hidden": [4, 3]},
}
NORMALISED: dict[str, dict[str, Any]] = {
    connection: {"hidden": [6, 6], "batch_norm": True, "connection": connection}
    for connection in ("sequential", "residual", "highway")
}
EVERYTHING = ["data", "gradient", "error", "estimate"]


def unrolled(model: Model) -> Model:
    """The same model, learning by autograd."""
    assert isinstance(model.method, Taped)
    inference = model.config.inference
    hierarchy, inputs = model.generative.hierarchy, model.generative.likelihood.inputs
    model.method = Unrolled(inference, hierarchy, inputs, model.method.start)
    return model


def assert_learn_the_same(make_one: Any, goal: Objective = ELBO, count: int | None = None) -> None:
    taped, other = make_one(), unrolled(make_one())
    x = rows(taped)
    bounds = [model.learn(x, noise, 1.0 / ROWS, goal, count) for model in (taped, other)]
    torch.testing.assert_close(bounds[1].elbo, bounds[0].elbo, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other.theta.grad, taped.theta.grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(other.phi.grad, taped.phi.grad, rtol=1e-8, atol=1e-10)
    assert float(other.phi.grad.abs().max()) > 0


@pytest.mark.parametrize("encode", ENCODINGS, ids="+".join)
@pytest.mark.parametrize("update", ["direct", "additive", "gated", "learned_sgd", "natural"])
def test_autograd_learns_what_the_hand_written_backward_learns(update: str, encode: list[str]) -> None:
    assert_learn_the_same(lambda: make(update=update, encode=encode))


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
@pytest.mark.parametrize("goal", [ELBO, Objective(0.3, 0.1)], ids=str)
def test_autograd_learns_the_same_in_a_hierarchy(goal: Objective, hierarchy: str) -> None:
    assert_learn_the_same(lambda: make(model=HIERARCHIES[hierarchy], encode=EVERYTHING), goal)


@pytest.mark.parametrize("start", ["standard", "ladder"])
def test_autograd_learns_the_same_after_a_start(start: str) -> None:
    first = {"method": start, "encoder": {"hidden": [6]}}
    assert_learn_the_same(lambda: make(model=HIERARCHIES["markov"], start=first))


def test_autograd_learns_the_same_from_the_importance_weighted_bound() -> None:
    assert_learn_the_same(make, Objective(importance_weighted=True))


STARTS: dict[str, dict[str, Any]] = {
    "lstm": {"encoder": {"kind": "lstm", "hidden": [4]}},
    "batch norm": {"encoder": {"hidden": [4], "batch_norm": True}},
    "through": {"encoder": {"hidden": [4]}, "backprop_through_iterations": True},
}


@pytest.mark.parametrize("name", STARTS)
def test_a_refiner_starts_from_an_encoder_that_learns_by_autograd(name: str) -> None:
    """In a hybrid, the encoder learns what it learns alone."""
    start = {"method": "iterative", "iterations": 2, **STARTS[name]}
    hybrid = make(method="hybrid", iterations=2, encoder=None, start=start)
    alone = make(**start)
    alone.phi.data.copy_(hybrid.phi.data)
    for flat in (alone.theta, hybrid.theta):
        flat.data.copy_(hybrid.theta.data)
    for model in (hybrid, alone):
        model.learn(rows(), noise, 1.0 / ROWS)
    assert float(alone.phi.grad.abs().max()) > 0
    torch.testing.assert_close(hybrid.phi.grad, alone.phi.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(hybrid.phi.data, alone.phi.data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", ["uniform", "linear", "last"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_autograd_learns_the_same_with_loss_weights(weights: str, count: int) -> None:
    assert_learn_the_same(lambda: make(loss_weights=weights), count=count)


def test_autograd_learns_the_same_with_convolutions() -> None:
    network = CONVOLUTIONS["two"]
    assert_learn_the_same(
        lambda: make(decoder=network, shape=IMAGES["colour"], encoder=network, encode=EVERYTHING)
    )


def _objective(
    model: Model,
    x: Tensor,
    theta: dict[str, Tensor],
    phi: dict[str, Tensor],
    through: bool,
    weights: list[float],
    goal: Objective = ELBO,
) -> tuple[Tensor, Tensor]:
    """Sum of w_t L_t, and the last L_T, written with autograd alone; signals with a graph where `through`."""
    method, generative = model.method, model.generative
    assert isinstance(method, Amortized)
    start = start_of(generative, model.theta.views, x, noise)
    at = method.first(Posterior(*(part.clone() for part in start)))  # two leaves, where both are zeros
    total = torch.zeros((), dtype=torch.float64)
    for t, weight in enumerate(weights):
        q = at.q if through else Posterior(*(part.detach() for part in at.q))
        leaves = Posterior(*(part if part.requires_grad else part.requires_grad_() for part in q))
        error = generative.signals(
            TORCH, theta if through else model.theta.views, x, leaves, noise(t), len(noise(t)), method.wanted
        ).error
        before = objective_sum(model, theta, x, *leaves, t=t, goal=goal)
        gradient = Posterior(*torch.autograd.grad(before, leaves, create_graph=through))
        if error is not None and not through:
            error = type(error)(*(part.detach() for part in error))
        signals = Signals(gradient if method.wanted.gradient else None, error)
        here = Iterate(leaves if through else Posterior(*(part.detach() for part in q)), at.state)
        constant = method.constant(TORCH, phi, x)
        at = method.update(TORCH, phi, constant, signals, here, t, learning=True).after
        last = objective_sum(model, theta, x, *at.q, t=t + 1, goal=goal)
        total = total + weight * last
    return total, last


def _leaves(model: Model) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    theta = {name: view.clone().requires_grad_() for name, view in model.theta.views.items()}
    learned = {shape.name for shape in model.phi.shapes if shape.learned}
    phi = {name: view.clone().requires_grad_(name in learned) for name, view in model.phi.views.items()}
    return theta, phi


def assert_phi_learns_like_autograd(model: Model, through: bool, weights: list[float] | None = None) -> None:
    """phi from the (whole) derivative of the weighted sum, theta from that of the last ELBO."""
    x = rows(model)
    theta, phi = _leaves(model)
    weights = weights or [1 / 3] * 3
    total, last = _objective(model, x, theta, phi, through, weights)
    learned = {name: leaf for name, leaf in phi.items() if leaf.requires_grad}
    of_phi = torch.autograd.grad(total / ROWS, list(learned.values()), retain_graph=True, allow_unused=True)
    model.learn(x, noise, 1.0 / ROWS)
    for name, want in zip(learned, of_phi, strict=True):
        assert want is not None, f"nothing reaches {name}"
        got = model.phi.grads[name]
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    if not through:
        return
    of_theta = torch.autograd.grad(last / ROWS, list(theta.values()))
    for name, want in zip(theta, of_theta, strict=True):
        torch.testing.assert_close(model.theta.grads[name], want, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("encode", ENCODINGS, ids="+".join)
@pytest.mark.parametrize("normalise", ["none", "layer", "log_sign"])
def test_backprop_through_iterations_is_the_whole_derivative(normalise: str, encode: list[str]) -> None:
    model = make(encode=encode, normalise=normalise, backprop_through_iterations=True)
    assert_phi_learns_like_autograd(model, through=True)


@pytest.mark.parametrize("update", ["direct", "additive", "gated", "learned_sgd", "natural"])
@pytest.mark.parametrize("hierarchy", [None, *HIERARCHIES])
def test_backprop_through_iterations_of_every_update(hierarchy: str | None, update: str) -> None:
    model = make(
        model=HIERARCHIES[hierarchy] if hierarchy else None,
        update=update,
        encode=EVERYTHING,
        backprop_through_iterations=True,
    )
    assert_phi_learns_like_autograd(model, through=True)


def test_backprop_through_iterations_differs_from_the_truncated_gradient() -> None:
    whole, truncated = make(backprop_through_iterations=True), make()
    for model in (whole, truncated):
        model.learn(rows(), noise, 1.0)
    assert float((whole.phi.grad - truncated.phi.grad).abs().max()) > 1e-3
    assert float((whole.theta.grad - truncated.theta.grad).abs().max()) > 1e-3
    whole, truncated = make(backprop_through_iterations=True), make()
    for model in (whole, truncated):
        model.learn(rows(), noise, 1.0, iterations=1)
    torch.testing.assert_close(whole.phi.grad, truncated.phi.grad, rtol=1e-9, atol=1e-11)


def test_backprop_through_iterations_equals_finite_differences() -> None:
    model, x, h = make(backprop_through_iterations=True), rows(), 1e-5
    model.learn(x, noise, 1.0)

    def value(last: bool) -> float:
        theta, phi = _leaves(model)
        total, end = _objective(model, x, theta, phi, through=True, weights=[1 / 3] * 3)
        return float((end if last else total).detach())

    for flat, last in ((model.phi, False), (model.theta, True)):
        for place in (0, 7, len(flat.data) // 2, len(flat.data) - 1):
            ends = []
            for step in (h, -2 * h):
                flat.data[place] += step
                ends.append(value(last))
            flat.data[place] += h
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float(flat.grad[place]), rel=1e-5, abs=1e-7)


def test_a_constant_block_has_a_finite_slope() -> None:
    """Of one latent dimension, layer normalisation makes zero: its derivative is zero too, not undefined."""
    config = {"levels": [{"latent": 1, "decoder": {"hidden": [4]}}]}
    model = make(model=config, encode=["gradient", "estimate"], backprop_through_iterations=True)
    model.learn(rows(), lambda t: noise(t)[..., :1], 1.0)
    assert bool(model.phi.grad.isfinite().all())
    assert float(model.phi.grad.abs().max()) > 0


# --- recurrent ---


@pytest.mark.parametrize("network", RECURRENT)
@pytest.mark.parametrize("hierarchy", [None, *HIERARCHIES])
@pytest.mark.parametrize("through", [False, True])
def test_step_of_recurrent_encoders(through: bool, hierarchy: str | None, network: str) -> None:
    model = make(
        model=HIERARCHIES[hierarchy] if hierarchy else None,
        encoder=RECURRENT[network],
        encode=EVERYTHING,
        backprop_through_iterations=through,
    )
    assert isinstance(model.method, Unrolled)
    assert_phi_learns_like_autograd(model, through)


@pytest.mark.parametrize("encode", ENCODINGS, ids="+".join)
def test_step_of_recurrent_encoders_of_every_encoding(encode: list[str]) -> None:
    assert_phi_learns_like_autograd(make(encoder=RECURRENT["lstm"], encode=encode), through=False)


def test_recurrent_beside_other_encoders() -> None:
    networks = [RECURRENT["gru"], {"hidden": [6]}]
    model = make(model=HIERARCHIES["markov"], encoder=None, encoders=networks)
    assert_phi_learns_like_autograd(model, through=False)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_is_that_of_torch(kind: str) -> None:
    model = make(encoder={"kind": kind, "hidden": [4]})
    assert isinstance(model.method, Amortized)
    network, phi = model.method.levels[0].network, model.phi.views
    assert isinstance(network, Recurrent)
    data, varying, state = (
        seeds.normal((ROWS, n), torch.float64, n)
        for n in (WIDTH, network.seen[0].inputs[1], network.state_width)
    )
    known = network.partial(TORCH, phi, 0, data)
    got = network.advance(TORCH, phi, varying, known, Moment(0, state)).state
    weight = torch.cat([phi["encoder.1.0.seen.0.weight_0"], phi["encoder.1.0.seen.0.weight_1"]], 1)
    inner, bias = phi["encoder.1.0.recalled.weight"].clone(), phi["encoder.1.0.seen.0.bias"].clone()
    cell = (torch.nn.LSTMCell if kind == "lstm" else torch.nn.GRUCell)(
        weight.shape[1], 4, dtype=torch.float64
    )
    if kind == "lstm":
        bias[4:8] += 1.0
    parameters = {"weight_ih": weight, "weight_hh": inner, "bias_ih": bias, "bias_hh": torch.zeros_like(bias)}
    cell.load_state_dict(parameters)
    x = torch.cat([data, varying], 1)
    want = torch.cat(cell(x, state.chunk(2, -1)), -1) if kind == "lstm" else cell(x, state)
    torch.testing.assert_close(got, want.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", RECURRENT)
def test_recurrent_rows_do_not_depend_on_their_batch(network: str) -> None:
    assert_rows_are_independent(make(encoder=RECURRENT[network]))


def test_what_an_iteration_leaves_changes_the_next() -> None:
    model = make(encoder=RECURRENT["gru"])
    method, x = model.method, rows()
    assert isinstance(method, Amortized)
    phi, theta = model.phi.views, model.theta.views
    at = method.first(start_of(model.generative, theta, x, noise))
    signals = model.generative.signals(TORCH, theta, x, at.q, noise(0), 2, method.wanted)
    constant = method.constant(TORCH, phi, x)
    once = method.update(TORCH, phi, constant, signals, at, 0).after
    assert at.state is not None
    assert float(at.state.abs().max()) == 0
    forgetful = method.update(TORCH, phi, constant, signals, once._replace(state=at.state), 1).after
    recalling = method.update(TORCH, phi, constant, signals, once, 1).after
    assert float((forgetful.q.mean - recalling.q.mean).abs().max()) > 1e-3


# --- batch normalisation ---


@pytest.mark.parametrize("network", NORMALISED)
@pytest.mark.parametrize("hierarchy", [None, *HIERARCHIES])
@pytest.mark.parametrize("through", [False, True])
def test_step_of_normalised_encoders(through: bool, hierarchy: str | None, network: str) -> None:
    model = make(
        model=HIERARCHIES[hierarchy] if hierarchy else None,
        encoder=NORMALISED[network],
        encode=EVERYTHING,
        backprop_through_iterations=through,
    )
    assert_phi_learns_like_autograd(model, through)


@pytest.mark.parametrize("network", NORMALISED)
def test_normalised_rows_do_not_depend_on_their_batch_outside_training(network: str) -> None:
    assert_rows_are_independent(make(encoder=NORMALISED[network]))


def test_statistics_are_those_of_each_iteration() -> None:
    model, x = make(encoder=NORMALISED["sequential"], encode=["gradient", "estimate"]), rows()
    for name in ("mean", "variance"):
        model.phi.views[f"encoder.1.0.norm.{name}"].fill_(float(name == "variance"))
    inputs = _inputs_of_the_first_layer(model, x)
    model.learn(x, noise, 1.0 / ROWS)
    assert model.phi.views["encoder.1.0.norm.mean"].shape == (3, 6)
    for t, v in enumerate(inputs):
        mean, variance = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
        got = torch.nn.functional.batch_norm(v, mean, variance, training=True, momentum=MOMENTUM)
        assert got.shape == v.shape
        torch.testing.assert_close(model.phi.views["encoder.1.0.norm.mean"][t], mean)
        biased = 1 - MOMENTUM + MOMENTUM * v.var(0, unbiased=False)
        torch.testing.assert_close(model.phi.views["encoder.1.0.norm.variance"][t], biased)
    assert not torch.equal(*model.phi.views["encoder.1.0.norm.mean"][:2])


def _inputs_of_the_first_layer(model: Model, x: Tensor) -> list[Tensor]:
    """Pre-activations of the first hidden layer in the iterations of a step of learning."""
    method, theta, phi = model.method, model.theta.views, model.phi.views
    assert isinstance(method, Amortized)
    at, found, level = method.first(start_of(model.generative, theta, x, noise)), [], method.levels[0]
    for t in range(3):
        signals = model.generative.signals(TORCH, theta, x, at.q, noise(t), 2, method.wanted)
        [share] = by_level(TORCH, model.generative.hierarchy, signals)
        varying = level.encode(TORCH, share, at.q, [])
        found.append(varying @ phi["encoder.1.0.weight_1"].T)
        at = method.update(TORCH, phi, (None,), signals, at, t, learning=True).after
    return found


def test_further_iterations_use_the_last_statistics() -> None:
    model, x = make(encoder=NORMALISED["highway"]), rows()
    method = model.method
    assert isinstance(method, Amortized)
    at = method.first(start_of(model.generative, model.theta.views, x, noise))
    signals = model.generative.signals(TORCH, model.theta.views, x, at.q, noise(0), 2, method.wanted)
    constant = method.constant(TORCH, model.phi.views, x)
    ends = [method.update(TORCH, model.phi.views, constant, signals, at, t).q.mean for t in (1, 2, 3, 30)]
    assert not torch.equal(ends[0], ends[1])
    assert torch.equal(ends[1], ends[2])
    assert torch.equal(ends[2], ends[3])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "decoder": (
        {"model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": {"batch_norm": True}}]}},
        r"decoder.*batch_norm is True, but only iterative encoders can have it",
    ),
    "nothing to normalise": (
        {"inference": {"method": "iterative", "encoder": {"hidden": [], "batch_norm": True}}},
        r"hidden is empty",
    ),
    "recurrent decoder": (
        {"model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": {"kind": "lstm"}}]}},
        r"decoder.*'lstm'.*'mlp', 'convolution'",
    ),
    "one pass": (
        {"inference": {"method": "standard", "encoder": {"batch_norm": True}}},
        r"only iterative encoders can have it.*For a one-pass encoder write method iterative",
    ),
    "recurrent one pass": (
        {"inference": {"method": "standard", "encoder": {"kind": "gru"}}},
        r"'gru'.*'mlp', 'convolution'",
    ),
    "start": (
        {
            "inference": {
                "method": "iterative",
                "start": {"method": "standard", "encoder": {"batch_norm": True}},
            }
        },
        r"only iterative encoders can have it",
    ),
    "semi-amortized": (
        {
            "inference": {
                "method": "semi_amortized",
                "start": {"method": "iterative", "encoder": {"batch_norm": True}},
            }
        },
        r"batch_norm.*semi_amortized",
    ),
    "online": (
        {"inference": {"method": "iterative", "online": True, "encoder": {"kind": "lstm"}}},
        r"online.*an encoder of kind lstm learns from all iterations together",
    ),
    "online normalised": (
        {"inference": {"method": "iterative", "online": True, "encoder": {"batch_norm": True}}},
        r"online.*an encoder has batch_norm",
    ),
    "online through": (
        {"inference": {"method": "iterative", "online": True, "backprop_through_iterations": True}},
        r"online.*backprop_through_iterations is true",
    ),
    "simulated rows": (
        {
            "inference": {"method": "iterative", "encoder": {"batch_norm": True}},
            "training": {"model_samples": 0.5},
        },
        r"model_samples is 0.5, but an encoder has batch_norm",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    fields, message = REFUSED[name]
    config = {
        "data": {"source": "digits"},
        "model": {"likelihood": "bernoulli", "levels": [{"latent": 2}]},
        "inference": "standard",
    }
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        TrainConfig.model_validate({**config, **fields})
