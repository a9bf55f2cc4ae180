"""A step that the host launches whole: recorded once, then replayed on new inputs, and never waited for.

A training step is some hundred small operators. On a GPU the host needs longer to launch them one by one than the
device to run them; a CUDA graph launches all of them at once (Ng et al. 2021, "Accelerating PyTorch with CUDA graphs").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.errors import NumericalError
from closegap_core.feed import Fed, Piece
from closegap_core.generative import Bound
from closegap_core.group import Group
from closegap_core.learner import Eager, Learner, Plan, Turn
from closegap_core.model import Model
from closegap_core.optimizer import begin
from closegap_core.recorder import Graphs, Recorder

KL_WEIGHT = Piece("kl weight")
WARMING = 0.0
"""Stands in plans for a weight of the KL that changes with every step: that is an input, as rows are."""


class Recording(NamedTuple):
    """A step of one plan, and the buffers on the device that it reads."""

    inputs: dict[Piece, Tensor]
    replay: Callable[[], None]


@final
class Captured(Learner):
    """Steps of one plan replay one recording of it: a ragged batch, and each T where it is drawn, has its own.

    The first step of a plan runs operator by operator, which warms its kernels up and shows what it reads; the second
    is recorded. Within a step the host waits for nothing. Between two it does where rows are simulated from the model
    (`model_samples`), which are drawn on the host. Whether gradients are finite is a value on the device that `verify`
    reads: steps after one that was not are worthless, so nothing is measured or saved before it was called. Learning
    rate and KL weight are rounded to the precision of a value on the device.
    """

    capturable = True

    def __init__(self, model: Model, group: Group, frozen: bool, recorder: Recorder) -> None:
        super().__init__(model, group, frozen)
        self.recorder = recorder
        for name in ("phi",) if frozen else ("theta", "phi"):
            begin(self.optimizers[name])
        self._read: dict[Plan, tuple[Piece, ...]] = {}
        self._recordings: dict[Plan, Recording] = {}
        # Whether each gradient was finite until now, and in how many steps since `verify` it was.
        self._finite = {name: torch.ones((), dtype=torch.bool, device=model.device) for name in self.flats}
        self._good = {name: torch.zeros((), dtype=torch.int64, device=model.device) for name in self.flats}
        self._taken, self._last = 0, (0, 0)

    def verify(self) -> None:
        good = {name: int(count) for name, count in self._good.items()}
        first = min(good.values())
        if first < self._taken:
            names = " and ".join(name for name, count in good.items() if count == first)
            step, epoch = self._last
            raise NumericalError(
                f"the gradient of {names} is not finite at step {step + 2 - self._taken + first} "
                f"(epoch {epoch + 1}), found after step {step + 1}; a smaller training.learning_rate often helps"
            )
        self._taken = 0
        for count in self._good.values():
            count.zero_()

    def _take(self, plan: Plan, turn: Turn) -> None:
        plan, fed = self._timeless(plan, turn.fed)
        with self.recorder.aside():
            if plan not in self._read:
                self._read[plan] = self._try(plan, fed)
            elif plan not in self._recordings:
                self._recordings[plan] = self._record(plan, fed)
                self._recordings[plan].replay()
            else:
                inputs, replay = self._recordings[plan]
                for piece, buffer in inputs.items():
                    self.recorder.move(buffer, fed(piece))
                replay()
        self._taken, self._last = self._taken + 1, (turn.step, turn.epoch)

    def _timeless(self, plan: Plan, fed: Fed) -> tuple[Plan, Fed]:
        """The plan without a weight of the KL that belongs to one step, which is then fed."""
        if not plan.objective.warming:
            return plan, fed
        weight = torch.tensor(plan.objective.kl_weight, dtype=self.model.dtype)
        objective = plan.objective._replace(kl_weight=WARMING)
        return plan._replace(objective=objective), lambda piece: weight if piece == KL_WEIGHT else fed(piece)

    def _try(self, plan: Plan, fed: Fed) -> tuple[Piece, ...]:
        """The step itself, and what it read."""
        read: dict[Piece, Tensor] = {}

        def moved(piece: Piece) -> Tensor:
            if piece not in read:
                read[piece] = self._buffer(fed(piece))
            return read[piece]

        self._step(plan, moved)
        return tuple(read)

    def _record(self, plan: Plan, fed: Fed) -> Recording:
        """The recording of a plan, its buffers filled for this step."""
        inputs = {piece: self._buffer(fed(piece)) for piece in self._read[plan]}
        return Recording(inputs, self.recorder.record(lambda: self._step(plan, inputs.__getitem__)))

    def _buffer(self, source: Tensor) -> Tensor:
        buffer = torch.empty(source.shape, dtype=source.dtype, device=self.model.device)
        self.recorder.move(buffer, source)
        return buffer

    def _step(self, plan: Plan, fed: Fed) -> None:
        if plan.objective.warming:
            plan = plan._replace(objective=plan.objective._replace(kl_weight=fed(KL_WEIGHT)))
        self._run(plan, fed, self._note)
        for name, finite in self._finite.items():
            self._good[name] += finite

    def _note(self, name: str, bound: Bound | None) -> None:
        self._finite[name].logical_and_(self.flats[name].grad.sum().isfinite())


def learner_of(model: Model, group: Group, frozen: bool) -> Learner:
    """How this machine trains the model: captured where one rank has a GPU to itself, else operator by operator."""
    if model.device.type == "cuda" and group.size == 1:
        return Captured(model, group, frozen, Graphs(model.device))
    return Eager(model, group, frozen)
