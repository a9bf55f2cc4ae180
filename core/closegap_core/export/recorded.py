"""What of a trained model goes into a file: its encoder, and refiner steps behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from closegap_core.config import ExportConfig, RefineConfig
from closegap_core.errors import ExportError
from closegap_core.export.turn import EncoderTurn, RefinerTurn, Turn
from closegap_core.inference.amortized import Amortized
from closegap_core.inference.base import InferenceMethod
from closegap_core.inference.draws import DRAWS
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.refined import Refined
from closegap_core.inference.start import Start
from closegap_core.model import Model

_ITERATION_DRAWS, _ELBO_DRAWS, _STEP_DRAWS = 1, 2, 3
MOST_STEP_DRAWS = 64
"""Of further refiner steps, the draws come around again."""


class FixedNoise(NamedTuple):
    """The noise inside a file, float32: of an encoder's iterations (S, 1, Z), of the reported ELBO (E, 1, Z).

    All rows share it, so an encoding depends on no other row, no position and no earlier call. It comes in
    antithetic pairs (e, -e), whose mean is exactly zero. steps: of a refiner's steps 1 … R, then of 1 … R again,
    (R, S, 1, Z): a refiner that is given the same draws at every step fits q to them. R is 0 without a refiner.
    """

    iterations: np.ndarray
    elbo: np.ndarray
    steps: np.ndarray


class Recorded(NamedTuple):
    """The encoder of a file, and what follows. The file's input `iterations` counts the turns of its last part."""

    encoder: Amortized | OnePass
    refine: RefineConfig | None

    @property
    def start(self) -> Start:
        """What proposes the first q, which without iterations is the last."""
        return self.encoder.encoder if isinstance(self.encoder, OnePass) else self.encoder.start

    @property
    def before(self) -> EncoderTurn | None:
        """The encoder's iterations where they are not the last part; they are as many as in training."""
        if self.refine is None or not isinstance(self.encoder, Amortized):
            return None
        return EncoderTurn(self.encoder)

    @property
    def last(self) -> Turn | None:
        """What is done `iterations` times; None: the file has no such input."""
        if self.refine is not None:
            return RefinerTurn(self.refine.refiner)
        return EncoderTurn(self.encoder) if isinstance(self.encoder, Amortized) else None

    @property
    def iterations(self) -> int:
        """Turns of the last part, as configured."""
        return self.encoder.iterations if self.refine is None else self.refine.steps

    @property
    def smooth(self) -> bool:
        """Whether rounding of a gradient never decides the sign of a step."""
        return self.refine is None or self.refine.refiner.kind not in ("rmsprop", "adam")

    @property
    def reads_noise(self) -> bool:
        """Whether the encoder looks at samples of z, so that the file has the input `noise`."""
        encodes = isinstance(self.encoder, Amortized) and any(self.encoder.wanted)
        return encodes or self.start.samples


def recorded(model: Model, refine: RefineConfig | None = None) -> Recorded:
    """What is exported of `model`, with the steps of `refine` behind it.

    Raises ExportError where there is no encoder, or where it has a refiner already and another is asked for.
    """
    method, name = model.method, model.config.inference.method
    accepted = "accepted: standard, ladder, iterative, hybrid, semi_amortized"
    if method.auxiliary:
        raise ExportError(
            f"inference method {name!r} gives no diagonal Gaussian that a file could hold; {accepted}"
        )
    encoder: InferenceMethod = method
    if isinstance(method, Refined):
        if refine is not None:
            raise ExportError(
                f"inference method {name!r} has a refiner of its own, which the file holds; leave refine out"
            )
        encoder = method.start
        refine = RefineConfig(steps=method.iterations - encoder.iterations, refiner=method.refiner)
    if not isinstance(encoder, Amortized | OnePass):
        raise ExportError(f"inference method {name!r} has no encoder that a file could hold; {accepted}")
    return Recorded(encoder, refine)


def fixed_noise(config: ExportConfig, latent: int, refine: RefineConfig | None = None) -> FixedNoise:
    """The noise that `config` decides by its seed; refine: the steps of the file."""
    return FixedNoise(
        _antithetic(1, config.samples, latent, config.seed, _ITERATION_DRAWS)[0],
        _antithetic(1, config.elbo_samples, latent, config.seed, _ELBO_DRAWS)[0],
        _step_noise(config, latent, refine),
    )


def _step_noise(config: ExportConfig, latent: int, refine: RefineConfig | None) -> np.ndarray:
    count = 0 if refine is None else min(refine.steps, MOST_STEP_DRAWS)
    drawn = _antithetic(count, config.samples, latent, config.seed, _STEP_DRAWS)
    if refine is not None:
        relate = DRAWS[refine.refiner.draws]
        drawn = np.stack([relate(torch.from_numpy(draw)).numpy() for draw in drawn])
    return drawn


def _antithetic(steps: int, count: int, latent: int, seed: int, purpose: int) -> np.ndarray:
    """(steps, count, 1, latent); more steps do not change the first."""
    generator = np.random.default_rng([seed, purpose])
    drawn = generator.standard_normal((steps, count // 2, 1, latent), np.float32)
    return np.concatenate([drawn, -drawn], 1)
