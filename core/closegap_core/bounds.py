"""Bounds of log p(x): the ELBO by iteration and the importance-weighted bound, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from closegap_core.model import Model
from closegap_core.posterior import Posterior

CHUNK_ROWS = 2560
"""Decoder rows (S B) of one pass; larger ones only cost memory."""


@torch.no_grad()
def iwae_bound(
    model: Model, x: Tensor, q: Posterior, samples: int, noise: Callable[[int, int], Tensor]
) -> Tensor:
    """log (1/K) sum_k p(x, z_k) / q(z_k|x) for z_k ~ q, K = samples: (B,), nats (Burda et al. 2016, eq. 8).

    Streams over chunks of samples with a running log-sum-exp. `noise(first, count)` gives the draws
    (count, B, noise_width) of samples first, first + 1, …
    """
    model = model.packed()
    chunk = max(1, CHUNK_ROWS // x.shape[0])
    total = torch.full((x.shape[0],), -math.inf, dtype=x.dtype)
    for first in range(0, samples, chunk):
        draws = noise(first, min(chunk, samples - first))
        log_weights = model.log_weights(x, q, draws)
        total = torch.logaddexp(total, torch.logsumexp(log_weights, 0))
    return total - math.log(samples)
