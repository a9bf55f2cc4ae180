"""The family of inference methods, and of what they start from: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closegap_core.config import IterativeStart, LadderStart, StandardStart
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Amortized
from closegap_core.inference.base import InferenceMethod
from closegap_core.inference.flow import Flow
from closegap_core.inference.hybrid import Hybrid, SemiAmortized
from closegap_core.inference.ladder import Ladder
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.standard import Standard
from closegap_core.inference.start import Prior, Start
from closegap_core.inference.svi import Svi
from closegap_core.inputs import Inputs

START = "start."
"""Before the names of the parameters of what a method starts from."""

Build = Callable[[Any, Hierarchy, Inputs, str], InferenceMethod]
"""From a method's configuration; the text goes before the names of its parameters."""


STARTS: dict[str, Callable[[Any, Hierarchy, Inputs, str], Start]] = {
    "standard": Standard,
    "ladder": Ladder,
}


def _one_pass(
    config: StandardStart | LadderStart, hierarchy: Hierarchy, inputs: Inputs, prefix: str
) -> InferenceMethod:
    return OnePass(STARTS[config.method](config, hierarchy, inputs, prefix), hierarchy)


def _iterative(config: IterativeStart, hierarchy: Hierarchy, inputs: Inputs, prefix: str) -> InferenceMethod:
    start: Start = Prior(hierarchy)
    if config.start is not None:
        start = STARTS[config.start.method](config.start, hierarchy, inputs, prefix + START)
    return Amortized(config, hierarchy, inputs, start, prefix)


def _refined(kind: type[Hybrid] | type[SemiAmortized]) -> Build:
    def build(config: Any, hierarchy: Hierarchy, inputs: Inputs, prefix: str) -> InferenceMethod:
        return kind(config, METHODS[config.start.method](config.start, hierarchy, inputs, prefix + START))

    return build


METHODS: dict[str, Build] = {
    **dict.fromkeys(STARTS, _one_pass),
    "iterative": _iterative,
    "svi": lambda config, hierarchy, inputs, prefix: Svi(config, hierarchy),
    "hybrid": _refined(Hybrid),
    "semi_amortized": _refined(SemiAmortized),
    "flow": lambda config, hierarchy, inputs, prefix: Flow(config, hierarchy, inputs),
}


def method_of(config: Any, hierarchy: Hierarchy, inputs: Inputs) -> InferenceMethod:
    """The inference method that `config`, one of `config.InferenceConfig`, describes."""
    return METHODS[config.method](config, hierarchy, inputs, "")


__all__ = ["METHODS", "InferenceMethod", "method_of"]
