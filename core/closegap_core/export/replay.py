"""What a file should do, by torch: the model in float32 as it was trained, or its oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from closegap_core.config import RefineConfig
from closegap_core.export.recorded import FixedNoise, recorded
from closegap_core.export.turn import Carried, Turn
from closegap_core.generative import Signals
from closegap_core.model import Model
from closegap_core.ops import TORCH
from closegap_core.posterior import Posterior


@final
class Replay:
    """A model on rows (N, X), turn by turn. autograd: the gradient of the ELBO by it, in place of the closed form."""

    def __init__(
        self, model: Model, refine: RefineConfig | None, noise: FixedNoise, rows: np.ndarray, autograd: bool
    ) -> None:
        self.model, self.autograd = model, autograd
        self.parts, self.dtype = recorded(model, refine), model.dtype
        self.x = torch.from_numpy(rows).to(model.dtype)
        self.draws, self.elbo_draws, self.step_draws = (
            torch.from_numpy(part).to(model.dtype) for part in noise
        )

    @property
    def replayed(self) -> bool:
        """Whether the last part carries more than q from turn to turn, which is not among a file's outputs."""
        return self.parts.last is not None and self.parts.last.remembers

    def walk(self, count: int) -> list[Posterior]:
        """q after 0 … count turns of the last part; all the same where there is none."""
        q = self._first()
        if self.parts.last is None:
            return [q] * (count + 1)
        return [at.q for at in self._turns(self.parts.last, q, count)]

    def after(self, first: int, before: Sequence[Posterior]) -> Posterior:
        """q one turn after the last of `before`, those of turns `first` and on; what else is carried is its own."""
        if self.parts.last is None:
            return before[-1]
        turn, at = self.parts.last, self.parts.last.first(TORCH, before[0])
        for t, q in enumerate(before, first):
            at = self._turn(turn, at._replace(q=q), t)
        return at.q

    def elbo(self, q: Posterior) -> np.ndarray:
        """Of each row, nats, by the noise that the file reports it by."""
        elbo: np.ndarray = self.model.bound(self.x, q, self.elbo_draws).elbo.numpy()
        return elbo

    @torch.no_grad()
    def _first(self) -> Posterior:
        views = self.model.theta.views, self.model.phi.views
        q = self.parts.start.at(self.model.generative, *views, self.x, lambda t: self.draws).q
        if self.parts.before is None:
            return q
        *_, last = self._turns(self.parts.before, q, self.parts.encoder.iterations)
        return last.q

    def _turns(self, turn: Turn, q: Posterior, count: int) -> Iterator[Carried]:
        at = turn.first(TORCH, q)
        yield at
        for t in range(count):
            at = self._turn(turn, at, t)
            yield at

    @torch.no_grad()
    def _turn(self, turn: Turn, at: Carried, t: int) -> Carried:
        phi = self.model.phi.views
        signals = self._signals(turn, turn.place(TORCH, at, t), t)
        return turn.after(TORCH, phi, turn.known(TORCH, phi, self.x), signals, at, t)

    def _signals(self, turn: Turn, place: Posterior, t: int) -> Signals:
        wanted = turn.wanted
        if not any(wanted):
            return Signals(None, None)
        draws = self._draws(turn, t)
        if self.autograd:
            wanted = wanted._replace(gradient=False)
        signals = self.model.generative.signals(
            TORCH, self.model.theta.views, self.x, place, draws, len(draws), wanted
        )
        if self.autograd and turn.wanted.gradient:
            signals = signals._replace(gradient=self._gradient(place, draws))
        return signals

    def _gradient(self, place: Posterior, draws: Tensor) -> Posterior:
        theta = self.model.theta.views
        with torch.enable_grad():
            leaves = Posterior(*(part.detach().requires_grad_() for part in place))
            elbo = self.model.generative.bound(TORCH, theta, self.x, leaves, draws, len(draws)).elbo.sum()
            return Posterior(*torch.autograd.grad(elbo, leaves))

    def _draws(self, turn: Turn, t: int) -> Tensor:
        return self.step_draws[t % len(self.step_draws)] if turn.refines else self.draws
