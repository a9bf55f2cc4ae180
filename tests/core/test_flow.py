"""The local auxiliary flow on linear-Gaussian models whose best diagonal q is not the posterior (float64)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import FlowConfig, GapConfig, OptimumConfig, TrainConfig
from closegap_core.errors import NumericalError
from closegap_core.flow import AuxiliaryFlow, best_flow, pairs
from closegap_core.measure.estimators import Estimates, elbo, flow_bound
from closegap_core.measure.evaluate import carry_out
from closegap_core.measure.gaps import Gaps, gap_report, gap_stages
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.optimum import Optimum, optimum
from closegap_core.measure.stage import outcome
from closegap_core.measure.subject import Portion
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.validation import Batch

ROWS, WIDTH, LATENT, LOG_VAR = 4, 6, 3, -0.5
SMALL = FlowConfig(hidden=8, couplings=1)
QUICK = SMALL.model_copy(update={"optimum": OptimumConfig(learning_rates=(0.02, 0.005), samples=16)})
SHORT = SMALL.model_copy(update={"optimum": OptimumConfig(max_steps=50, samples=4)})
WORDS = (7, 7)


class Known(NamedTuple):
    """A model, rows of it, their best diagonal q, and what is known in closed form."""

    model: Model
    x: Tensor
    best: Posterior
    log_evidence: Tensor
    precision: Tensor

    @property
    def gap(self) -> float:
        """log p(x) - L[q*], the same for every row."""
        return float(0.5 * (self.precision.diagonal().log().sum() - torch.logdet(self.precision)))


@pytest.fixture(scope="module")
def known() -> Known:
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {
                "likelihood": {"kind": "gaussian", "log_var": LOG_VAR},
                "levels": [{"latent": LATENT, "decoder": {"hidden": []}}],
            },
            "inference": {"method": "standard", "encoder": {"hidden": []}},
        }
    )
    model = Model(config, WIDTH, torch.float64)
    rotation = torch.linalg.qr(seeds.normal((LATENT, LATENT), torch.float64, 22)).Q
    weight = seeds.normal((WIDTH, LATENT), torch.float64, 21) @ rotation
    model.theta.views["decoder.1.0.weight"].copy_(weight)
    draws = seeds.normal((ROWS, LATENT), torch.float64, 23)
    x = model.generative.simulate(model.theta.views, draws, seeds.generator(24))
    bias, variance = model.theta.views["decoder.1.0.bias"], math.exp(LOG_VAR)
    covariance = weight @ weight.T + variance * torch.eye(WIDTH, dtype=torch.float64)
    precision = torch.eye(LATENT, dtype=torch.float64) + weight.T @ weight / variance
    mean = torch.linalg.solve(precision, weight.T @ (x - bias).T / variance).T
    best = Posterior(mean, -precision.diagonal().log().expand(ROWS, LATENT))
    evidence = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    return Known(model, x, best, evidence, precision)


def noise(flow: AuxiliaryFlow, draws: int, rows: int = ROWS) -> Tensor:
    return seeds.normal((draws, rows, flow.auxiliary + flow.latent), torch.float64, 31)


def perturbed(flow: AuxiliaryFlow, size: float) -> Tensor:
    values = flow.start(ROWS, torch.float64, 1)
    return values + size * seeds.normal(tuple(values.shape), torch.float64, 32)


def within(found: Estimates, bound: Tensor, errors: float = 4.0) -> bool:
    """Whether every row is at most `bound`, up to so many errors of its estimate."""
    value, variance = (torch.from_numpy(part) for part in found)
    return bool((value <= bound + errors * variance.sqrt()).all())


@pytest.mark.parametrize(("couplings", "auxiliary"), [(1, None), (2, None), (3, 2), (2, 5)])
def test_log_determinants_are_those_of_the_jacobian(couplings: int, auxiliary: int | None) -> None:
    flow = AuxiliaryFlow(LATENT, FlowConfig(hidden=7, couplings=couplings, auxiliary=auxiliary))
    values = perturbed(flow, 0.2)
    joint = noise(flow, 1)[0][:, None]
    v, u = joint.split([flow.auxiliary, flow.latent], -1)
    _, _, log_det = flow.transform(values, u, v)
    for row in range(ROWS):

        def moved(point: Tensor, row: int = row) -> Tensor:
            parts = point.split([flow.latent, flow.auxiliary])
            u, v, _ = flow.transform(values[row : row + 1], *(part[None, None] for part in parts))
            return torch.cat([u, v], -1).flatten()

        jacobian = torch.autograd.functional.jacobian(moved, torch.cat([u[row, 0], v[row, 0]]))
        expected = torch.linalg.slogdet(jacobian)
        assert float(expected.sign) == 1.0
        assert abs(float(expected.logabsdet)) > 0.1, "a map that keeps volumes would show nothing"
        torch.testing.assert_close(log_det[row, 0], expected.logabsdet, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("auxiliary", [None, 2, 5])
def test_the_start_is_the_best_diagonal_gaussian(known: Known, auxiliary: int | None) -> None:
    flow = AuxiliaryFlow(LATENT, SMALL.model_copy(update={"auxiliary": auxiliary}))
    values, draws = flow.start(ROWS, torch.float64, 1), noise(flow, 50)
    joint = flow.draw(values, known.best, draws)
    # The couplings move nothing, and given z the rest of the bound, log r(v|z) - log q(z, v), is -log q*(z) exactly.
    bound = flow.bound(known.model, values, known.best, known.x, draws)
    sigma = (known.best.log_var * 0.5).exp()
    density = torch.distributions.Normal(known.best.mean, sigma).log_prob(joint.z).sum(-1)
    log_joint = known.model.generative.log_joint(known.model.theta.views, known.x, joint.z)
    torch.testing.assert_close(bound, log_joint - density, rtol=1e-10, atol=1e-10)
    # And z is distributed as q* is.
    many = flow.draw(values, known.best, noise(flow, 20_000)).u
    assert float(many.mean(0).abs().max()) < 5 / math.sqrt(20_000)
    torch.testing.assert_close(many.var(0), torch.ones(ROWS, LATENT).double(), rtol=0, atol=0.06)
    found = pairs(known.model, flow, values, known.best, known.x, 4000, WORDS, shared=False)
    error = (found.var(0) / len(found)).sqrt()
    assert bool(((found.mean(0) - (known.log_evidence - known.gap)).abs() < 4 * error).all())


def test_every_draw_of_the_exact_posterior_gives_the_log_evidence(known: Known) -> None:
    """u = A v + sqrt(d) e with A A' + d I the posterior's covariance and A's columns orthogonal: r is exact too."""
    flow = AuxiliaryFlow(LATENT, SMALL)
    sigma = (known.best.log_var[0] * 0.5).exp()
    covariance = torch.linalg.inv(known.precision) / sigma[:, None] / sigma
    eigenvalues, basis = torch.linalg.eigh(covariance)
    rest = 0.5 * float(eigenvalues.min())
    link = basis * (eigenvalues - rest).sqrt()
    own, down, up, *couplings = flow.start(ROWS, torch.float64, 1).split(flow.sizes, -1)
    down = heads(flow, down, link.T, torch.full((LATENT,), math.log(rest), dtype=torch.float64))
    up = heads(flow, up, link / eigenvalues, (rest / eigenvalues).log())
    values = torch.cat([own, down, up, *couplings], -1)
    bound = flow.bound(known.model, values, known.best, known.x, noise(flow, 20))
    torch.testing.assert_close(bound, known.log_evidence.expand(20, ROWS), rtol=1e-9, atol=1e-9)


def heads(flow: AuxiliaryFlow, values: Tensor, linear: Tensor, log_var: Tensor) -> Tensor:
    """A network's parameters with mean = h @ linear and a constant log-variance."""
    network = flow.networks[0]
    *hidden, out, constant = values.clone().split([a * b for a, b in network.shapes], -1)
    out = torch.zeros(ROWS, *network.shapes[2], dtype=torch.float64)
    out[:, network.hidden :, :LATENT] = linear
    constant = torch.cat([torch.zeros(LATENT).double(), log_var]).expand(ROWS, -1)
    return torch.cat([*hidden, out.flatten(1), constant], -1)


@pytest.mark.parametrize("auxiliary", [None, 2])
def test_any_flow_weighs_its_draws_rightly(known: Known, auxiliary: int | None) -> None:
    """exp(bound) of a draw is an unbiased estimate of p(x) whatever the parameters, so its mean's log is log p(x)."""
    flow = AuxiliaryFlow(LATENT, FlowConfig(hidden=8, auxiliary=auxiliary))
    values, draws = perturbed(flow, 0.05), 40_000
    wide = Posterior(
        known.best.mean, known.best.log_var + 1.5
    )  # a narrow q gives weights of infinite variance
    bound = flow.bound(known.model, values, wide, known.x, noise(flow, draws))
    assert bool((bound.mean(0) < known.log_evidence).all())
    weights = (bound - known.log_evidence).exp()
    error = weights.std(0) / math.sqrt(draws)
    assert float(error.max()) < 0.05
    assert bool(((weights.mean(0) - 1).abs() < 4 * error).all())


def test_the_flow_closes_most_of_the_approximation_gap(known: Known) -> None:
    config = FlowConfig(hidden=8, couplings=1)
    found = outcome(flow_bound(known.model, known.x, known.best, config, 4000, 3))
    assert found.converged.all()
    assert found.gained.all()
    assert math.sqrt(found.bound.variance.max()) < 0.02
    assert within(found.bound, known.log_evidence)
    left = float((known.log_evidence - torch.from_numpy(found.bound.value)).mean())
    print(f"approximation gap {known.gap:.3f} nats, the flow leaves {left:.3f}")
    assert known.gap > 0.3
    assert left < 0.1 * known.gap


def test_a_row_does_not_depend_on_its_batch(known: Known) -> None:
    config = SMALL.model_copy(
        update={"optimum": OptimumConfig(learning_rates=(0.005,), max_steps=100, samples=16)}
    )
    together = outcome(best_flow(known.model, known.x, known.best, config, 3)).values
    assert float((together - AuxiliaryFlow(LATENT, config).start(ROWS, torch.float64, 3)).abs().max()) > 0.05
    for row in range(ROWS):
        rows = slice(row, row + 1)
        base = Posterior(known.best.mean[rows], known.best.log_var[rows])
        alone = outcome(best_flow(known.model, known.x[rows], base, config, 3)).values
        torch.testing.assert_close(together[rows], alone, rtol=1e-8, atol=1e-8)


def test_a_row_that_gains_nothing_keeps_its_start(known: Known) -> None:
    """Steps far too large leave every row worse than it began."""
    config = SMALL.model_copy(
        update={"optimum": OptimumConfig(learning_rates=(1.0,), max_steps=50, samples=4)}
    )
    fitted = outcome(best_flow(known.model, known.x, known.best, config, 3))
    start = AuxiliaryFlow(LATENT, config).start(ROWS, torch.float64, 3)
    assert not bool(fitted.gained.any())
    assert torch.equal(fitted.values, start)
    assert not bool(fitted.converged.any())


def test_a_row_that_is_not_finite_is_named(known: Known) -> None:
    x = known.x.clone()
    x[2] = math.nan
    with pytest.raises(NumericalError, match="flow of row 2"):
        outcome(best_flow(known.model, x, known.best, SHORT, 3))


def test_several_levels_of_binary_data_start_at_their_elbo_and_gain() -> None:
    dtype = torch.float32
    levels = [{"latent": latent, "decoder": {"hidden": [6]}} for latent in (3, 2)]
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": "bernoulli", "levels": levels},
            "inference": {"method": "standard", "encoder": {"hidden": []}},
        }
    )
    model = Model(config, 12, dtype)
    for name, values in model.theta.views.items():
        if name.endswith("weight"):
            values.mul_(2.0)
    x = (seeds.normal((ROWS, 12), dtype, 41) > 0).to(dtype)
    zeros = torch.zeros(ROWS, 5, dtype=dtype)
    best, _ = outcome(optimum(model, x, Posterior(zeros, zeros), OptimumConfig(learning_rates=(0.05,)), 3))
    flow = AuxiliaryFlow(5, SMALL)
    start = pairs(model, flow, flow.start(ROWS, dtype, 3), best, x, 4000, WORDS, shared=False)
    known = elbo(model, x, best, 8000, 3)
    error = (start.var(0) / len(start) + torch.from_numpy(known.variance)).sqrt()
    assert bool(((start.mean(0) - torch.from_numpy(known.value)).abs() < 4 * error).all())
    found = outcome(flow_bound(model, x, best, QUICK, 4000, 3)).bound
    assert float((found.value - known.value).mean()) > 0
    # Twelve bits are few enough to average p(x|z) over the prior.
    likelihood, _ = model.generative.likelihood_gradient(
        model.theta.views, x, seeds.normal((50_000, ROWS, 5), dtype, 42)
    )
    likelihood = likelihood.double()
    weights = (likelihood - likelihood.amax(0)).exp()
    truth = likelihood.amax(0) + weights.mean(0).log()
    error = weights.std(0) / (weights.mean(0) * math.sqrt(len(weights)))
    assert float(error.max()) < 0.05
    assert within(found, truth + 4 * error)


def report(known: Known, q: Posterior, config: GapConfig, folder: Path) -> dict[str, Any]:
    """The gap report of a model whose amortized q is `q`."""

    def some(rows: range) -> Batch:
        return Batch(rows.start, known.x[rows.start : rows.stop])

    portion = Portion(known.model, "test", ROWS, some, lambda batch: q, 4)
    ledger = Ledger(folder, {})
    for _ in carry_out([Optimum(portion, config.optimum), *gap_stages(portion, config)], ledger):
        pass
    return gap_report(ledger, "test", Gaps.read(ledger, "test", config, richer=False), None)


def settings(flow: FlowConfig | None) -> GapConfig:
    optimum = OptimumConfig(learning_rates=(0.02,))
    return GapConfig(elbo_samples=2000, importance_samples=5000, ais=None, optimum=optimum, flow=flow)


def test_the_report_splits_the_approximation_gap(known: Known, tmp_path: Path) -> None:
    found = report(known, known.best, settings(QUICK), tmp_path)
    flow, gain, left = (found[name] for name in ("optimal_flow_elbo", "flow_gain", "flow_approximation_gap"))
    assert flow["converged"]
    assert flow["gained_rows"] == ROWS
    assert 0 < flow["estimator_error"] < 0.05
    assert flow["standard_error"] > flow["estimator_error"]
    assert gain["value"] > 0.7 * known.gap
    assert math.isclose(gain["value"] + left["value"], found["approximation_gap"]["value"], abs_tol=1e-9)
    truth = float(known.log_evidence.mean())
    assert flow["value"] < truth + 4 * flow["estimator_error"]
    assert any("auxiliary flow closes" in said for said in found["verdict"])


def test_a_short_ascent_of_the_flow_is_said_not_to_have_converged(known: Known, tmp_path: Path) -> None:
    found = report(known, known.best, settings(SHORT), tmp_path)
    assert not found["optimal_flow_elbo"]["converged"]
    assert any("flow had not converged" in said for said in found["verdict"])


def test_a_flow_above_log_p_is_said_to_be_one(known: Known, tmp_path: Path) -> None:
    """With two importance samples from a poor q* the estimate is far short of log p(x), and the flow stands above."""
    far = Posterior(known.best.mean + 1.5, known.best.log_var)
    stuck = OptimumConfig(learning_rates=(1e-6,), window=1, patience=1)
    config = settings(QUICK).model_copy(update={"importance_samples": 2, "optimum": stuck})
    found = report(known, far, config, tmp_path)
    assert found["flow_approximation_gap"]["value"] < 0
    assert any("flow's bound is above" in said for said in found["verdict"])


def test_without_a_flow_the_report_has_none(known: Known, tmp_path: Path) -> None:
    found = report(known, known.best, settings(None), tmp_path)
    assert found["optimal_flow_elbo"] is found["flow_gain"] is found["flow_approximation_gap"] is None
    assert not any("flow" in said for said in found["verdict"])
