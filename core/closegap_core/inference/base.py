"""What an inference method is: how q is reached, and how one batch teaches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from closegap_core.data import Rows
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.objective import ELBO, Objective
from closegap_core.ops import TORCH
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior

Parameters = Mapping[str, Tensor]
Noise = Callable[[int], Tensor]
"""Noise of iteration t: (S, B, Z), or (S, 1, Z) where all rows share it."""


@torch.no_grad()
def start_of(generative: GenerativeModel, theta: Parameters, x: Tensor, noise: Noise) -> Posterior:
    """q of iteration 0 for rows x (B, X): the prior; below the top level its mean over the draws of noise(0)."""
    zeros = torch.zeros(x.shape[0], generative.latent, dtype=x.dtype, device=x.device)
    draw = noise(0) if generative.hierarchy.depth > 1 else None
    return generative.initial(TORCH, theta, zeros, draw, 1 if draw is None else draw.shape[0])


class Lesson(NamedTuple):
    """What one training step asks of a method.

    scale: one over the number of rows of the whole batch, over all ranks; iterations: T of this step, absent: as
    configured; step: called with each iteration's gradient in phi's, makes an optimizer step of phi and clears it;
    absent: phi's gradient is the mean over iterations; alone: phi learns alone, and what only theta needs may be left
    out, its gradient and the bound where it would learn.
    """

    scale: float
    objective: Objective = ELBO
    iterations: int | None = None
    step: Callable[[], None] | None = None
    alone: bool = False


class InferenceMethod(ABC):
    """To add one: a subclass in a file of its own, its configuration, and its line in `inference/__init__`."""

    iterations: int
    """T as configured; evaluation may run more where a further iteration is defined."""
    draws: int
    """T iterations take noise 0 … draws - 1; learning measures the last q with noise `draws`."""
    one_pass: bool = False
    """Whether q of iteration 1 is final: a further iteration changes nothing."""
    auxiliary: int = 0
    """Dimensions V of noise that a draw of q takes beyond the Z of z."""

    @abstractmethod
    def shapes(self) -> Sequence[Shape]:
        """Parameters phi; none for methods without an encoder."""

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        """Set what phi holds of the training rows (N, X) but does not learn; nothing by default."""
        return None

    @abstractmethod
    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        """q of iteration 0 (the prior, or what the method starts from), 1, 2, … for rows x (B, X), endless.

        Differentiable where gradients are enabled: a semi-amortized encoder learns through it.
        """

    @abstractmethod
    def passes(self, t: int, samples: int) -> int:
        """Decoder passes that q of iteration t has cost a row; samples: S of each iteration.

        A pass is the decoder and its vector-Jacobian product for one sample of one row. What only touches the
        networks of upper levels, as finding the prior's mean does, is not counted.
        """

    @abstractmethod
    def learn(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters, Parameters],
        x: Tensor,
        noise: Noise,
        lesson: Lesson,
    ) -> Bound:
        """Add lesson.scale * the ascent directions of (theta, phi) for rows x to `grads`; the bound at the last q.

        theta's is the gradient of the last iterate's ELBO, phi's the (weighted) mean over iterations 1..T of each
        iterate's (Marino et al. 2018, algorithm 1 as in their code), signals and earlier iterates taken as constants.
        """

    def bound(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Tensor,
    ) -> Bound:
        """The ELBO of each row at q, nats, by noise (S, B or 1, Z + V); a diagonal Gaussian reads Z of it."""
        return generative.bound(TORCH, theta, x, q, noise[..., : generative.latent], noise.shape[0])

    def log_weights(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        x: Tensor,
        q: Posterior,
        noise: Tensor,
    ) -> Tensor:
        """log p(x, z) - log q(z) of each draw, nats, (S, B), by noise (S, B or 1, Z + V)."""
        return generative.log_weights(theta, x, q, noise[..., : generative.latent])
