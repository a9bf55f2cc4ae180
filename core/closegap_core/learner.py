"""One step of training: the gradients of a batch, then the optimizers' steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, final

import torch

from closegap_core import curriculum, faults
from closegap_core.errors import NumericalError
from closegap_core.feed import Fed, Piece
from closegap_core.generative import Bound
from closegap_core.group import Group
from closegap_core.model import Model
from closegap_core.objective import Objective
from closegap_core.optimizer import adam, set_rate

Check = Callable[[str, Bound | None], None]
"""Told, before each step of an optimizer, whose gradient is complete and the bound of the rows that it is of."""


class Plan(NamedTuple):
    """What of a step decides which operators run, on which shapes.

    rows: of this rank; batch: of all ranks; iterations: T, absent: as configured.
    """

    rows: int
    batch: int
    objective: Objective
    iterations: int | None


class Turn(NamedTuple):
    """What differs between steps of one plan. step and epoch count what is completed."""

    step: int
    epoch: int
    rate: float
    fed: Fed


class Learner(ABC):
    """Theta, phi and their optimizers; how a step is run is a subclass's, what it computes is not."""

    capturable = False
    """Whether a step waits for no value on the host."""

    def __init__(self, model: Model, group: Group, frozen: bool = False) -> None:
        """frozen: theta stays as it is, only phi learns."""
        self.model, self.group, self.config, self.frozen = model, group, model.config, frozen
        self.flats = {"theta": model.theta, "phi": model.phi}
        self.optimizers = {name: adam(flat, self.capturable) for name, flat in self.flats.items()}
        # Log-likelihood and KL of this rank's rows of this epoch.
        self.sums = torch.zeros(2, dtype=torch.float64, device=model.device)

    @final
    def learn(self, plan: Plan, turn: Turn) -> None:
        """The optimizer steps on one batch. Raises NumericalError where a gradient is not finite, or `verify` does."""
        for optimizer in self.optimizers.values():
            set_rate(optimizer, turn.rate)
        self._take(plan, turn)

    @abstractmethod
    def verify(self) -> None:
        """Raises NumericalError where a gradient since the last call was not finite and `learn` did not say so."""

    @abstractmethod
    def _take(self, plan: Plan, turn: Turn) -> None:
        """Run `_run`."""

    @final
    def _run(self, plan: Plan, fed: Fed, check: Check) -> None:
        online = curriculum.online(self.config)
        after = () if online else ("phi",)

        def ascend() -> None:
            self._ascend(("phi",), None, check)
            self.model.phi.grad.zero_()

        for extra in range(self.config.training.encoder_steps - 1, 0, -1):
            self._ascend(after, self._teach(plan, fed, extra, ascend if online else None), check)
        bound = self._teach(plan, fed, 0, ascend if online else None)
        if bound is not None:
            self.sums += torch.stack([bound.log_likelihood.double().sum(), bound.kl.double().sum()])
        self._ascend(after if self.frozen else ("theta", *after), bound, check)

    def _teach(self, plan: Plan, fed: Fed, extra: int, ascend: Callable[[], None] | None) -> Bound | None:
        """Gradients for this rank's rows, None where it has none; `extra` steps of the encoder follow.

        ascend: the encoder's step after each iteration, where it makes one.
        """
        for flat in self.flats.values():
            flat.grad.zero_()
        if not plan.rows:
            for _ in range(plan.iterations or self.model.method.iterations):
                if ascend is not None:
                    ascend()  # with the other ranks
            return None
        if self.config.training.model_samples:
            self._teach_simulated(plan, fed, extra)
        return self.model.learn(
            fed(Piece("rows")),
            lambda t: fed(Piece("noise", extra, t)),
            1.0 / plan.batch,
            plan.objective,
            plan.iterations,
            ascend,
            alone=extra > 0,
        )

    def _teach_simulated(self, plan: Plan, fed: Fed, extra: int) -> None:
        """Gradients of the encoder alone, for rows simulated from the model."""
        self.model.learn(
            fed(Piece("simulated rows", extra)),
            lambda t: fed(Piece("simulated noise", extra, t)),
            self.config.training.model_samples / plan.batch,
            plan.objective,
            plan.iterations,
            alone=True,
        )
        self.model.theta.grad.zero_()

    def _ascend(self, names: tuple[str, ...], bound: Bound | None, check: Check) -> None:
        """A step of the optimizers so named; bound: of the rows that the gradient is of."""
        for name in names:
            self.group.sum(self.flats[name].grad)
            check(name, bound)
        for name in names:
            self.optimizers[name].step()


@final
class Eager(Learner):
    """Operator by operator; the host waits for each gradient, and refuses one that is not finite."""

    def verify(self) -> None:
        return None

    def _take(self, plan: Plan, turn: Turn) -> None:
        def fed(piece: Piece) -> torch.Tensor:
            return turn.fed(piece).to(self.model.device)

        self._run(plan, fed, lambda name, bound: self._insist(name, bound, turn))

    def _insist(self, name: str, bound: Bound | None, turn: Turn) -> None:
        flat = self.flats[name]
        if not bool(flat.grad.sum().isfinite()):
            raise NumericalError(
                f"the gradient of {name} is not finite at step {turn.step + 1} (epoch {turn.epoch + 1}): "
                f"{faults.of_gradient(flat, bound)}; a smaller training.learning_rate often helps"
            )
