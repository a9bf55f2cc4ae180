"""The family of likelihoods: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closegap_core.likelihoods.base import Likelihood
from closegap_core.likelihoods.bernoulli import Bernoulli
from closegap_core.likelihoods.gaussian import Gaussian

LIKELIHOODS: dict[str, Callable[[Any], Likelihood]] = {
    "bernoulli": lambda config: Bernoulli(),
    "gaussian": Gaussian,
}

__all__ = ["LIKELIHOODS", "Likelihood"]
