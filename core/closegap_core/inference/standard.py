"""The standard encoder, x to q(z|x) in one pass (Kingma & Welling 2014).

It is the iterative one with only the data encoded, a direct update and one iteration (Marino, Yue & Mandt 2018,
section 4.3), and that is how it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from closegap_core.config import IterativeStart, StandardStart
from closegap_core.data import Rows
from closegap_core.generative import GenerativeModel, Signals
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.amortized import Iterate
from closegap_core.inference.base import Parameters
from closegap_core.inference.start import Prior, Proposal, Start
from closegap_core.inference.taped import Learned, Taped
from closegap_core.inputs import Inputs
from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior


@final
class Standard(Start):
    """One encoder a level, the one above seeing the new mean of the one below."""

    samples = False

    def __init__(self, config: StandardStart, hierarchy: Hierarchy, inputs: Inputs, prefix: str = "") -> None:
        once = {"encode": ("data",), "normalise": "none", "update": "direct", "iterations": 1}
        networks = config.model_dump(include={"encoder", "encoders"})
        as_iterative = IterativeStart.model_validate(once | networks)
        self.encoder = Taped(as_iterative, hierarchy, inputs, Prior(hierarchy), prefix)

    def shapes(self) -> Sequence[Shape]:
        return self.encoder.shapes()

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        self.encoder.prepare(phi, rows)

    def propose(
        self,
        ops: Ops,
        generative: GenerativeModel,
        theta: Mapping[str, Value],
        phi: Mapping[str, Value],
        x: Value,
        zeros: Value,
        noise: Value | None,
        count: int,
    ) -> Proposal:
        constant = self.encoder.constant(ops, phi, x)
        # A direct update does not look at the q before it.
        before = Iterate(Posterior(zeros, zeros), None)
        iteration = self.encoder.update(ops, phi, constant, Signals(None, None), before, 0)
        return Proposal(iteration.q, iteration)

    def backward(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters | None, Parameters],
        x: Tensor,
        proposal: Proposal,
        gradient: Posterior,
        scale: float,
    ) -> None:
        self.encoder.backward(phi, grads[1], x, [Learned(proposal.kept, gradient)], scale)
