"""What changes while a model trains, as functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import torch

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.objective import Objective


def objective(config: TrainConfig, progress: float) -> Objective:
    """What this step maximises; progress: epochs done, fractions included. KL's weight rises linearly from 0."""
    training = config.training
    weight = min(1.0, progress / training.kl_warmup) if training.kl_warmup else 1.0
    return Objective(weight, training.free_bits, training.objective == "iwae")


def iterations(config: TrainConfig, step: int, progress: float) -> int | None:
    """Inference iterations of this step, None where the method always makes as many as configured.

    `uniform`: drawn from 1 … T, the same by all ranks; `growing`: from 1 to T over the first half of the epochs.
    """
    inference = config.inference
    if inference.method != "iterative" or inference.iterations_drawn == "fixed":
        return None
    most = inference.iterations
    if inference.iterations_drawn == "uniform":
        generator = seeds.generator(config.training.seed, seeds.ITERATIONS, step)
        return int(torch.randint(1, most + 1, (), generator=generator))
    return min(most, 1 + int(most * progress / (0.5 * config.training.epochs)))


def online(config: TrainConfig) -> bool:
    """Whether the encoder makes an optimizer step after each iteration."""
    return config.inference.method == "iterative" and config.inference.online
