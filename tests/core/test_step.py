"""One inference iteration and one training step against autograd and finite differences, in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.generative import Wanted
from closegap_core.inference.amortized import Amortized
from closegap_core.inference.base import start_of
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior, sample

WIDTH, LATENT, ROWS, SAMPLES = 5, 6, 4, 2
LIKELIHOODS: list[Any] = [
    "bernoulli",
    "gaussian",
    {"kind": "gaussian", "mean": "sigmoid", "log_var": -1.0},
    {"kind": "gaussian", "variance": "predicted"},
    {"kind": "dequantised", "variance": "dimension", "log_var": -1.0},
    "multinomial",
]
NAMES = ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-predicted", "dequantised", "multinomial"]
ENCODINGS = [
    ["data"],
    ["gradient"],
    ["error"],
    ["data", "gradient"],
    ["data", "error"],
    ["gradient", "estimate"],
    ["data", "gradient", "error", "estimate"],
]


HIERARCHIES: dict[str, dict[str, Any]] = {
    "markov": {"levels": [{"latent": 4, "units": 2}, {"latent": 2}]},
    "skip": {"levels": [{"latent": 2, "units": 2}, {"latent": 2, "units": 1}, {"latent": 2}], "skip": True},
    "learned": {"levels": [{"latent": 3}, {"latent": 3}], "prior_variance": "learned"},
}


OBJECTIVES = [Objective(0.3), Objective(1.0, 0.4), Objective(0.5, 0.2)]
IWAE = Objective(importance_weighted=True)


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "two": {"channels": [2, 3], "hidden": [5]},
    "small": {"channels": [3], "kernel": 2, "hidden": [6, 6], "connection": "highway", "activation": "tanh"},
    "unstrided": {"channels": [2, 2], "kernel": 3, "stride": 1, "hidden": [], "activation": "leaky_relu"},
}
CONVOLUTIONS = {name: {"kind": "convolution", **network} for name, network in CONVOLUTIONS.items()}
IMAGES = {"grey": (8, 4), "colour": (4, 4, 3)}


def make(
    likelihood: Any = "bernoulli",
    decoder: Any = None,
    model: Any = None,
    shape: tuple[int, ...] = (WIDTH,),
    **inference: Any,
) -> Model:
    """A small float64 model away from its initial values; all levels together have LATENT dimensions."""
    inference = {"method": "iterative", "iterations": 3, "encoder": {"hidden": [6, 8]}, **inference}
    if inference["method"] in ("hybrid", "semi_amortized"):
        start = {"method": "standard", "encoder": inference.pop("encoder")}
        inference = {**inference, "start": inference.get("start", start)}
    inference = {name: value for name, value in inference.items() if value is not None}
    model = model or {"levels": [{"latent": LATENT}]}
    levels = [{"decoder": decoder or {"hidden": [7, 6]}, **level} for level in model["levels"]]
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, **model, "levels": levels},
            "inference": inference,
        }
    )
    built = Model(config, math.prod(shape), torch.float64, shape=shape)
    for i, tensor in enumerate(built.parameters().values()):
        tensor += 0.2 * seeds.normal(tuple(tensor.shape), torch.float64, 7, i)
    return built


def rows(model: Model | None = None) -> Tensor:
    width = WIDTH if model is None else model.width
    x = torch.rand(ROWS, width, generator=seeds.generator(3), dtype=torch.float64)
    counts = model is not None and model.generative.likelihood.kind == "multinomial"
    return (6 * x).floor() if counts else x


def noise(t: int) -> Tensor:
    return seeds.normal((SAMPLES, ROWS, LATENT), torch.float64, 11, t)


def somewhere() -> Posterior:
    return Posterior(
        seeds.normal((ROWS, LATENT), torch.float64, 5), 0.5 * seeds.normal((ROWS, LATENT), torch.float64, 6)
    )


def elbo_sum(
    model: Model, theta: dict[str, Tensor], x: Tensor, mean: Tensor, log_var: Tensor, t: int
) -> Tensor:
    bound = model.generative.bound(TORCH, theta, x, Posterior(mean, log_var), noise(t), SAMPLES)
    return bound.elbo.sum()


@pytest.mark.parametrize("activation", ["elu", "relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("connection", ["sequential", "residual", "highway"])
@pytest.mark.parametrize("hidden", [[], [7], [6, 6]])
def test_gradient_of_q_equals_autograd(activation: str, connection: str, hidden: list[int]) -> None:
    model = make(decoder={"hidden": hidden, "activation": activation, "connection": connection})
    x, q = rows(), somewhere()
    signals = model.generative.signals(TORCH, model.theta.views, x, q, noise(0), SAMPLES, Wanted(True, False))
    leaves = [q.mean.clone().requires_grad_(), q.log_var.clone().requires_grad_()]
    expected = torch.autograd.grad(elbo_sum(model, model.theta.views, x, *leaves, t=0), leaves)
    assert signals.gradient is not None
    for got, want in zip(signals.gradient, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=NAMES)
def test_gradient_of_q_equals_finite_differences(likelihood: Any) -> None:
    model = make(likelihood)
    x, q, h = rows(model), somewhere(), 1e-6
    signals = model.generative.signals(TORCH, model.theta.views, x, q, noise(0), SAMPLES, Wanted(True, False))
    assert signals.gradient is not None
    for which, got in enumerate(signals.gradient):
        for row in range(ROWS):
            for dim in range(LATENT):
                step = torch.zeros(ROWS, LATENT, dtype=torch.float64)
                step[row, dim] = h
                up = [part + step if i == which else part for i, part in enumerate(q)]
                down = [part - step if i == which else part for i, part in enumerate(q)]
                difference = (
                    elbo_sum(model, model.theta.views, x, *up, t=0)
                    - elbo_sum(model, model.theta.views, x, *down, t=0)
                ) / (2 * h)
                assert abs(float(got[row, dim] - difference)) < 1e-7


def objective_sum(
    model: Model, theta: dict[str, Tensor], x: Tensor, mean: Tensor, log_var: Tensor, t: int, goal: Objective
) -> Tensor:
    """log p(x|z) - weight * sum over dimensions of max(KL, free bits), written out with torch.distributions."""
    generative, q = model.generative, Posterior(mean, log_var)
    descent = generative.hierarchy.descend(TORCH, theta, sample(TORCH, q, noise(t)), SAMPLES)
    if goal.importance_weighted:
        return importance_weighted_sum(model, theta, x, q, t, goal)
    total = generative.likelihood.log_likelihood(TORCH, theta, descent.out, x).mean(0).sum()
    for level, prior in zip(generative.levels(TORCH, q), descent.priors, strict=True):
        of_prior = Normal(0.0, 1.0) if prior is None else Normal(prior.mean, (prior.log_var / 2).exp())
        kl = kl_divergence(Normal(level.mean, (level.log_var / 2).exp()), of_prior)
        kl = kl if prior is None else kl.mean(0)
        total = total - goal.kl_weight * kl.clamp(min=goal.free_bits).sum()
    return total


def importance_weighted_sum(
    model: Model, theta: dict[str, Tensor], x: Tensor, q: Posterior, t: int, goal: Objective
) -> Tensor:
    """log (1/S) sum_s p(x|z_s) (p(z_s) / q(z_s))^weight, written out with torch.distributions."""
    generative, z = model.generative, sample(TORCH, q, noise(t))
    descent = generative.hierarchy.descend(TORCH, theta, z, SAMPLES)
    log_weight = generative.likelihood.log_likelihood(TORCH, theta, descent.out, x)
    for part, level, prior in zip(
        generative.hierarchy.split(TORCH, z), generative.levels(TORCH, q), descent.priors, strict=True
    ):
        of_prior = Normal(0.0, 1.0) if prior is None else Normal(prior.mean, (prior.log_var / 2).exp())
        ratio = of_prior.log_prob(part) - Normal(level.mean, (level.log_var / 2).exp()).log_prob(part)
        log_weight = log_weight + goal.kl_weight * ratio.sum(-1)
    return (torch.logsumexp(log_weight, 0) - math.log(SAMPLES)).sum()


def autograd_learn(
    model: Model, x: Tensor, goal: Objective = ELBO, count: int | None = None, weights: Any = None
) -> dict[str, Tensor]:
    """The same step by autograd alone: signals from gradients of the bound, phi from the mean over iterations."""
    method = model.method
    assert isinstance(method, Amortized)
    theta = {name: tensor.clone().requires_grad_() for name, tensor in model.theta.views.items()}
    learned = [shape.name for shape in model.phi.shapes if shape.learned]
    phi = {name: tensor.clone() for name, tensor in model.phi.views.items()}
    for name in learned:
        phi[name].requires_grad_()
    frozen = {name: tensor.detach() for name, tensor in theta.items()}
    q, total = start_of(model.generative, frozen, x, noise), torch.zeros((), dtype=torch.float64)
    count = count or method.iterations
    weights = weights or [1 / count] * count
    for t in range(count):
        leaves = [part.detach().clone().requires_grad_() for part in q]
        shown = goal._replace(importance_weighted=False)
        gradient = torch.autograd.grad(objective_sum(model, frozen, x, *leaves, t=t, goal=shown), leaves)
        fixed = Posterior(*(part.detach() for part in leaves))
        signals = model.generative.signals(
            TORCH, frozen, x, fixed, noise(t), SAMPLES, Wanted(False, method.wanted.error)
        )._replace(gradient=Posterior(*gradient) if method.wanted.gradient else None)
        q = method.update(TORCH, phi, method.constant(TORCH, phi, x), signals, method.first(fixed), t).q
        total = total + weights[t] * objective_sum(model, frozen, x, *q, t=t + 1, goal=goal)
    last = objective_sum(model, theta, x, *(part.detach() for part in q), t=count, goal=goal)
    grads = dict(zip(theta, torch.autograd.grad(last / ROWS, list(theta.values())), strict=True))
    mean = total / ROWS
    of_phi = torch.autograd.grad(mean, [phi[name] for name in learned])
    statistics = {name: torch.zeros_like(phi[name]) for name in phi if name not in learned}
    return grads | dict(zip(learned, of_phi, strict=True)) | statistics


def assert_learns_like_autograd(
    model: Model, goal: Objective = ELBO, count: int | None = None, weights: Any = None
) -> None:
    x = rows(model)
    bound = model.learn(x, noise, 1.0 / ROWS, goal, count)
    got = {**model.theta.grads, **model.phi.grads}
    expected = autograd_learn(model, x, goal, count, weights)
    assert bool((bound.kl > 0).all()), "the bound is the ELBO whatever is learned"
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        rounding = 1e-12 * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(
            got[name], want, rtol=1e-8, atol=rounding, msg=lambda m, n=name: f"{n}: {m}"
        )
    unreached = {name for name, grad in got.items() if float(grad.abs().max()) == 0}
    statistics = {shape.name for shape in model.phi.shapes if not shape.learned}
    assert unreached == statistics, "parameters that nothing reaches, or statistics that a gradient reached"


@pytest.mark.parametrize("encode", ENCODINGS, ids="+".join)
@pytest.mark.parametrize("normalise", ["none", "layer", "log_sign"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=NAMES)
def test_step_of_every_encoding(likelihood: Any, normalise: str, encode: list[str]) -> None:
    assert_learns_like_autograd(make(likelihood, encode=encode, normalise=normalise))


@pytest.mark.parametrize("update", ["direct", "additive", "gated", "learned_sgd", "natural"])
@pytest.mark.parametrize("connection", ["sequential", "residual", "highway"])
@pytest.mark.parametrize("hidden", [[], [6], [6, 6], [6, 8]])
def test_step_of_every_update_and_connection(hidden: list[int], connection: str, update: str) -> None:
    network = {"hidden": hidden, "connection": connection}
    assert_learns_like_autograd(make(decoder=network, encoder=network, update=update))


@pytest.mark.parametrize("encode", [e for e in ENCODINGS if "data" in e], ids="+".join)
@pytest.mark.parametrize("update", ["direct", "gated", "natural"])
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_step_of_every_hierarchy(hierarchy: str, update: str, encode: list[str]) -> None:
    assert_learns_like_autograd(make(model=HIERARCHIES[hierarchy], encode=encode, update=update))


@pytest.mark.parametrize("likelihood", LIKELIHOODS[:-1], ids=NAMES[:-1])
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("network", CONVOLUTIONS)
def test_step_of_every_convolution(network: str, image: str, likelihood: Any) -> None:
    convolution, encode = CONVOLUTIONS[network], ["data", "gradient", "error", "estimate"]
    model = make(likelihood, convolution, shape=IMAGES[image], encoder=convolution, encode=encode)
    assert_learns_like_autograd(model)
    x, q = rows(model), somewhere()
    signals = model.generative.signals(TORCH, model.theta.views, x, q, noise(0), SAMPLES, Wanted(True, False))
    leaves = [part.clone().requires_grad_() for part in q]
    expected = torch.autograd.grad(elbo_sum(model, model.theta.views, x, *leaves, t=0), leaves)
    assert signals.gradient is not None
    for got, want in zip(signals.gradient, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "encode", [["data"], ["data", "gradient"], ["data", "error", "estimate"]], ids="+".join
)
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_step_of_convolutions_in_a_hierarchy(
    hierarchy: str, encode: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image, network = HIERARCHIES[hierarchy], IMAGES["colour"], CONVOLUTIONS["two"]
    levels = [{**level, "decoder": {"hidden": [7]}} for level in model["levels"]]
    levels[0]["decoder"] = network
    above = network if model.get("skip") else {"hidden": [6]}
    networks = {"encoders": [network] + [above] * (len(levels) - 1)}
    built = make(model={**model, "levels": levels}, shape=image, encode=encode, **networks)
    assert_learns_like_autograd(built)
    monkeypatch.setattr("closegap_core.inference.taped.BACKWARD_ROWS", 1)
    built = make(model={**model, "levels": levels}, shape=image, encode=encode, **networks)
    assert_learns_like_autograd(built)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("network", CONVOLUTIONS)
def test_a_row_under_convolutions_does_not_depend_on_its_batch(network: str, image: str) -> None:
    convolution = CONVOLUTIONS[network]
    assert_rows_are_independent(make(decoder=convolution, shape=IMAGES[image], encoder=convolution))


@pytest.mark.parametrize("hierarchy", ["single", *HIERARCHIES])
@pytest.mark.parametrize("goal", [*OBJECTIVES, IWAE, IWAE._replace(kl_weight=0.3)], ids=str)
def test_step_of_every_objective(goal: Objective, hierarchy: str) -> None:
    """KL warm-up and free bits, in signals and gradients; weighting by importance in gradients alone."""
    model = make(model=HIERARCHIES.get(hierarchy), encode=["data", "gradient", "error", "estimate"])
    assert_learns_like_autograd(model, goal)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("uniform", [1 / 3] * 3), ("linear", [1 / 6, 2 / 6, 3 / 6]), ("last", [0.0, 0.0, 1.0])],
)
def test_step_of_every_loss_weight(name: str, weights: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_learns_like_autograd(make(loss_weights=name), weights=weights)
    monkeypatch.setattr("closegap_core.inference.taped.BACKWARD_ROWS", 1)
    assert_learns_like_autograd(make(loss_weights=name), weights=weights)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_step_of_another_number_of_iterations(count: int) -> None:
    assert_learns_like_autograd(make(), count=count)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=NAMES)
@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_gradient_of_a_hierarchical_q_equals_autograd(hierarchy: str, likelihood: Any) -> None:
    model = make(likelihood, model=HIERARCHIES[hierarchy])
    x, q = rows(model), somewhere()
    signals = model.generative.signals(TORCH, model.theta.views, x, q, noise(0), SAMPLES, Wanted(True, False))
    leaves = [part.clone().requires_grad_() for part in q]
    expected = torch.autograd.grad(elbo_sum(model, model.theta.views, x, *leaves, t=0), leaves)
    assert signals.gradient is not None
    for got, want in zip(signals.gradient, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_elbo_of_a_hierarchy_is_the_mean_log_weight(hierarchy: str) -> None:
    """The closed-form KL against the sampled one, over many draws."""
    model = make(model=HIERARCHIES[hierarchy])
    x, q = rows(), somewhere()
    draws = seeds.normal((40_000, ROWS, LATENT), torch.float64, 2)
    bound = model.bound(x, q, draws).elbo
    weights = model.generative.log_weights(model.theta.views, x, q, draws)
    error = weights.std(0) / len(draws) ** 0.5
    assert bool(((weights.mean(0) - bound).abs() < 5 * error).all())


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_inference_starts_at_the_prior(hierarchy: str) -> None:
    model = make(model=HIERARCHIES[hierarchy])
    start = start_of(model.generative, model.theta.views, rows(), noise)
    top = model.generative.hierarchy.latents[-1]
    assert float(start.mean[:, -top:].abs().max()) == 0
    assert float(start.log_var[:, -top:].abs().max()) == 0
    z, prior = model.generative.hierarchy.ancestral(TORCH, model.theta.views, noise(0), SAMPLES)
    torch.testing.assert_close(start.mean, prior.mean.mean(0))
    descent = model.generative.hierarchy.descend(TORCH, model.theta.views, z, SAMPLES)
    assert descent.priors[0] is not None
    below = prior.mean[..., : model.generative.hierarchy.latents[0]]
    torch.testing.assert_close(below, descent.priors[0].mean, rtol=1e-12, atol=1e-12)


def test_step_of_the_standard_encoder_is_the_vae_gradient() -> None:
    model = _standard()
    x = rows()
    model.learn(x, noise, 1.0 / ROWS)
    params = {name: tensor.clone().requires_grad_() for name, tensor in model.parameters().items()}
    h = x - 0.5
    for i in range(2):
        weight = params[f"encoder.1.{i}.weight" if i else "encoder.1.0.weight_0"]
        h = torch.nn.functional.elu(h @ weight.T + params[f"encoder.1.{i}.bias"])
    mean, log_var = (h @ params["encoder.1.2.weight"].T + params["encoder.1.2.bias"]).chunk(2, -1)
    loss = elbo_sum(model, params, x, mean, log_var, t=1) / ROWS
    for name, want in zip(params, torch.autograd.grad(loss, list(params.values())), strict=True):
        got = {**model.theta.grads, **model.phi.grads}[name]
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def _standard() -> Model:
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": "bernoulli", "levels": [{"latent": LATENT, "decoder": {"hidden": [7]}}]},
            "inference": {"method": "standard", "encoder": {"hidden": [6, 8]}},
        }
    )
    return Model(config, WIDTH, torch.float64)


def test_memory_is_constant_in_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing the encoder's backward early gives the same gradient as one backward over all T B rows."""
    whole, flushed = make(iterations=5), make(iterations=5)
    whole.learn(rows(), noise, 1.0)
    monkeypatch.setattr("closegap_core.inference.taped.BACKWARD_ROWS", 2 * ROWS)
    flushed.learn(rows(), noise, 1.0)
    torch.testing.assert_close(flushed.phi.grad, whole.phi.grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("encode", ENCODINGS, ids="+".join)
@pytest.mark.parametrize("normalise", ["none", "layer", "log_sign"])
@pytest.mark.parametrize("likelihood", ["bernoulli", *LIKELIHOODS[3:]], ids=["bernoulli", *NAMES[3:]])
def test_a_row_does_not_depend_on_its_batch(likelihood: Any, encode: list[str], normalise: str) -> None:
    assert_rows_are_independent(make(likelihood, encode=encode, normalise=normalise))


def assert_rows_are_independent(model: Model) -> None:
    x = rows(model)
    shared = seeds.normal((SAMPLES, 1, LATENT), torch.float64, 1)
    together = model.infer(x, lambda t: shared)
    for row in range(ROWS):
        alone = model.infer(x[row : row + 1], lambda t: shared)
        for got, want in zip(alone, together, strict=True):
            rounding = 1e-11 * max(1.0, float(want[row].abs().max()))
            torch.testing.assert_close(got[0], want[row], rtol=1e-9, atol=rounding)


@pytest.mark.parametrize("goal", [ELBO, Objective(0.3)], ids=["elbo", "warm-up"])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "rmsprop", "adam", "natural"])
def test_a_semi_amortized_step_is_the_gradient_through_the_refinement(kind: str, goal: Objective) -> None:
    refiner = {"kind": kind, "learning_rate": 0.05}
    assert_is_the_gradient_of_the_end(make(method="semi_amortized", iterations=3, refiner=refiner), goal)


def test_a_semi_amortized_step_of_convolutions_is_the_gradient_through_the_refinement() -> None:
    network, refiner = CONVOLUTIONS["two"], {"kind": "momentum", "learning_rate": 0.05}
    model = make(
        method="semi_amortized",
        iterations=2,
        refiner=refiner,
        decoder=network,
        encoder=network,
        shape=IMAGES["colour"],
    )
    assert_is_the_gradient_of_the_end(model, ELBO)


def assert_is_the_gradient_of_the_end(model: Model, goal: Objective) -> None:
    """Central differences of the last iterate's ELBO in every direction that is tried, theta and phi alike."""
    x = rows(model)
    model.learn(x, noise, 1.0, goal)
    for i, flat in enumerate((model.theta, model.phi)):
        for trial in range(3):
            direction = seeds.normal(tuple(flat.data.shape), torch.float64, 31, i, trial)
            h, values = 1e-6, []
            for sign in (1.0, -1.0):
                flat.data.add_(direction, alpha=sign * h)
                bound = model.learn(x, noise, 0.0, goal)
                values.append(float((bound.log_likelihood - goal.kl_weight * bound.kl).sum()))
                flat.data.add_(direction, alpha=-sign * h)
            assert float(flat.grad @ direction) == pytest.approx(
                (values[0] - values[1]) / (2 * h), rel=2e-5, abs=1e-6
            )


def test_a_hybrid_step_teaches_the_encoder_at_its_own_output() -> None:
    hybrid = make(method="hybrid", iterations=4, refiner={"kind": "adam", "learning_rate": 0.05})
    standard = make(method="standard", iterations=None)
    for name, value in hybrid.parameters().items():
        standard.parameters()[name.removeprefix("start.")].copy_(value)
    x = rows()
    before = standard.learn(x, noise, 1.0 / ROWS).elbo
    after = hybrid.learn(x, noise, 1.0 / ROWS).elbo
    torch.testing.assert_close(hybrid.phi.grad, standard.phi.grad, rtol=1e-12, atol=1e-14)
    assert float((after - before).mean()) > 0
    assert not torch.allclose(hybrid.theta.grad, standard.theta.grad)
    # Where the encoder learns alone the refiner has nothing to do.
    with_theta = hybrid.phi.grad.clone()
    for flat in (hybrid.theta, hybrid.phi):
        flat.grad.zero_()
    asked: list[int] = []
    hybrid.learn(x, lambda t: asked.append(t) or noise(t), 1.0 / ROWS, alone=True)
    assert torch.equal(hybrid.phi.grad, with_theta)
    assert not hybrid.theta.grad.any()
    assert max(asked) == 1


@pytest.mark.parametrize("hierarchy", ["single", *HIERARCHIES])
@pytest.mark.parametrize("goal", [Objective(0.7, 0.3), IWAE, IWAE._replace(kl_weight=0.7)], ids=str)
def test_the_objective_is_what_is_written_out(goal: Objective, hierarchy: str) -> None:
    model, q = make(model=HIERARCHIES.get(hierarchy)), somewhere()
    bound = model.generative.bound(TORCH, model.theta.views, rows(), q, noise(0), SAMPLES, goal)
    expected = objective_sum(model, model.theta.views, rows(), *q, t=0, goal=goal)
    torch.testing.assert_close(bound.elbo.sum(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", ["svi", "hybrid", "semi_amortized"])
def test_a_refiner_follows_the_objective(method: str) -> None:
    model = make(
        method=method, iterations=5, refiner="adam", **({"encoder": None} if method == "svi" else {})
    )
    x = rows()
    assert float((model.learn(x, noise, 1.0, Objective(0.01)).kl - model.learn(x, noise, 1.0).kl).mean()) > 0


@pytest.mark.parametrize("method", ["standard", "iterative", "hybrid", "semi_amortized"])
def test_document_frequencies_are_not_learned(method: str) -> None:
    options: dict[str, Any] = {"iterations": None if method == "standard" else 2}
    model = make("multinomial", method=method, **options)
    model.learn(rows(model), noise, 1.0)
    assert float(model.phi.grads["encoder.idf"].abs().max()) == 0
    refined = method in ("hybrid", "semi_amortized")
    name = "start.encoder.1.1.weight" if refined else "encoder.1.1.weight"
    assert float(model.phi.grads[name].abs().max()) > 0


@pytest.mark.parametrize("count", [1, 3])
def test_online_steps_are_taken_where_the_encoder_then_stands(count: int) -> None:
    model, twin, x, rate = make(online=True), make(), rows(), 0.05
    start = model.phi.data.clone()

    def step() -> None:
        model.phi.data.add_(model.phi.grad, alpha=rate)
        model.phi.grad.zero_()

    model.learn(x, noise, 1.0 / ROWS, ELBO, count, step)
    method, q = twin.method, start_of(twin.generative, twin.theta.views, x, noise)
    assert isinstance(method, Amortized)
    for t in range(count):
        phi = {name: view.clone().requires_grad_() for name, view in twin.phi.views.items()}
        draw = noise(t)
        signals = twin.generative.signals(TORCH, twin.theta.views, x, q, draw, SAMPLES, method.wanted)
        reached = method.update(TORCH, phi, method.constant(TORCH, phi, x), signals, method.first(q), t).q
        total = elbo_sum(twin, twin.theta.views, x, *reached, t=t + 1) / ROWS
        for (_, leaf), view in zip(phi.items(), twin.phi.views.values(), strict=True):
            view.add_(torch.autograd.grad(total, leaf, retain_graph=True)[0], alpha=rate)
        q = Posterior(*(part.detach() for part in reached))
    torch.testing.assert_close(model.phi.data, twin.phi.data, rtol=1e-9, atol=1e-12)
    assert not torch.equal(model.phi.data, start)
    assert float(model.theta.grad.abs().max()) > 0
