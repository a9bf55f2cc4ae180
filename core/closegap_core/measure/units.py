"""Bounds of log p(x) in the unit in which a field compares them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

from torch import Tensor


class Unit(ABC):
    """Each row's bound in nats is scaled, and the mean over rows turned into the figure."""

    name: str

    @abstractmethod
    def of_rows(self, bound: Tensor, x: Tensor) -> Tensor:
        """bound (B,) in nats of rows x (B, X) -> (B,)."""

    @abstractmethod
    def of_mean(self, mean: float, standard_error: float) -> dict[str, float]:
        """{"value", "standard_error"} from the mean of `of_rows`."""


@final
class BitsPerDimension(Unit):
    """-L / (X ln 2): of a lower bound L an upper bound."""

    name = "bits_per_dimension"

    def of_rows(self, bound: Tensor, x: Tensor) -> Tensor:
        return bound.double() / (-x.shape[-1] * math.log(2.0))

    def of_mean(self, mean: float, standard_error: float) -> dict[str, float]:
        return {"value": mean, "standard_error": standard_error}


@final
class Perplexity(Unit):
    """exp(-mean over documents of L_i / N_i), N_i words (Marino et al. 2018, table 2).

    Of the ELBO it is the column marked "≤", of the IWAE bound the other. The standard error is by the delta method.
    """

    name = "perplexity"

    def of_rows(self, bound: Tensor, x: Tensor) -> Tensor:
        return -bound.double() / x.double().sum(-1)

    def of_mean(self, mean: float, standard_error: float) -> dict[str, float]:
        value = math.exp(mean)
        return {"value": value, "standard_error": value * standard_error}


UNITS: dict[str, Unit] = {"dequantised": BitsPerDimension(), "multinomial": Perplexity()}
"""By likelihood; the others are compared in nats alone."""
