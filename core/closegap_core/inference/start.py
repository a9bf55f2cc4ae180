"""What inference starts from: the prior, or what a one-pass encoder makes of x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from closegap_core.data import Rows
from closegap_core.generative import GenerativeModel
from closegap_core.hierarchy import Hierarchy
from closegap_core.inference.base import Noise, Parameters
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior


class Proposal(NamedTuple):
    """A first q, and what the backward of the encoder that proposed it needs."""

    q: Posterior
    kept: Any = None


class Start(ABC):
    """Structure only: parameters are passed. No decoder pass is spent: x, and at most the networks above the data.

    To add one: a subclass in a file of its own, its configuration, and its line in `inference/__init__`.
    """

    samples: bool
    """Whether q depends on draws of upper levels."""
    learns: bool = True

    @abstractmethod
    def shapes(self) -> Sequence[Shape]:
        """Parameters, all of them among phi."""

    @abstractmethod
    def prepare(self, phi: Parameters, rows: Rows) -> None:
        """As `InferenceMethod.prepare`."""

    @abstractmethod
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
        """q for rows x (B, X); zeros (B, Z); noise (S = count, B or 1, Z) where `samples`. Differentiable."""

    @abstractmethod
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
        """Add scale * (gradient at the proposed q, pulled back to theta and phi) to `grads`; None: not to theta's."""

    @final
    def at(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Proposal:
        """q for rows x (B, X), by noise(0) where `samples`; with a graph where gradients are enabled."""
        zeros = torch.zeros(x.shape[0], generative.latent, dtype=x.dtype, device=x.device)
        draw = noise(0) if self.samples else None
        return self.propose(
            TORCH, generative, theta, phi, x, zeros, draw, 1 if draw is None else draw.shape[0]
        )


@final
class Prior(Start):
    """q equal to the prior; below the top level to its mean over draws of the levels above."""

    learns = False

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.samples = hierarchy.depth > 1

    def shapes(self) -> Sequence[Shape]:
        return ()

    def prepare(self, phi: Parameters, rows: Rows) -> None:
        return None

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
        return Proposal(generative.initial(ops, theta, zeros, noise, count))

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
        return None
