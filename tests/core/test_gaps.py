"""The gap report on linear-Gaussian models, where log p(x), L[q*] and all three gaps are known (float64)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import AisConfig, GapConfig, TrainConfig
from closegap_core.measure.evaluate import carry_out
from closegap_core.measure.gaps import Gaps, certificate_of, gap_report, gap_stages
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.optimum import Optimum
from closegap_core.measure.subject import Portion
from closegap_core.model import Model
from closegap_core.posterior import Posterior
from closegap_core.validation import Batch

ROWS = 8
SHORT = {"optimal_elbo": 1, "approximation_gap": -1, "amortization_gap": 1}
"""Figures that are wrong by what q* lacks, and in which direction."""


def linear(width: int, latent: int, log_var: float) -> Model:
    """A full rotation mixes the latents, so that the best diagonal q is not the posterior."""
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {
                "likelihood": {"kind": "gaussian", "log_var": log_var},
                "levels": [{"latent": latent, "decoder": {"hidden": []}}],
            },
            "inference": {"method": "standard", "encoder": {"hidden": []}},
        }
    )
    model = Model(config, width, torch.float64)
    weight = seeds.normal((width, latent), torch.float64, 21)
    rotation = torch.linalg.qr(seeds.normal((latent, latent), torch.float64, 22)).Q
    model.theta.views["decoder.1.0.weight"].copy_(weight @ rotation)
    return model


def truth(model: Model, x: Tensor, q: Posterior) -> dict[str, Tensor]:
    """log p(x), L[q*] and L[q] of each row in closed form."""
    weight, bias = model.theta.views["decoder.1.0.weight"], model.theta.views["decoder.1.0.bias"]
    log_var = float(model.theta.views["likelihood.log_var"])
    variance, (width, latent) = math.exp(log_var), weight.shape
    covariance = weight @ weight.T + variance * torch.eye(width, dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    precision = torch.eye(latent, dtype=torch.float64) + weight.T @ weight / variance
    mean = torch.linalg.solve(precision, weight.T @ (x - bias).T / variance).T
    # KL(q || posterior) for a diagonal q.
    spread = q.log_var.exp()
    apart = q.mean - mean
    kl = 0.5 * (
        (spread * precision.diagonal()).sum(-1)
        + ((apart @ precision) * apart).sum(-1)
        - latent
        - torch.logdet(precision)
        - q.log_var.sum(-1)
    )
    approximation = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    return {"log_evidence": evidence, "optimal_elbo": evidence - approximation, "elbo": evidence - kl}


def near(model: Model, x: Tensor) -> Posterior:
    """A q as an encoder might give it: means and variances off by a little."""
    weight, bias = model.theta.views["decoder.1.0.weight"], model.theta.views["decoder.1.0.bias"]
    variance = float(model.theta.views["likelihood.log_var"].exp())
    precision = torch.eye(weight.shape[1], dtype=torch.float64) + weight.T @ weight / variance
    mean = torch.linalg.solve(precision, weight.T @ (x - bias).T / variance).T
    return Posterior(
        mean + 0.2 * seeds.normal(tuple(mean.shape), torch.float64, 25), torch.full_like(mean, -2.5)
    )


def portion(model: Model, x: Tensor, q: Posterior) -> Portion:
    def some(rows: range) -> Batch:
        return Batch(rows.start, x[rows.start : rows.stop])

    def infer(batch: Batch) -> Posterior:
        rows = slice(batch.first, batch.first + len(batch.x))
        return Posterior(q.mean[rows], q.log_var[rows])

    return Portion(model, "test", len(x), some, infer, 4)


def report(model: Model, x: Tensor, q: Posterior, config: GapConfig, folder: Path) -> dict[str, Any]:
    rows, ledger = portion(model, x, q), Ledger(folder, {})
    certificate = certificate_of(model, config, 4)
    stages = [Optimum(rows, config.optimum), *gap_stages(rows, config)]
    events = list(carry_out([*stages, *([certificate] if certificate else [])], ledger))
    assert events[-1].done == events[-1].total
    assert [event.done for event in events] == sorted(event.done for event in events)
    found = Gaps.read(ledger, "test", config, richer=False)
    return gap_report(ledger, "test", found, certificate.summary(ledger) if certificate else None)


@pytest.mark.parametrize(
    ("width", "latent", "log_var"), [(6, 3, -0.5), (8, 4, -0.7), (12, 5, -1.0), (16, 8, 0.0)]
)
def test_the_report_agrees_with_the_closed_form(
    width: int, latent: int, log_var: float, tmp_path: Path
) -> None:
    model = linear(width, latent, log_var)
    x = model.generative.simulate(
        model.theta.views, seeds.normal((ROWS, latent), torch.float64, 23), seeds.generator(24)
    )
    q = near(model, x)
    config = GapConfig(
        elbo_samples=10_000,
        importance_samples=20_000,
        ais=AisConfig(chains=48, temperatures=1200, leapfrogs=5),
        certificate_rows=8,
    )
    found, known = report(model, x, q, config, tmp_path), truth(model, x, q)
    expected = {name: float(value.mean()) for name, value in known.items()}
    expected["approximation_gap"] = expected["log_evidence"] - expected["optimal_elbo"]
    expected["amortization_gap"] = expected["optimal_elbo"] - expected["elbo"]
    expected["inference_gap"] = expected["log_evidence"] - expected["elbo"]
    assert expected["approximation_gap"] > 0.05, "the best diagonal q should not be exact here"
    for name, value in expected.items():
        error = found[name]["estimator_error"]
        assert error < 0.05, name
        # Where Adam's q* stops short, the report says by how much.
        short = found["optimal_elbo"]["shortfall"]["value"] if name in SHORT else 0.0
        assert abs(found[name]["value"] + SHORT.get(name, 0) * short - value) < 4 * error, name
        assert abs(found[name]["value"] - value) < 0.05, name
    certificate = found["certificate"]
    assert (
        certificate["lower"]["value"]
        < certificate["upper"]["value"] + 4 * certificate["width"]["estimator_error"]
    )
    assert abs(certificate["width"]["value"]) < 0.1
    assert found["optimal_elbo"]["converged"]
    assert not any("certif" in said for said in found["verdict"])


def test_a_short_optimisation_is_said_not_to_have_converged(tmp_path: Path) -> None:
    model = linear(8, 4, -0.7)
    x = seeds.normal((ROWS, 8), torch.float64, 1)
    q = Posterior(torch.zeros(ROWS, 4, dtype=torch.float64), torch.zeros(ROWS, 4, dtype=torch.float64))
    config = GapConfig(ais=None, elbo_samples=100, importance_samples=100, optimum={"max_steps": 100})
    found = report(model, x, q, config, tmp_path)
    assert not found["optimal_elbo"]["converged"]
    assert any("not converged" in said for said in found["verdict"])
    assert any("no certificate" in said for said in found["verdict"])
    assert found["certificate"] is None
