"""What a reader of an evaluation looks at: rows, their reconstructions by iteration, draws from the prior."""

from __future__ import annotations

import numpy as np
import torch

from closegap_core import seeds
from closegap_core.measure.subject import Subject

PICTURED = 10
"""Rows whose reconstructions are kept."""
PRIOR_SAMPLES = 64


def pictures(subject: Subject) -> dict[str, np.ndarray]:
    """Originals (R, X), reconstructions by iteration (T + 1, R, X), prior samples (N, X), the shape of a row."""
    model, evaluation = subject.model, subject.evaluation
    latent, theta = model.generative.latent, model.theta.views
    most = min(PICTURED, subject.size(evaluation.part, evaluation.rows))
    batch = subject.batch(evaluation.part, range(most))
    walk = subject.posteriors(batch, subject.iterations)
    noise = seeds.normal((PRIOR_SAMPLES, latent), model.dtype, evaluation.seed, seeds.PRIOR)
    samples = model.generative.reconstruct(theta, model.generative.prior_draws(theta, noise))
    return {
        "originals": batch.x.numpy(),
        "reconstructions": torch.stack([model.generative.reconstruct(theta, q.mean) for q in walk]).numpy(),
        "prior_samples": samples.numpy(),
        "shape": np.asarray(subject.dataset.shape),
    }
