"""The family of likelihoods: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closegap_core.likelihoods.base import Likelihood
from closegap_core.likelihoods.bernoulli import Bernoulli
from closegap_core.likelihoods.dequantised import Dequantised
from closegap_core.likelihoods.gaussian import Gaussian
from closegap_core.likelihoods.multinomial import Multinomial

LIKELIHOODS: dict[str, Callable[[Any, int], Likelihood]] = {
    "bernoulli": lambda config, width: Bernoulli(),
    "gaussian": Gaussian,
    "dequantised": Dequantised,
    "multinomial": Multinomial,
}
"""From the configuration of a likelihood and X."""

__all__ = ["LIKELIHOODS", "Likelihood"]
