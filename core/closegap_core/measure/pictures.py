"""What a reader of an evaluation looks at: rows, their reconstructions by iteration, draws from the prior."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import EvaluationConfig
from closegap_core.data import Dataset
from closegap_core.trained import Trained
from closegap_core.validation import Batch, Draws

PICTURED = 10
"""Rows whose reconstructions are kept."""
PRIOR_SAMPLES = 64


def pictures(
    trained: Trained, evaluation: EvaluationConfig, rows: Tensor, dataset: Dataset
) -> dict[str, np.ndarray]:
    """Originals (R, X), reconstructions by iteration (T + 1, R, X), prior samples (N, X), the shape of a row."""
    model, latent = trained.model, trained.model.generative.latent
    batch = Batch(0, rows[:PICTURED])
    words = (evaluation.seed, seeds.EVALUATION)
    draws = Draws(trained.config.inference.samples, model.noise_width, model.dtype, words)
    count = 1 if trained.config.inference.method == "standard" else evaluation.iterations
    walk = model.posteriors(batch.x, draws.inference(batch), count)
    theta = model.theta.views
    noise = seeds.normal((PRIOR_SAMPLES, latent), model.dtype, evaluation.seed, seeds.PRIOR)
    return {
        "originals": batch.x.numpy(),
        "reconstructions": torch.stack([model.generative.reconstruct(theta, q.mean) for q in walk]).numpy(),
        "prior_samples": model.generative.reconstruct(
            theta, model.generative.prior_draws(theta, noise)
        ).numpy(),
        "shape": np.asarray(dataset.shape),
    }
