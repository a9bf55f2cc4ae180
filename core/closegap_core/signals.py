"""What a pass of the decoder tells of q: the bound, its gradient, and prediction errors."""

from __future__ import annotations

from typing import NamedTuple

from closegap_core.ops import Value
from closegap_core.posterior import Posterior


class Wanted(NamedTuple):
    """Which signals an inference method encodes."""

    gradient: bool
    error: bool


class Error(NamedTuple):
    """Prediction errors, averaged over samples: of the data (B, X) and of the latents (B, Z)."""

    data: Value
    latent: Value


class Signals(NamedTuple):
    """What can be encoded: dL/d(mean, log_var) of each row's own ELBO, and the errors."""

    gradient: Posterior | None
    error: Error | None


class Bound(NamedTuple):
    """ELBO = log_likelihood - kl of each row, nats, (B,)."""

    log_likelihood: Value
    kl: Value

    @property
    def elbo(self) -> Value:
        return self.log_likelihood - self.kl
