"""What changes while a model trains."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from closegap_core import curriculum
from closegap_core.config import TrainConfig
from closegap_core.objective import ELBO, Objective


def config(inference: Any = "standard", **training: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"source": "digits"},
            "model": {"likelihood": "bernoulli", "levels": [{"latent": 2}]},
            "inference": inference,
            "training": {"epochs": 20, **training},
        }
    )


def test_without_options_the_elbo_is_learned() -> None:
    assert curriculum.objective(config(), 0.0) == ELBO
    assert curriculum.iterations(config("iterative"), 3, 0.5) is None
    assert curriculum.iterations(config("svi"), 3, 0.5) is None


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 0.0), (1.0, 0.25), (2.5, 0.625), (4.0, 1.0), (9.0, 1.0)]
)
def test_the_kl_s_weight_rises_linearly(progress: float, weight: float) -> None:
    assert curriculum.objective(config(kl_warmup=4, free_bits=0.1), progress) == Objective(weight, 0.1)


def test_uniform_iterations_are_decided_by_the_step() -> None:
    settings = config({"method": "iterative", "iterations": 4, "iterations_drawn": "uniform"})
    drawn = [curriculum.iterations(settings, step, 0.0) for step in range(400)]
    assert drawn == [curriculum.iterations(settings, step, 7.0) for step in range(400)]
    assert all(70 < drawn.count(count) < 130 for count in (1, 2, 3, 4))


def test_growing_iterations_reach_the_last_at_half_time() -> None:
    settings = config({"method": "iterative", "iterations": 5, "iterations_drawn": "growing"})
    drawn = [curriculum.iterations(settings, 0, float(epoch)) for epoch in range(20)]
    assert drawn == [1, 1, 2, 2, 3, 3, 4, 4, *[5] * 12]


def test_steps_of_an_encoder_need_one() -> None:
    assert config(encoder_steps=3).training.encoder_steps == 3
    with pytest.raises(ValidationError, match="encoder_steps is 3, but inference method svi has no encoder"):
        config("svi", encoder_steps=3)


def test_rows_of_the_model_teach_an_encoder_that_learns_once_a_batch() -> None:
    assert config("hybrid", model_samples=0.5).training.model_samples == 0.5
    with pytest.raises(
        ValidationError, match=r"model_samples is 0\.5, but inference method svi has no encoder"
    ):
        config("svi", model_samples=0.5)
    with pytest.raises(ValidationError, match=r"model_samples is 0\.5, but the encoder's steps are online"):
        config({"method": "iterative", "online": True}, model_samples=0.5)
