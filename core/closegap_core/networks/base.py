"""What a network is: one that runs once an iteration, and one with a hand-written vector-Jacobian product.

Shapes: R rows, I inputs, H hidden width, k blocks. What a layer keeps for its backward is its *tape*.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.ops import Ops, Value
from closegap_core.parameters import Shape


class Tape(NamedTuple):
    """What one layer kept: its input (R, I), and candidate, gate and carried value (R, H) where it has them."""

    input: Value
    candidate: Value = None
    gate: Value | None = None
    carry: Value | None = None


class Moment(NamedTuple):
    """When in inference a network runs.

    iteration: how many were made before, an int or an int64 scalar of a graph; state: (R, `state_width`) that its run
    of the iteration before left, None where it keeps none; learning: whether the rows are a training batch.
    """

    iteration: Value = 0
    state: Value | None = None
    learning: bool = False


class Passed(NamedTuple):
    """What a network gave: output (R, outputs), tapes where its backward is hand-written, the state it leaves.

    statistics: of this training batch, by the name of the parameter that keeps them of each iteration.
    """

    out: Value
    tapes: list[Tape]
    state: Value | None = None
    statistics: Mapping[str, Tensor] = MappingProxyType({})


class IteratedNetwork(ABC):
    """A network that runs once an iteration; parameters are passed to every function, the object is structure only.

    Inputs come in groups, of which the last varies between iterations. To add one: a subclass in a file of its own,
    its configuration in `config`, its line in `networks/__init__`.
    """

    state_width: int = 0
    """Values a row that one iteration leaves to the next; the first finds zeros."""

    @abstractmethod
    def shapes(self) -> list[Shape]:
        """Names, shapes and initial bounds of all parameters; biases start at zero."""

    @abstractmethod
    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        """The bias and one input group's share of the first layer's pre-activations: (R, I_g) -> (R, k H)."""

    @abstractmethod
    def advance(
        self,
        ops: Ops,
        params: Mapping[str, Value],
        h: Value | None,
        partial: Value | None = None,
        moment: Moment = Moment(),  # noqa: B008 -- a value that cannot change
    ) -> Passed:
        """Run once. `h` is the last input group; `partial` what `partial()` gave before."""


class Network(IteratedNetwork):
    """One that keeps nothing between iterations, and whose vector-Jacobian product is written by hand."""

    @final
    def advance(
        self,
        ops: Ops,
        params: Mapping[str, Value],
        h: Value | None,
        partial: Value | None = None,
        moment: Moment = Moment(),  # noqa: B008
    ) -> Passed:
        return Passed(*self.forward(ops, params, h, partial))

    @abstractmethod
    def forward(
        self, ops: Ops, params: Mapping[str, Value], h: Value | None, partial: Value | None = None
    ) -> tuple[Value, list[Tape]]:
        """Output (R, outputs) and the tapes. `h` is the last input group; `partial` what `partial()` gave before."""

    @abstractmethod
    def backward(
        self, ops: Ops, params: Mapping[str, Value], tapes: Sequence[Tape], d: Value, to_input: bool = True
    ) -> tuple[Value | None, list[Value]]:
        """Gradient at the output (R, outputs) -> gradient at the last input group, and each layer's packed delta."""

    @abstractmethod
    def accumulate(
        self, grads: Mapping[str, Tensor], tapes: Sequence[Tape], deltas: Sequence[Tensor], scale: float
    ) -> None:
        """Add scale * the parameters' gradients to `grads`: delta^T input for weights, delta summed for biases."""

    @abstractmethod
    def accumulate_partial(
        self,
        params: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        group: int,
        h: Tensor,
        delta: Tensor,
        scale: float,
    ) -> None:
        """As `accumulate`, for what `partial` made of h (B, I_g); delta: the first of `backward`, R a multiple of B."""


def stack(tapes: Sequence[Sequence[Tape]]) -> list[Tape]:
    """The tapes of T iterations (B rows each) as tapes of one pass over T B rows, iteration-major."""

    def join(values: Sequence[Value | None]) -> Value | None:
        return None if values[0] is None else torch.cat([v for v in values if v is not None])

    return [Tape(*(join(parts) for parts in zip(*layer, strict=True))) for layer in zip(*tapes, strict=True)]
