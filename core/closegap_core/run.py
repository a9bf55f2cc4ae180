"""The state of one training run: weights and optimizers, position, sums of the open epoch, history, best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from closegap_core import curriculum, seeds
from closegap_core.captured import learner_of
from closegap_core.checkpoint import Checkpoint
from closegap_core.data import Dataset
from closegap_core.data.draw import fixed
from closegap_core.errors import NumericalError
from closegap_core.feed import Feed
from closegap_core.group import Group
from closegap_core.learner import Learner, Plan, Turn
from closegap_core.model import Model
from closegap_core.optimizer import moments as adam_moments
from closegap_core.optimizer import restore
from closegap_core.posterior import ACTIVE
from closegap_core.validation import Batch, Draws, batches, curve

VALIDATION_BATCH = 250


class Best(NamedTuple):
    """The weights of the best validation bound so far: the ELBO, or the importance-weighted one if that is learned."""

    epoch: int
    bound: float
    theta: Tensor
    phi: Tensor


@final
class Run:
    """One rank's view of a training run; every rank holds equal weights at every step."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        group: Group,
        frozen: bool = False,
        learner: Callable[[Model, Group, bool], Learner] = learner_of,
    ) -> None:
        """frozen: theta stays as it is, only phi learns."""
        self.model, self.dataset, self.group, self.config = model, dataset, group, model.config
        training = model.config.training
        self.feed = Feed(self.config, dataset)
        model.prepare(dataset.train.rows)
        self.learner = learner(model, group, frozen)
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.total = training.epochs * self.steps_per_epoch
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best = Best(-1, -math.inf, model.theta.data.clone(), model.phi.data.clone())
        self.valid = self._validation_rows()
        self._opened = time.monotonic()
        self._seconds = 0.0

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.steps_per_epoch

    def learn(self) -> None:
        """The optimizer steps on the next batch. Raises NumericalError as `Learner.learn` does."""
        batch, progress = self.feed.batch(self.step), self.step / self.steps_per_epoch
        mine = self._share(len(batch))
        plan = Plan(
            mine.stop - mine.start,
            len(batch),
            curriculum.objective(self.config, progress),
            curriculum.iterations(self.config, self.step, progress),
        )
        fed = self.feed.serve(self.model, self.step, batch, mine)
        self.learner.learn(plan, Turn(self.step, self.epoch, self._rate(), fed))
        self.step += 1

    def _rate(self) -> float:
        training = self.config.training
        return training.learning_rate * training.learning_rate_decay**self.epoch

    def _share(self, count: int) -> slice:
        """This rank's contiguous part of a batch."""
        rank, size = self.group.rank, self.group.size
        return slice(count * rank // size, count * (rank + 1) // size)

    def _validation_rows(self) -> Tensor:
        rows = fixed(self.feed.draw, self.dataset.valid.rows[:], self.config.training.seed)
        return torch.from_numpy(np.ascontiguousarray(rows)).to(self.model.device)

    def close_epoch(self) -> dict[str, Any]:
        """Measure the validation rows, file the epoch in the history and remember the best weights."""
        self.learner.verify()
        self.group.sum(self.learner.sums)
        log_likelihood, kl = (self.learner.sums / len(self.feed.rows)).tolist()
        self.learner.sums.zero_()
        if not math.isfinite(log_likelihood - kl):
            raise NumericalError(
                f"the ELBO of the training rows is not finite in epoch {self.epoch}: log-likelihood {log_likelihood}, "
                f"KL {kl}"
            )
        valid = self._validate()
        kl_weight = curriculum.objective(self.config, (self.step - 1) / self.steps_per_epoch).kl_weight
        entry: dict[str, Any] = {
            "epoch": self.epoch,
            "epochs": self.config.training.epochs,
            "step": self.step,
            "train": {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl},
            "valid": valid,
            "learning_rate": self.config.training.learning_rate
            * self.config.training.learning_rate_decay ** (self.epoch - 1),
            "kl_weight": kl_weight,
            "gradient_norm": self._gradient_norms(),
            "seconds": self._elapsed(),
        }
        self._opened, self._seconds = time.monotonic(), 0.0
        self.history.append(entry)
        bound = valid.get("iwae", valid["elbo"])
        if bound > self.best.bound:
            theta, phi = self.model.theta.data.clone(), self.model.phi.data.clone()
            self.best = Best(len(self.history) - 1, bound, theta, phi)
        return entry

    def _gradient_norms(self) -> dict[str, float]:
        """Of the last step's gradient, a mean over its rows, where it is still there."""
        names = [] if self.learner.frozen else ["theta"]
        if not curriculum.online(self.config) and self.model.phi.grad.numel():
            names.append("phi")
        return {name: float(self.learner.flats[name].grad.double().norm()) for name in names}

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._opened

    def _validate(self) -> dict[str, Any]:
        """Means over the validation rows, divided over ranks by batches; nats."""
        iterations = self.model.method.iterations
        draws = Draws(
            self.config.inference.samples,
            self.model.noise_width,
            self.model.dtype,
            (self.config.training.seed, seeds.VALIDATION),
        )
        sums = torch.zeros(iterations + 1, 3, dtype=torch.float64, device=self.model.device)
        moments = torch.zeros(2, self.model.generative.latent, dtype=torch.float64, device=self.model.device)
        for i, batch in enumerate(batches(self.valid, VALIDATION_BATCH)):
            if i % self.group.size == self.group.rank:
                found, mean = self._measure(batch, draws, iterations)
                sums += found
                moments += torch.stack([mean.sum(0), mean.square().sum(0)])
        self.group.sum(sums)
        self.group.sum(moments)
        means = sums / self.valid.shape[0]
        log_likelihood, kl, iwae = means[-1].tolist()
        by_iteration = (means[:, 0] - means[:, 1]).tolist()
        if not all(math.isfinite(value) for value in by_iteration):
            raise NumericalError(
                f"the validation ELBO is not finite after epoch {self.epoch}: {by_iteration}"
            )
        return {
            "elbo": by_iteration[-1],
            "log_likelihood": log_likelihood,
            "kl": kl,
            "elbo_by_iteration": by_iteration,
            "active_units": _active(moments, self.valid.shape[0]),
            **({"iwae": iwae} if self.config.training.objective == "iwae" else {}),
        }

    def _measure(self, batch: Batch, draws: Draws, iterations: int) -> tuple[Tensor, Tensor]:
        """Sums of log-likelihood and KL by iteration, and of the IWAE bound where it is what is learned, (T + 1, 3);
        and the last mean of q of each row, (B, Z)."""
        found, mean = [], batch.x.new_zeros(0, dtype=torch.float64)
        for t, (q, bound) in enumerate(curve(self.model, batch, draws, draws, iterations)):
            iwae = torch.zeros_like(bound.kl)
            if t == iterations and self.config.training.objective == "iwae":
                weights = self.model.log_weights(batch.x, q, draws.measure(batch, t))
                iwae = torch.logsumexp(weights, 0) - math.log(draws.samples)
            found.append(torch.stack([part.double().sum() for part in (*bound, iwae)]))
            mean = q.mean.double()
        return torch.stack(found), mean

    def state(self) -> Checkpoint:
        """All of it. The open epoch's sums are added over ranks, so a run may go on with another number of them.

        Raises NumericalError where a step was not finite.
        """
        self.learner.verify()
        sums = self.learner.sums.clone()
        self.group.sum(sums)
        tensors = {
            "theta": self.model.theta.data,
            "phi": self.model.phi.data,
            "best.theta": self.best.theta,
            "best.phi": self.best.phi,
            "sums": sums,
        }
        for name, optimizer in self.learner.optimizers.items():
            tensors |= adam_moments(optimizer, name)
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        state = {
            "step": self.step,
            "history": self.history,
            "seconds": self._elapsed(),
            "best": {"epoch": self.best.epoch, "bound": self.best.bound if self.history else None},
        }
        return Checkpoint(tensors, state)

    def restore(self, saved: Checkpoint) -> None:
        """Become the run that `state` described."""
        tensors, state = saved
        self.model.theta.data.copy_(tensors["theta"])
        self.model.phi.data.copy_(tensors["phi"])
        self.step, self.history, self._seconds = state["step"], state["history"], state["seconds"]
        best = state["best"]
        bound = -math.inf if best["bound"] is None else best["bound"]
        self.best = Best(best["epoch"], bound, tensors["best.theta"], tensors["best.phi"])
        self.learner.sums.copy_(tensors["sums"] * (self.group.rank == 0))
        for name, optimizer in self.learner.optimizers.items():
            restore(optimizer, name, tensors)


def _active(moments: Tensor, rows: int) -> int:
    """Dimensions whose posterior mean varies over rows; moments: its sums and sums of squares, (2, Z)."""
    mean, square = moments / rows
    return int((square - mean.square() > ACTIVE).sum())
