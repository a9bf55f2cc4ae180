"""What a CPU computes in single precision, by packed weights and faster kernels, against the same in double."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.bounds import iwae_bound
from closegap_core.config import TrainConfig
from closegap_core.kernels import Packed
from closegap_core.model import Model
from closegap_core.posterior import Posterior

WIDTH, LATENT, ROWS, SAMPLES = 40, 6, 8, 4
MODELS: dict[str, dict[str, Any]] = {
    "one level": {"levels": [{"latent": 6, "decoder": {"hidden": [24, 16]}}]},
    "two levels": {"levels": [{"latent": 4, "units": 3, "decoder": {"hidden": [24]}}, {"latent": 2}]},
}
LIKELIHOODS = ["bernoulli", {"kind": "dequantised", "variance": "predicted"}]


@pytest.fixture(autouse=True)
def every_matrix_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closegap_core.kernels.PACKED_SIZE", 1)


def pair(name: str, likelihood: Any) -> tuple[Model, Model]:
    """The same model in single and in double precision."""
    config = TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": likelihood, **MODELS[name]},
            "inference": {"method": "iterative", "iterations": 5, "encoder": {"hidden": [16]}},
        }
    )
    double = Model(config, WIDTH, torch.float64)
    for i, tensor in enumerate(double.parameters().values()):
        tensor += 0.2 * seeds.normal(tuple(tensor.shape), torch.float64, 7, i)
    single = Model(config, WIDTH, torch.float32)
    single.theta.data.copy_(double.theta.data)
    single.phi.data.copy_(double.phi.data)
    return single, double


def rows() -> Tensor:
    return torch.rand(ROWS, WIDTH, generator=seeds.generator(3), dtype=torch.float64)


def noise(t: int) -> Tensor:
    return seeds.normal((SAMPLES, ROWS, LATENT), torch.float64, 11, t)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=["bernoulli", "dequantised"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_learns_as_in_double_precision(name: str, likelihood: Any) -> None:
    single, double = pair(name, likelihood)
    got = single.learn(rows().float(), lambda t: noise(t).float(), 1.0 / ROWS)
    want = double.learn(rows(), noise, 1.0 / ROWS)
    torch.testing.assert_close(got.elbo.double(), want.elbo, rtol=1e-4, atol=1e-4)
    for mine, theirs in ((single.theta.grad, double.theta.grad), (single.phi.grad, double.phi.grad)):
        assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=["bernoulli", "dequantised"])
@pytest.mark.parametrize("name", MODELS)
def test_a_bound_is_that_of_double_precision(name: str, likelihood: Any) -> None:
    single, double = pair(name, likelihood)
    assert any(isinstance(value, Packed) for value in single.packed()._decoder.values())
    mean, log_var = (0.5 * seeds.normal((ROWS, LATENT), torch.float64, i) for i in (5, 6))
    got = iwae_bound(
        single,
        rows().float(),
        Posterior(mean.float(), log_var.float()),
        500,
        lambda first, count: seeds.normal((count, ROWS, LATENT), torch.float64, 13, first).float(),
    )
    want = iwae_bound(
        double,
        rows(),
        Posterior(mean, log_var),
        500,
        lambda first, count: seeds.normal((count, ROWS, LATENT), torch.float64, 13, first),
    )
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
