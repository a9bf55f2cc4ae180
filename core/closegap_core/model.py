"""A model and its inference method with their parameters: theta and phi, one flat buffer each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from closegap_core import seeds
from closegap_core.config import TrainConfig
from closegap_core.data import Rows
from closegap_core.errors import CheckpointError
from closegap_core.generative import Bound, GenerativeModel
from closegap_core.inference import method_of
from closegap_core.inference.base import Lesson, Noise
from closegap_core.inference.draws import DRAWS
from closegap_core.kernels import pack
from closegap_core.objective import ELBO, Objective
from closegap_core.parameters import CPU, Flat
from closegap_core.posterior import Posterior


@final
class Model:
    """Generative model, inference method and their parameters.

    `width` is X; `shape` that of a row of data, which convolutions need. Raises ConfigError when they do not fit it.
    """

    def __init__(
        self,
        config: TrainConfig,
        width: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
        shape: Sequence[int] | None = None,
    ) -> None:
        self.config, self.width, self.dtype, self.device = config, width, dtype, device
        self.generative = GenerativeModel(config.model, shape or (width,))
        self.method = method_of(
            config.inference, self.generative.hierarchy, self.generative.likelihood.inputs
        )
        generator = seeds.generator(config.training.seed, seeds.INITIAL)
        self.theta = Flat(self.generative.shapes(), generator, dtype, device)
        self.phi = Flat(self.method.shapes(), generator, dtype, device)
        self._decoder: Mapping[str, Any] = self.theta.views

    def prepare(self, rows: Rows) -> None:
        """Take from the training rows (N, X) what the encoder must know of them before it learns."""
        self.method.prepare(self.phi.views, rows)

    @torch.no_grad()
    def packed(self) -> Model:
        """This model for many passes while theta stays as it is: its weights in the layout that is read fastest."""
        packed = copy(self)
        packed._decoder = pack(self.theta.views)
        return packed

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by name: decoder and likelihood, then encoder; views, not copies."""
        return {**self.theta.views, **self.phi.views}

    def posteriors(self, x: Tensor, noise: Noise, iterations: int | None = None) -> Iterator[Posterior]:
        """q of iterations 0 to T for rows x (B, X): T + 1 values."""
        theta, phi, related = self._decoder, self.phi.views, self._related(noise)
        walk = self.method.posteriors(self.generative, theta, phi, x, related)
        for _ in range((self.method.iterations if iterations is None else iterations) + 1):
            with torch.no_grad():
                q = next(walk)
            yield q

    def infer(self, x: Tensor, noise: Noise, iterations: int | None = None) -> Posterior:
        """q of the last iteration for rows x (B, X)."""
        *_, q = self.posteriors(x, noise, iterations)
        return q

    @property
    def noise_width(self) -> int:
        """Standard normal values that a draw of q takes: Z, and more where q has auxiliary variables."""
        return self.generative.latent + self.method.auxiliary

    @torch.no_grad()
    def bound(self, x: Tensor, q: Posterior, noise: Tensor) -> Bound:
        """The ELBO of each row at q, nats, by S draws; noise (S, B or 1, noise_width).

        q is one of this model's, or any diagonal Gaussian, which reads the first Z values of the noise.
        """
        return self.method.bound(self.generative, self._decoder, self.phi.views, x, q, noise)

    @torch.no_grad()
    def log_weights(self, x: Tensor, q: Posterior, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z) of each draw, nats, (S, B) (Burda et al. 2016, eq. 8); q and noise as in `bound`."""
        return self.method.log_weights(self.generative, self._decoder, self.phi.views, x, q, noise)

    def learn(
        self,
        x: Tensor,
        noise: Noise,
        scale: float,
        objective: Objective = ELBO,
        iterations: int | None = None,
        step: Callable[[], None] | None = None,
        alone: bool = False,
    ) -> Bound:
        """Add scale * the ascent directions for rows x to theta.grad and phi.grad; the bound at the last q.

        The other arguments are those of `Lesson`.
        """
        grads, lesson = (self.theta.grads, self.phi.grads), Lesson(scale, objective, iterations, step, alone)
        theta, phi, related = self.theta.views, self.phi.views, self._related(noise)
        return self.method.learn(self.generative, theta, phi, grads, x, related, lesson)

    def _related(self, noise: Noise) -> Noise:
        """The draws of each iteration as `inference.draws` relates them."""
        relate = DRAWS[self.config.inference.draws]
        return lambda t: relate(noise(t))

    def simulate(self, rows: int, *words: int) -> tuple[Tensor, Tensor]:
        """Ancestral noise (R, Z) and x (R, X) simulated from it, decided by `words`.

        The noise is an exact sample of its posterior given x; with one level it is z itself.
        """
        noise = seeds.normal((rows, self.generative.latent), self.dtype, *words, 1).to(self.device)
        z = self.generative.prior_draws(self.theta.views, noise)
        return noise, self.generative.simulate(self.theta.views, z, seeds.generator(*words, 2))

    def save(self, path: Path) -> None:
        """Write all parameters as safetensors, flushed to disk."""
        save_file({name: tensor.clone().cpu() for name, tensor in self.parameters().items()}, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())

    @classmethod
    def load(
        cls,
        config: TrainConfig,
        width: int,
        path: Path,
        dtype: torch.dtype = torch.float32,
        shape: Sequence[int] | None = None,
    ) -> Model:
        """Read parameters that `save` wrote; raises CheckpointError when the file does not fit `config`."""
        model = cls(config, width, dtype, shape=shape)
        try:
            tensors = load_file(path)
            model.theta.fill(tensors)
            model.phi.fill(tensors)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} does not hold this model's weights: {error}") from error
        return model
