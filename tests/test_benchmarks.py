"""The benchmark's own arithmetic: necessary FLOP, marks, and the table."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks import gpu, peers
from benchmarks.figure import Figure, Mark, table
from benchmarks.flops import encoding, importance_weights, training_step
from benchmarks.workload import CONFIGS, dataset
from closegap_core.config import TrainConfig
from closegap_core.group import SINGLE
from closegap_core.learner import Eager
from closegap_core.model import Model
from closegap_core.run import Run


def model(latent: int, width: int, **inference: Any) -> Model:
    encoder = {"hidden": [width, width], "connection": "highway"}
    return Model(
        TrainConfig.model_validate(
            {
                "data": {"source": "mnist-5k"},
                "model": {
                    "likelihood": "bernoulli",
                    "levels": [{"latent": latent, "decoder": {"hidden": [width, width]}}],
                },
                "inference": {"encoder": encoder, **inference},
            }
        ),
        784,
    )


def test_a_step_of_the_papers_mnist_model_needs_13_9_gflop() -> None:
    """By hand: decoder 64-512-512-784, encoder of 384 + 784 inputs in 3 then 2 blocks of 512, 4 heads of 64."""
    blocks = {"encode": ["data", "gradient", "estimate"], "normalise": "log_sign"}
    built = model(64, 512, method="iterative", iterations=5, samples=10, **blocks)
    decoder = 2 * 640 * (64 * 512 + 512 * 512 + 512 * 784)
    later = 2 * 512 * 512 + 512 * 256
    varying, data = 3 * 512 * 384 + later, 3 * 512 * 784
    expected = 13 * decoder + 2 * (2 * 64 * (data + 5 * varying)) + 2 * 5 * 64 * later
    assert training_step(built, 64) == expected
    assert expected == pytest.approx(13.9e9, rel=0.005)


def test_a_standard_step_needs_three_decoder_passes() -> None:
    built = model(8, 16, method="standard", samples=2)
    decoder = 2 * 20 * (8 * 16 + 16 * 16 + 16 * 784)
    later = 2 * 16 * 16 + 16 * 16
    assert training_step(built, 10) == 3 * decoder + 2 * (2 * 10 * (3 * 16 * 784 + later)) + 2 * 10 * later


def test_an_encoding_counts_samples_and_the_final_bound() -> None:
    built = model(8, 16, method="iterative", encode=["gradient"], iterations=3)
    decoder = 8 * 16 + 16 * 16 + 16 * 784
    encoder = 3 * (3 * 16 * 16 + 2 * 16 * 16 + 16 * 32)
    assert encoding(built, iterations=3, samples=2, elbo_samples=16) == 2 * (
        (3 * 2 * 2 + 16) * decoder + encoder
    )


def test_a_step_of_two_levels_counts_ancestral_draws_and_what_comes_up() -> None:
    """By hand: decoders 8-16-16-784 and 4-12-12-16; the encoder above sees 8 gradients and 8 means from below."""
    levels = [{"latent": z, "decoder": {"hidden": [width] * 2}} for z, width in ((8, 16), (4, 12))]
    encoders = [{"hidden": [width] * 2, "connection": "highway"} for width in (16, 12)]
    inference = {"method": "iterative", "encode": ["data", "gradient"], "iterations": 3, "samples": 2}
    built = Model(
        TrainConfig.model_validate(
            {
                "data": {"source": "mnist-5k"},
                "model": {"likelihood": "bernoulli", "levels": levels},
                "inference": {**inference, "encoders": encoders},
            }
        ),
        784,
    )
    above = 4 * 12 + 12 * 12 + 12 * 16
    decoder = 8 * 16 + 16 * 16 + 16 * 784 + above
    later = 2 * 16 * 16 + 16 * 32 + 2 * 12 * 12 + 12 * 16
    data, other = 3 * 16 * 784, 3 * 16 * 16 + 3 * 12 * 16 + later
    assert training_step(built, 10) == 2 * 2 * 10 * (9 * decoder + above) + 2 * (
        2 * 10 * (data + 3 * other)
    ) + 2 * 3 * 10 * (later + 3 * 12 * 8)


def test_importance_weights_need_one_decoder_pass_a_sample() -> None:
    assert importance_weights(model(8, 16, method="standard"), 3, 5) == 2 * 15 * (8 * 16 + 16 * 16 + 16 * 784)


@pytest.mark.parametrize(
    ("mark", "passed"),
    [
        (None, None),
        (Mark("share", "≥", 0.45), True),
        (Mark("share", "≥", 0.51), False),
        (Mark("value", "<", 10.0), True),
        (Mark("value", "<", 5.0), False),
    ],
)
def test_marks_judge_value_or_share(mark: Mark | None, passed: bool | None) -> None:
    figure = Figure("submit", 5.0, "ms", 2.5, "one durable write", 0.5, mark)
    assert figure.passed is passed
    assert figure.to_dict()["passed"] is passed
    verdict = {None: "50%", True: "pass", False: "MISSED"}[passed]
    assert table([figure]).endswith(verdict)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_on_one_and_that_is_said() -> None:
    assert list(gpu.figures(1)) == []
    assert gpu.absent() == "training steps on a GPU: not measured, for there is no GPU here"


def test_both_ways_of_a_step_are_measured() -> None:
    """On this machine's CPU, where they are the same."""
    config = CONFIGS["demo"]
    runs = [Run(Model(config, 784), dataset(config.data), SINGLE, learner=Eager) for _ in range(2)]
    fast, drawn = gpu.measured("step", *runs, rounds=1, steps=2)
    assert (fast.name, drawn.name) == ("step, captured", "step, inputs drawn by the host")
    assert min(fast.value, drawn.value) > 0  # which is larger is for `make bench` to say
    assert fast.share == pytest.approx(fast.value / fast.limit)
    assert [run.step for run in runs] == [5, 5]


def test_queues_are_measured_side_by_side_and_say_what_they_do() -> None:
    """On one store; which is faster is for `make bench` to say."""
    found = list(peers.figures(jobs=5))
    assert peers.absent() is None
    assert [figure.name for figure in found if figure.note] == [
        f"{verb} one job, {name}, p50" for verb in ("put", "take") for name in ("closegap", "RQ", "Dramatiq")
    ]
    assert all(figure.value > 0 and figure.mark is None for figure in found)
    assert len({figure.limit for figure in found}) == 1
    assert table(found).endswith(f"{found[-2].name}: {found[-2].note}")
