"""The family of inference methods: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closegap_core.config import IterativeConfig, StandardConfig
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Amortized
from closegap_core.inference.base import InferenceMethod
from closegap_core.inference.hybrid import Hybrid, SemiAmortized
from closegap_core.inference.svi import Svi
from closegap_core.inputs import Inputs


def _standard(config: StandardConfig, hierarchy: Hierarchy, inputs: Inputs) -> InferenceMethod:
    as_iterative = IterativeConfig(
        encode=("data",),
        normalise="none",
        update="direct",
        iterations=1,
        encoder=config.encoder,
        encoders=config.encoders,
    )
    return Amortized(as_iterative, hierarchy, inputs)


METHODS: dict[str, Callable[[Any, Hierarchy, Inputs], InferenceMethod]] = {
    "standard": _standard,
    "iterative": Amortized,
    "svi": lambda config, hierarchy, inputs: Svi(config, hierarchy),
    "hybrid": Hybrid,
    "semi_amortized": SemiAmortized,
}

__all__ = ["METHODS", "InferenceMethod"]
