"""What a file's loop does in one turn: the same function recorded, run in float32, and run by the oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from closegap_core.config import RefinerConfig
from closegap_core.generative import Signals, Wanted
from closegap_core.inference.amortized import Amortized, Iterate
from closegap_core.inference.averaging import averaged
from closegap_core.inference.refiners import GRADIENT_ONLY, REFINERS, State
from closegap_core.ops import Ops, Value
from closegap_core.posterior import Posterior


class Carried(NamedTuple):
    """From one turn to the next: q, and whatever else is remembered, (B, D) each."""

    q: Posterior
    rest: tuple[Value, ...] = ()


class Turn(ABC):
    """Signals at a place near q, and what is made of them. t: turns before this one."""

    wanted: Wanted
    """Of the signals; where none are, no noise is read."""
    remembers: bool
    """Whether more than q is carried."""
    refines: bool = False
    """Whether each turn has draws of its own."""

    def known(self, ops: Ops, phi: Mapping[str, Value], x: Value) -> Any:
        """What is made of x alone, once for all turns."""
        return None

    @abstractmethod
    def first(self, ops: Ops, q: Posterior) -> Carried:
        """Before any turn, at q."""

    def place(self, ops: Ops, at: Carried, t: Value) -> Posterior:
        """Where the signals are taken; q itself unless a turn says otherwise."""
        return at.q

    @abstractmethod
    def after(
        self, ops: Ops, phi: Mapping[str, Value], known: Any, signals: Signals, at: Carried, t: Value
    ) -> Carried:
        """What this turn leaves, from the signals at `place`."""


@final
class EncoderTurn(Turn):
    """An iteration of iterative inference.

    What is carried beside q: the iterate, where q is a mean of iterates, and the state of recurrent encoders.
    """

    def __init__(self, method: Amortized) -> None:
        self.method, self.wanted = method, method.wanted
        self.remembers = method.average or method.state_width > 0

    def known(self, ops: Ops, phi: Mapping[str, Value], x: Value) -> Any:
        return self.method.constant(ops, phi, x)

    def first(self, ops: Ops, q: Posterior) -> Carried:
        width = self.method.state_width
        return self._carried(q, Iterate(q, ops.zeros(q.mean, width) if width else None))

    def place(self, ops: Ops, at: Carried, t: Value) -> Posterior:
        return Posterior(*at.rest[:2]) if self.method.average else at.q

    def after(
        self, ops: Ops, phi: Mapping[str, Value], known: Any, signals: Signals, at: Carried, t: Value
    ) -> Carried:
        state = at.rest[-1] if self.method.state_width else None
        before = Iterate(self.place(ops, at, t), state)
        after = self.method.update(ops, phi, known, signals, before, t).after
        if not self.method.average:
            return self._carried(after.q, after)
        late = ops.number(t) + (1.0 - self.method.iterations)
        return self._carried(averaged(ops, at.q, after.q, late), after)

    def _carried(self, q: Posterior, after: Iterate) -> Carried:
        state = () if after.state is None else (after.state,)
        return Carried(q, (*after.q, *state) if self.method.average else state)


@final
class RefinerTurn(Turn):
    """A step of a refiner; its running averages are carried, the steps taken are the loop's own count."""

    wanted = GRADIENT_ONLY
    remembers = refines = True

    def __init__(self, config: RefinerConfig) -> None:
        self.rule = REFINERS[config.kind](config)

    def first(self, ops: Ops, q: Posterior) -> Carried:
        state = self.rule.begin(ops, ops.concat(q))
        return Carried(q, (state.first, state.second))

    def place(self, ops: Ops, at: Carried, t: Value) -> Posterior:
        return Posterior(*ops.halves(self.rule.look_ahead(ops, ops.concat(at.q), _state(ops, at, t))))

    def after(
        self, ops: Ops, phi: Mapping[str, Value], known: Any, signals: Signals, at: Carried, t: Value
    ) -> Carried:
        if signals.gradient is None:
            raise TypeError("the gradient of the ELBO was not computed")
        gradient = ops.concat(signals.gradient)
        value, state = self.rule.advance(ops, ops.concat(at.q), gradient, _state(ops, at, t))
        return Carried(Posterior(*ops.halves(value)), (state.first, state.second))


def _state(ops: Ops, at: Carried, t: Value) -> State:
    first, second = at.rest
    return State(first, second, ops.number(t))
