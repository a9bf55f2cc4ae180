"""The amortized auxiliary flow: its gradients against autograd, its bound against closed forms (float64)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.errors import ExportError
from closegap_core.export.recorded import recorded
from closegap_core.inference.flow import Flow, FlowPosterior
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.optimizer import adam
from closegap_core.posterior import Posterior, log_normal

ROWS, WIDTH, LATENT, LOG_VAR = 4, 6, 3, -0.5
IWAE = Objective(importance_weighted=True)
SMALL: dict[str, Any] = {"encoder": {"hidden": [9]}, "network": {"hidden": [8]}}
LEVELS: dict[str, Any] = {
    "single": {"levels": [{"latent": 3}]},
    "markov": {"levels": [{"latent": 2, "units": 1}, {"latent": 1}]},
    "learned": {"levels": [{"latent": 1}, {"latent": 2}], "prior_variance": "learned"},
}


def config(levels: str = "single", likelihood: Any = "bernoulli", **flow: Any) -> TrainConfig:
    named = [{"decoder": {"hidden": [7]}, **level} for level in LEVELS[levels]["levels"]]
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, **LEVELS[levels], "levels": named},
            "inference": {"method": "flow", **SMALL, **flow},
        }
    )


def make(levels: str = "single", likelihood: Any = "bernoulli", **flow: Any) -> Model:
    model = Model(config(levels, likelihood, **flow), WIDTH, torch.float64)
    for i, tensor in enumerate(model.parameters().values()):
        tensor += 0.2 * seeds.normal(tuple(tensor.shape), torch.float64, 7, i)
    return model


def rows(model: Model, count: int = ROWS) -> Tensor:
    x = torch.rand(count, WIDTH, generator=seeds.generator(3), dtype=torch.float64)
    return (6 * x).floor() if model.generative.likelihood.kind == "multinomial" else x


def noise(model: Model, draws: int, count: int = ROWS) -> Tensor:
    return seeds.normal((draws, count, model.noise_width), torch.float64, 11)


def method_of(model: Model) -> Flow:
    assert isinstance(model.method, Flow)
    return model.method


def written_out(
    model: Model, theta: dict[str, Tensor], phi: dict[str, Tensor], x: Tensor, draws: Tensor, goal: Objective
) -> Tensor:
    """The objective of all rows by torch.distributions and the determinants of one Jacobian a draw and row."""
    method, generative = method_of(model), model.generative
    base, features = method.encode(phi, x)
    drawn = method.draw(phi, base, features, draws)
    out = generative.hierarchy.descend(TORCH, theta, drawn.z, len(draws))
    log_weight = generative.likelihood.log_likelihood(TORCH, theta, out.out, x)
    log_prior = generative.log_joint(theta, x, drawn.z) - log_weight
    log_weight = log_weight + goal.kl_weight * (log_prior - drawn.log_ratio)
    if goal.importance_weighted:
        return (torch.logsumexp(log_weight, 0) - math.log(len(draws))).sum()
    return log_weight.mean(0).sum()


@pytest.mark.parametrize("goal", [ELBO, Objective(0.3), IWAE, IWAE._replace(kl_weight=0.4)], ids=str)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(
    "likelihood", ["bernoulli", "multinomial", {"kind": "gaussian", "variance": "dimension"}], ids=str
)
def test_a_step_is_the_gradient_of_the_bound(levels: str, likelihood: Any, goal: Objective) -> None:
    model = make(levels, likelihood, auxiliary=2, features=4)
    x, draws = rows(model), noise(model, 3)
    bound = model.learn(x, lambda t: draws, 0.5, goal)
    groups = [
        {name: view.clone().requires_grad_() for name, view in flat.views.items()}
        for flat in (model.theta, model.phi)
    ]
    total = 0.5 * written_out(model, groups[0], groups[1], x, draws, goal)
    learned = [shape.name for flat in (model.theta, model.phi) for shape in flat.shapes if shape.learned]
    leaves = {**groups[0], **groups[1]}
    expected = torch.autograd.grad(total, [leaves[name] for name in learned])
    got = {**model.theta.grads, **model.phi.grads}
    for name, want in zip(learned, expected, strict=True):
        torch.testing.assert_close(got[name], want, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")
        assert float(want.abs().max()) > 0, name
    elbo = written_out(model, groups[0], groups[1], x, draws, ELBO)
    torch.testing.assert_close(bound.elbo.sum(), elbo.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("couplings", [1, 2])
@pytest.mark.parametrize("auxiliary", [1, 3, 5])
def test_the_density_of_a_draw_is_that_of_the_noise_over_the_jacobian(auxiliary: int, couplings: int) -> None:
    """log q(z, v) = log N(noise) - log |d(z, v) / d noise|; r is evaluated at the v that the Jacobian sees."""
    model = make(auxiliary=auxiliary, couplings=couplings)
    method, phi, x = method_of(model), model.phi.views, rows(model)
    base, features = method.encode(phi, x)
    draws = noise(model, 1)
    found: dict[str, Tensor] = {}

    def moved(point: Tensor, row: int) -> Tensor:
        """(z, v) of one row, v caught where the reverse network's density is taken."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "closegap_core.inference.flow.log_normal",
                lambda v, mean, log_var: found.update(v=v, r=log_normal(v, mean, log_var)) or found["r"],
            )
            one = Posterior(base.mean[row : row + 1], base.log_var[row : row + 1])
            drawn = method.draw(phi, one, features[row : row + 1], point[None, None])
        found["ratio"] = drawn.log_ratio
        return torch.cat([drawn.z[0, 0], found["v"][0, 0]])

    for row in range(ROWS):
        jacobian = torch.autograd.functional.jacobian(lambda p, r=row: moved(p, r), draws[0, row])
        expected = Normal(0.0, 1.0).log_prob(draws[0, row]).sum() - torch.linalg.slogdet(jacobian).logabsdet
        log_q = found["ratio"].detach() + found["r"].detach()
        torch.testing.assert_close(log_q[0, 0], expected, rtol=1e-9, atol=1e-9)


class Known(NamedTuple):
    """A linear-Gaussian model whose best diagonal q is not exact, rows of it, and what is known in closed form."""

    model: Model
    x: Tensor
    log_evidence: Tensor
    approximation_gap: float


def known(count: int, **flow: Any) -> Known:
    likelihood = {"kind": "gaussian", "log_var": LOG_VAR}
    linear = {"data": {"source": "digits"}, "inference": {"method": "flow", **SMALL, **flow}}
    model = Model(
        TrainConfig.model_validate(
            {
                **linear,
                "model": {
                    "likelihood": likelihood,
                    "levels": [{"latent": LATENT, "decoder": {"hidden": []}}],
                },
            }
        ),
        WIDTH,
        torch.float64,
    )
    rotation = torch.linalg.qr(seeds.normal((LATENT, LATENT), torch.float64, 22)).Q
    weight = seeds.normal((WIDTH, LATENT), torch.float64, 21) @ rotation
    model.theta.views["decoder.1.0.weight"].copy_(weight)
    draws = seeds.normal((count, LATENT), torch.float64, 23)
    x = model.generative.simulate(model.theta.views, draws, seeds.generator(24))
    bias, variance = model.theta.views["decoder.1.0.bias"], math.exp(LOG_VAR)
    covariance = weight @ weight.T + variance * torch.eye(WIDTH, dtype=torch.float64)
    precision = torch.eye(LATENT, dtype=torch.float64) + weight.T @ weight / variance
    gap = float(0.5 * (precision.diagonal().log().sum() - torch.logdet(precision)))
    return Known(model, x, MultivariateNormal(bias, covariance).log_prob(x), gap)


def test_any_flow_weighs_its_draws_rightly() -> None:
    """exp(log weight) of a draw is an unbiased estimate of p(x) whatever the parameters."""
    model, x, evidence, _ = known(ROWS)
    # A wide q_0 around the posterior's mean that the flow moves only a little: the weights have a variance.
    for name, tensor in model.phi.views.items():
        tensor *= 0.3 if name.startswith("flow") else 1.0
    draws = 50_000
    q = model.infer(x, lambda t: noise(model, 1))
    assert isinstance(q, FlowPosterior)
    exact = torch.linalg.lstsq(
        torch.cat([model.theta.views["decoder.1.0.weight"], math.exp(LOG_VAR / 2) * torch.eye(LATENT)]),
        torch.cat([x.T, torch.zeros(LATENT, ROWS).double()]),
    ).solution.T
    wide = FlowPosterior(q, Posterior(exact, torch.full_like(exact, -0.3)), q.features)
    log_weights = model.log_weights(x, wide, noise(model, draws))
    bound = model.bound(x, wide, noise(model, draws))
    torch.testing.assert_close(bound.elbo, log_weights.mean(0), rtol=1e-10, atol=1e-10)
    weights = (log_weights - evidence).exp()
    error = weights.std(0) / math.sqrt(draws)
    print(f"p(x) from {draws} draws over the truth: {weights.mean(0).tolist()} +- {error.tolist()}")
    assert float(error.max()) < 0.1
    assert bool(((weights.mean(0) - 1).abs() < 4 * error).all())
    assert bool((bound.elbo < evidence).all())


def test_training_brings_its_bound_above_the_best_diagonal_gaussian() -> None:
    """The encoder, one linear map, begins at the exact mean and the best variances of the posterior."""
    model, x, evidence, gap = known(100, encoder={"hidden": []}, network={"hidden": [24]})
    weight = model.theta.views["decoder.1.0.weight"]
    precision = torch.eye(LATENT).double() + weight.T @ weight / math.exp(LOG_VAR)
    to_mean = torch.linalg.solve(precision, weight.T / math.exp(LOG_VAR))
    heads, bias = model.phi.views["encoder.0.weight_0"], model.phi.views["encoder.0.bias"]
    heads[: 2 * LATENT] = 0
    heads[:LATENT], bias[:LATENT] = to_mean, to_mean.sum(-1) * 0.5  # it sees x - 0.5
    bias[LATENT : 2 * LATENT] = -precision.diagonal().log()
    optimizer = adam(model.phi)
    for step in range(400):
        model.phi.grad.zero_()
        draws = seeds.normal((8, len(x), model.noise_width), torch.float64, 31, step)
        model.learn(x, lambda t, draws=draws: draws, 1 / len(x))
        optimizer.param_groups[0]["lr"] = 0.01 if step < 250 else 0.002
        optimizer.step()
    q = model.infer(x, lambda t: noise(model, 1, len(x)))
    elbo = model.bound(x, q, noise(model, 400, len(x))).elbo
    left = float((evidence - elbo).mean())
    print(f"the best diagonal Gaussian leaves {gap:.3f} nats, the amortized flow {left:.3f}")
    assert gap > 0.3
    assert 0 < left < 0.2 * gap


def test_as_a_diagonal_gaussian_it_has_the_moments_of_its_draws() -> None:
    model = make()
    x = rows(model)
    q = model.infer(x, lambda t: noise(model, 1))
    assert isinstance(q, FlowPosterior)
    z = method_of(model).draw(model.phi.views, q.base, q.features, noise(model, 20_000)).z
    sigma = z.std(0)
    assert float(((q.mean - z.mean(0)) / sigma).abs().max()) < 0.5
    assert float((q.log_var - 2 * sigma.log()).abs().max()) < 1.0
    # And a diagonal Gaussian under the same model is measured as one.
    plain = Posterior(q.mean, q.log_var)
    draws = noise(model, 5)
    expected = model.generative.bound(TORCH, model.theta.views, x, plain, draws[..., :LATENT], 5)
    torch.testing.assert_close(model.bound(x, plain, draws).elbo, expected.elbo, rtol=1e-12, atol=0)
    assert not torch.allclose(model.bound(x, q, draws).elbo, expected.elbo)


def test_a_row_does_not_depend_on_its_batch() -> None:
    model = make(likelihood="gaussian")
    x, draws = rows(model), noise(model, 3)
    whole = model.infer(x, lambda t: draws)
    bounds = model.bound(x, whole, draws).elbo
    for row in range(ROWS):
        alone = model.infer(x[row : row + 1], lambda t: draws)
        for part, parts in zip(alone, whole, strict=True):
            torch.testing.assert_close(part[0], parts[row], rtol=1e-12, atol=1e-12)
        bound = model.bound(x[row : row + 1], alone, draws[:, row : row + 1]).elbo
        torch.testing.assert_close(bound[0], bounds[row], rtol=1e-12, atol=1e-12)


def test_it_starts_at_the_prior_and_stays_after_one_pass() -> None:
    model = make("markov")
    x, draws = rows(model), noise(model, 3)
    start, first, second = model.posteriors(x, lambda t: draws, 2)
    assert not isinstance(start, FlowPosterior)
    assert not start.mean[:, 2:].any()
    assert second is first
    assert model.method.passes(1, 10) == 0


def test_it_survives_the_disk(tmp_path: Path) -> None:
    model = make(features=0)
    model.save(tmp_path / "weights.safetensors")
    again = Model.load(model.config, WIDTH, tmp_path / "weights.safetensors", torch.float64)
    x, draws = rows(model), noise(model, 3)
    here, there = (m.bound(x, m.infer(x, lambda t: draws), draws).elbo for m in (model, again))
    assert torch.equal(here, there)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ExportError, match="'flow' gives no diagonal Gaussian"):
        recorded(make())
    with pytest.raises(ValidationError, match=r"free_bits is 0\.1, but the KL of inference method flow"):
        TrainConfig.model_validate({**config().model_dump(), "training": {"free_bits": 0.1}})


@pytest.mark.parametrize("shape", [(8, 4), (4, 4, 3)])
def test_convolutions_encode_images(shape: tuple[int, ...]) -> None:
    network = {"kind": "convolution", "channels": [2, 3], "hidden": [5]}
    model = Model(config(encoder=network), math.prod(shape), torch.float64, shape=shape)
    x = torch.rand(ROWS, math.prod(shape), generator=seeds.generator(3), dtype=torch.float64)
    model.learn(x, lambda t: noise(model, 2), 1.0)
    assert all(float(grad.abs().max()) > 0 for grad in model.phi.grads.values())
