"""A mean over rows with its standard error."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from closegap_core.errors import NumericalError


@final
class Estimate:
    """Running mean and standard error of a quantity over rows."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """(B,) more rows."""
        self.values.append(rows.detach().double())

    def to_dict(self) -> dict[str, float]:
        """{"value", "standard_error"} in nats; raises NumericalError when a row is not finite."""
        values = torch.cat(self.values)
        if not bool(values.isfinite().all()):
            row = int((~values.isfinite()).nonzero()[0])
            raise NumericalError(f"a bound is not finite: {float(values[row])} at row {row}")
        spread = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        return {"value": float(values.mean()), "standard_error": spread}
