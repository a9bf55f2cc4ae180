"""What training maximises; evaluation always measures the ELBO itself."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Objective(NamedTuple):
    """log-likelihood - kl_weight * sum over latent dimensions d of max(KL_d, free_bits), for each row by itself.

    kl_weight below 1 is warm-up (Sønderby et al. 2016); a tensor () where a recorded step reads it from the device.
    free_bits, in nats, leaves that much of each dimension's KL free (Kingma et al. 2016). They bound the mean over a
    batch; here each row is bounded by itself, on the analytic KL (below the top level its mean over the samples), so
    that no row depends on its batch, nor a step on the number of ranks that share it.

    importance_weighted: theta and phi learn from the importance-weighted bound of the S draws instead (Burda et al.
    2016), kl_weight on log p(z) - log q(z); signals that are encoded, and refiners, still follow the form above.
    """

    kl_weight: float | Tensor = 1.0
    free_bits: float = 0.0
    importance_weighted: bool = False

    @property
    def warming(self) -> bool:
        """Whether the KL has a weight of its own; asks no value of a device."""
        return isinstance(self.kl_weight, Tensor) or self.kl_weight != 1.0

    @property
    def plain(self) -> bool:
        """Whether it is the ELBO."""
        return not (self.warming or self.free_bits or self.importance_weighted)


ELBO = Objective()
