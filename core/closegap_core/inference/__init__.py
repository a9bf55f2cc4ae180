"""The family of inference methods, and of what they start from: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closegap_core.config import IterativeStart, LadderStart, StandardStart
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import InferenceMethod
from closegap_core.inference.finite_difference import FiniteDifference
from closegap_core.inference.flow import Flow
from closegap_core.inference.hybrid import Hybrid
from closegap_core.inference.ladder import Ladder
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.refined import Refined
from closegap_core.inference.semi_amortized import SemiAmortized
from closegap_core.inference.standard import Standard
from closegap_core.inference.start import Prior, Start
from closegap_core.inference.svi import Svi
from closegap_core.inference.taped import Taped
from closegap_core.inference.unrolled import Unrolled
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
    method = Unrolled if config.by_autograd else Taped
    return method(config, hierarchy, inputs, start, prefix)


def _refined(kind: Callable[[Any], type[Refined]]) -> Build:
    def build(config: Any, hierarchy: Hierarchy, inputs: Inputs, prefix: str) -> InferenceMethod:
        start = METHODS[config.start.method](config.start, hierarchy, inputs, prefix + START)
        return kind(config)(config, start)

    return build


DIFFERENTIATED: dict[str, type[Refined]] = {"exact": SemiAmortized, "finite_difference": FiniteDifference}


METHODS: dict[str, Build] = {
    **dict.fromkeys(STARTS, _one_pass),
    "iterative": _iterative,
    "svi": lambda config, hierarchy, inputs, prefix: Svi(config, hierarchy),
    "hybrid": _refined(lambda config: Hybrid),
    "semi_amortized": _refined(lambda config: DIFFERENTIATED[config.differentiate]),
    "flow": lambda config, hierarchy, inputs, prefix: Flow(config, hierarchy, inputs),
}


def method_of(config: Any, hierarchy: Hierarchy, inputs: Inputs) -> InferenceMethod:
    """The inference method that `config`, one of `config.InferenceConfig`, describes."""
    return METHODS[config.method](config, hierarchy, inputs, "")


__all__ = ["METHODS", "InferenceMethod", "method_of"]
