"""The state of one training run: weights, optimizers, position, sums of the open epoch, history, best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from closegap_core import curriculum, faults, seeds
from closegap_core.checkpoint import Checkpoint
from closegap_core.data import Dataset
from closegap_core.data.draw import fixed
from closegap_core.errors import NumericalError
from closegap_core.feed import Feed
from closegap_core.generative import Bound
from closegap_core.group import Group
from closegap_core.model import Model
from closegap_core.objective import Objective
from closegap_core.optimizer import adam, moments, restore
from closegap_core.parameters import Flat
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

    def __init__(self, model: Model, dataset: Dataset, group: Group, frozen: bool = False) -> None:
        """frozen: theta stays as it is, only phi learns."""
        self.frozen = frozen
        self.model, self.dataset, self.group, self.config = model, dataset, group, model.config
        training = model.config.training
        self.feed = Feed(self.config, dataset)
        model.prepare(dataset.train.rows)
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.total = training.epochs * self.steps_per_epoch
        self.step = 0
        # Log-likelihood and KL of this rank's rows of this epoch.
        self.sums = torch.zeros(2, dtype=torch.float64, device=model.device)
        self.history: list[dict[str, Any]] = []
        self.best = Best(-1, -math.inf, model.theta.data.clone(), model.phi.data.clone())
        self.optimizers = {"theta": adam(model.theta), "phi": adam(model.phi)}
        self.valid = self._validation_rows()
        self._opened = time.monotonic()
        self._seconds = 0.0

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.steps_per_epoch

    def learn(self) -> None:
        """The optimizer steps on the next batch. Raises NumericalError before a step that is not finite."""
        batch = self.feed.batch(self.step)
        count, mine = len(batch), self._share(len(batch))
        x = batch[mine].to(self.model.device)
        online = curriculum.online(self.config)
        after = {} if online else {"phi": self.model.phi}
        for extra in range(self.config.training.encoder_steps - 1, 0, -1):
            self._ascend(after, self._teach(x, mine, count, online, extra))
        bound = self._teach(x, mine, count, online)
        if bound is not None:
            self.sums += torch.stack([bound.log_likelihood.double().sum(), bound.kl.double().sum()])
        self._ascend(after if self.frozen else {"theta": self.model.theta, **after}, bound)
        self.step += 1

    def _teach(self, x: Tensor, mine: slice, count: int, online: bool, extra: int = 0) -> Bound | None:
        """Gradients for this rank's rows x of a batch of `count`; `extra` steps of the encoder follow.

        `online`: the encoder makes its steps meanwhile, one after each iteration.
        """
        for flat in (self.model.theta, self.model.phi):
            flat.grad.zero_()
        progress = self.step / self.steps_per_epoch
        iterations = curriculum.iterations(self.config, self.step, progress)
        objective = curriculum.objective(self.config, progress)
        if not len(x):
            for _ in range((iterations or self.model.method.iterations) if online else 0):
                self._ascend_online()  # with the other ranks
            return None
        if self.config.training.model_samples:
            self._teach_simulated(mine, count, extra, objective, iterations)
        return self.model.learn(
            x,
            lambda t: self.feed.noise(self.model, self.step, t, count, extra)[:, mine].to(x.device),
            1.0 / count,
            objective,
            iterations,
            self._ascend_online if online else None,
            alone=extra > 0,
        )

    def _teach_simulated(
        self, mine: slice, count: int, extra: int, objective: Objective, iterations: int | None
    ) -> None:
        """Gradients of the encoder alone, for rows simulated from the model."""
        x = self.feed.simulated(self.model, self.step, count, extra)[mine]
        self.model.learn(
            x,
            lambda t: self.feed.simulated_noise(self.model, self.step, t, count, extra)[:, mine].to(x.device),
            self.config.training.model_samples / count,
            objective,
            iterations,
            alone=True,
        )
        self.model.theta.grad.zero_()

    def _ascend_online(self) -> None:
        self._ascend({"phi": self.model.phi})
        self.model.phi.grad.zero_()

    def _ascend(self, flats: Mapping[str, Flat], bound: Bound | None = None) -> None:
        """A step of the optimizers of `flats`; bound: of the rows that the gradient is of."""
        rate = self._rate()
        for name, flat in flats.items():
            self.group.sum(flat.grad)
            if not bool(flat.grad.sum().isfinite()):
                raise NumericalError(
                    f"the gradient of {name} is not finite at step {self.step + 1} (epoch {self.epoch + 1}): "
                    f"{faults.of_gradient(flat, bound)}; a smaller training.learning_rate often helps"
                )
        for name in flats:
            self.optimizers[name].param_groups[0]["lr"] = rate
            self.optimizers[name].step()

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
        self.group.sum(self.sums)
        log_likelihood, kl = (self.sums / len(self.feed.rows)).tolist()
        self.sums.zero_()
        if not math.isfinite(log_likelihood - kl):
            raise NumericalError(
                f"the ELBO of the training rows is not finite in epoch {self.epoch}: log-likelihood {log_likelihood}, "
                f"KL {kl}"
            )
        valid = self._validate()
        entry: dict[str, Any] = {
            "epoch": self.epoch,
            "epochs": self.config.training.epochs,
            "step": self.step,
            "train": {"elbo": log_likelihood - kl, "log_likelihood": log_likelihood, "kl": kl},
            "valid": valid,
            "learning_rate": self.config.training.learning_rate
            * self.config.training.learning_rate_decay ** (self.epoch - 1),
            "seconds": self._elapsed(),
        }
        self._opened, self._seconds = time.monotonic(), 0.0
        self.history.append(entry)
        bound = valid.get("iwae", valid["elbo"])
        if bound > self.best.bound:
            theta, phi = self.model.theta.data.clone(), self.model.phi.data.clone()
            self.best = Best(len(self.history) - 1, bound, theta, phi)
        return entry

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
        for i, batch in enumerate(batches(self.valid, VALIDATION_BATCH)):
            if i % self.group.size == self.group.rank:
                sums += self._measure(batch, draws, iterations)
        self.group.sum(sums)
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
            **({"iwae": iwae} if self.config.training.objective == "iwae" else {}),
        }

    def _measure(self, batch: Batch, draws: Draws, iterations: int) -> Tensor:
        """Sums of log-likelihood and KL by iteration, and of the IWAE bound where it is what is learned, (T + 1, 3)."""
        found = []
        for t, (q, bound) in enumerate(curve(self.model, batch, draws, draws, iterations)):
            iwae = torch.zeros_like(bound.kl)
            if t == iterations and self.config.training.objective == "iwae":
                weights = self.model.log_weights(batch.x, q, draws.measure(batch, t))
                iwae = torch.logsumexp(weights, 0) - math.log(draws.samples)
            found.append(torch.stack([part.double().sum() for part in (*bound, iwae)]))
        return torch.stack(found)

    def state(self) -> Checkpoint:
        """All of it. The open epoch's sums are added over ranks, so a run may go on with another number of them."""
        sums = self.sums.clone()
        self.group.sum(sums)
        tensors = {
            "theta": self.model.theta.data,
            "phi": self.model.phi.data,
            "best.theta": self.best.theta,
            "best.phi": self.best.phi,
            "sums": sums,
        }
        for name, optimizer in self.optimizers.items():
            tensors |= moments(optimizer, name)
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
        self.sums = (tensors["sums"] * (self.group.rank == 0)).to(self.model.device)
        for name, optimizer in self.optimizers.items():
            restore(optimizer, name, tensors)
