"""An encoder's q, refined: theta learns from q after some steps, the encoder at its own (Krishnan et al. 2018)."""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor

from closegap_core.generative import Bound, GenerativeModel
from closegap_core.inference.base import Lesson, Noise, Parameters
from closegap_core.inference.refined import Refined
from closegap_core.inference.refiners import GRADIENT_ONLY


@final
class Hybrid(Refined):
    """The encoder is trained where it stands; theta where the refiner arrives."""

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
        unused = {name: torch.zeros_like(grad) for name, grad in grads[0].items()}
        alone = lesson._replace(alone=True)
        proposed = self.start.learn(generative, theta, phi, (unused, grads[1]), x, noise, alone)
        if lesson.alone:
            return proposed
        with torch.no_grad():  # the start may learn by autograd, the rest does not
            walk = self.walk(generative, theta, phi, x, noise, lesson.objective)
            *_, q = itertools.islice(walk, self.iterations + 1)
            last, scale = noise(self.draws), lesson.scale
            return generative.learn(theta, grads[0], x, q, last, scale, GRADIENT_ONLY, lesson.objective)[1]
