"""An encoder's q, refined, and learned from through the refinement (Kim et al. 2018)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from closegap_core.generative import Bound, GenerativeModel
from closegap_core.inference.base import Lesson, Noise, Parameters
from closegap_core.inference.refined import Refined, pull_back
from closegap_core.objective import Objective
from closegap_core.ops import TORCH


@final
class SemiAmortized(Refined):
    """theta and phi learn from the ELBO after the steps, by exact second derivatives: autograd through everything."""

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
        leaves = self.leaves(theta), self.leaves(phi)
        goal, bound = self._unrolled(generative, *leaves, x, noise, lesson.objective)
        pull_back(goal.elbo.sum(), None, leaves, grads, lesson.scale)
        return Bound(bound.log_likelihood.detach(), bound.kl.detach())

    def _unrolled(
        self,
        generative: GenerativeModel,
        theta: Mapping[str, Tensor],
        phi: Mapping[str, Tensor],
        x: Tensor,
        noise: Noise,
        objective: Objective,
    ) -> tuple[Bound, Bound]:
        """What is maximised, with a graph, and the ELBO, at the last q."""
        with torch.enable_grad():
            walk = self.walk(generative, theta, phi, x, noise, objective)
            *_, q = itertools.islice(walk, self.iterations + 1)
            draw = noise(self.draws)
            goal = generative.bound(TORCH, theta, x, q, draw, draw.shape[0], objective)
        if objective.plain:
            return goal, goal
        with torch.no_grad():
            return goal, generative.bound(TORCH, theta, x, q, draw, draw.shape[0])
