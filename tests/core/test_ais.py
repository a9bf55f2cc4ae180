"""Annealed importance sampling against the closed form of linear-Gaussian models, in float64."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core.config import AisConfig, TrainConfig
from closegap_core.measure.ais import backward, estimate, forward, schedule, simulate, standard_error
from closegap_core.model import Model

WIDTH = 7


def linear(latent: int, log_var: float) -> Model:
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
    return Model(config, WIDTH, torch.float64)


def log_evidence(model: Model, x: Tensor) -> Tensor:
    weight, bias = model.theta.views["decoder.1.0.weight"], model.theta.views["decoder.1.0.bias"]
    variance = model.theta.views["likelihood.log_var"].exp()
    covariance = weight @ weight.T + variance * torch.eye(WIDTH, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)


def test_one_chain_has_no_error() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        AisConfig(chains=1)


@pytest.mark.parametrize("shape", ["linear", "sigmoid"])
def test_schedule_runs_from_zero_to_one(shape: str) -> None:
    betas = schedule(AisConfig(temperatures=50, schedule=shape))
    assert betas[0] == 0
    assert betas[-1] == 1
    assert bool((betas.diff() > 0).all())


@pytest.mark.parametrize(("latent", "log_var"), [(2, 0.0), (4, -1.0), (6, -2.0)])
def test_both_directions_meet_at_the_evidence(latent: int, log_var: float) -> None:
    model = linear(latent, log_var)
    z, x = simulate(model, 8, 3)
    settings = AisConfig(chains=32, temperatures=1200, leapfrogs=5)
    *_, up = forward(model, x, settings, 1)
    *_, down = backward(model, x, z, settings, 1)
    truth = log_evidence(model, x)
    for bound, walk in ((estimate(up), up), (-estimate(down), down)):
        error = standard_error(walk)
        assert float(error.mean()) < 0.06
        # The stated error covers the difference; a fifth standard error leaves room for the bias of short walks.
        assert bool(((bound - truth).abs() < 5 * error).all())
    mean_error = float(standard_error(up).square().mean().sqrt()) / len(truth) ** 0.5
    assert float((estimate(up) - truth).mean()) < 4 * mean_error
    assert float((-estimate(down) - truth).mean()) > -4 * mean_error


def test_more_temperatures_are_tighter() -> None:
    model = linear(4, -3.0)
    _, x = simulate(model, 64, 3)
    gaps = []
    for temperatures in (2, 20, 500):
        *_, walk = forward(model, x, AisConfig(chains=2, temperatures=temperatures, leapfrogs=5), 0)
        gaps.append(float((log_evidence(model, x) - estimate(walk)).mean()))
    assert gaps[0] > gaps[1] > gaps[2]
