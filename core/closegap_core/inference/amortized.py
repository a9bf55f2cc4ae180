"""Encoders: the standard one (x to q in one pass) and the iterative one (signals of the ELBO to the next q).

The standard encoder is the iterative one with only the data encoded, a direct update and one iteration
(Marino, Yue & Mandt 2018, section 4.3), and that is how it runs: there is one code path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from closegap_core.config import IterativeConfig
from closegap_core.generative import Bound, GenerativeModel, Signals, Wanted
from closegap_core.inference.base import InferenceMethod, Noise, Parameters
from closegap_core.networks import Network, Tape, stack
from closegap_core.normalisation import NORMALISATIONS
from closegap_core.ops import TORCH, Ops, Value
from closegap_core.parameters import Shape
from closegap_core.posterior import Posterior, prior_posterior
from closegap_core.updates import UPDATES, Step

CENTRE = 0.5
"""Subtracted from data before it is encoded: images lie in [0, 1]."""
BACKWARD_ROWS = 4096
"""The encoder's backward runs once over all T B rows, or whenever so many are kept: memory is constant in T."""


class Iteration(NamedTuple):
    """One update of q and what its backward needs."""

    step: Step
    tapes: list[Tape]


@final
class Amortized(InferenceMethod):
    """Structure only: parameters phi are passed to every function."""

    def __init__(self, config: IterativeConfig, latent: int, width: int) -> None:
        self.iterations, self.latent = config.iterations, latent
        self.encodes = frozenset(config.encode)
        self.update_rule = UPDATES[config.update]
        self.wanted = Wanted(
            gradient="gradient" in self.encodes or self.update_rule.needs_gradient,
            error="error" in self.encodes,
        )
        self.normalisation = NORMALISATIONS[config.normalise]
        factor = self.normalisation.factor
        signals = (
            2 * latent * factor * ("gradient" in self.encodes)
            + (width + latent) * factor * self.wanted.error
            + 2 * latent * ("estimate" in self.encodes)
        )
        self.has_signals = signals > 0
        heads = self.update_rule.heads
        self.encoder = Network(
            "encoder", config.encoder, (width * ("data" in self.encodes), signals), heads * latent, heads
        )

    def shapes(self) -> Sequence[Shape]:
        return self.encoder.shapes()

    def constant(self, ops: Ops, phi: Mapping[str, Value], x: Value) -> Value | None:
        """The part of the first layer that depends on x alone, (B, k H); None where data is not encoded."""
        return self.encoder.partial(ops, phi, 0, x - CENTRE) if "data" in self.encodes else None

    def encode(self, ops: Ops, signals: Signals, q: Posterior) -> Value | None:
        """The encoder's varying input (B, R): normalised gradients and errors, then the estimate as it is."""
        blocks: list[Value] = []
        if signals.gradient is not None and "gradient" in self.encodes:
            blocks += [self.normalisation.apply(ops, block) for block in signals.gradient]
        if signals.error is not None:
            blocks += [self.normalisation.apply(ops, block) for block in signals.error]
        if "estimate" in self.encodes:
            blocks += [q.mean, q.log_var]
        return ops.concat(blocks) if blocks else None

    def update(
        self, ops: Ops, phi: Mapping[str, Value], constant: Value | None, signals: Signals, q: Posterior
    ) -> Iteration:
        """One inference iteration: q and the signals at q -> the next q (Marino et al. 2018, eq. 6)."""
        heads, tapes = self.encoder.forward(ops, phi, self.encode(ops, signals, q), constant)
        return Iteration(self.update_rule.apply(ops, heads, q, signals.gradient, self.latent), tapes)

    def posteriors(
        self, generative: GenerativeModel, theta: Parameters, phi: Parameters, x: Tensor, noise: Noise
    ) -> Iterator[Posterior]:
        q, t = prior_posterior(x.shape[0], self.latent, x), 0
        with torch.no_grad():
            constant = self.constant(TORCH, phi, x)
        while True:
            yield q
            with torch.no_grad():
                q = self.update(
                    TORCH, phi, constant, self._signals(generative, theta, x, q, noise, t), q
                ).step.q
            t += 1

    def _signals(
        self, generative: GenerativeModel, theta: Parameters, x: Tensor, q: Posterior, noise: Noise, t: int
    ) -> Signals:
        if not (self.wanted.gradient or self.wanted.error):
            return Signals(None, None)
        draw = noise(t)
        return generative.signals(TORCH, theta, x, q, draw, draw.shape[0], self.wanted)

    @torch.no_grad()
    def learn(
        self,
        generative: GenerativeModel,
        theta: Parameters,
        phi: Parameters,
        grads: tuple[Parameters, Parameters],
        x: Tensor,
        noise: Noise,
        scale: float,
    ) -> Bound:
        q = prior_posterior(x.shape[0], self.latent, x)
        constant = self.constant(TORCH, phi, x)
        signals = self._signals(generative, theta, x, q, noise, 0)
        everything = Wanted(gradient=True, error=self.wanted.error)
        kept: list[tuple[Iteration, Tensor]] = []
        for t in range(1, self.iterations + 1):
            iteration = self.update(TORCH, phi, constant, signals, q)
            q, draw = iteration.step.q, noise(t)
            if t < self.iterations:
                signals = generative.signals(TORCH, theta, x, q, draw, draw.shape[0], everything)
            else:
                signals, bound = generative.learn(theta, grads[0], x, q, draw, scale, everything)
            kept.append((iteration, self.update_rule.delta(iteration.step, _gradient(signals))))
            if t == self.iterations or (len(kept) + 1) * x.shape[0] > BACKWARD_ROWS:
                self._backward(phi, grads[1], x, kept, scale / self.iterations)
                kept = []
            signals = Signals(signals.gradient if self.wanted.gradient else None, signals.error)
        return bound

    def _backward(
        self,
        phi: Parameters,
        grads: Parameters,
        x: Tensor,
        kept: list[tuple[Iteration, Tensor]],
        scale: float,
    ) -> None:
        tapes = stack([iteration.tapes for iteration, _ in kept])
        deltas = self.encoder.backward(TORCH, phi, tapes, torch.cat([d for _, d in kept]), to_input=False)[1]
        constants = [x - CENTRE] if "data" in self.encodes else []
        self.encoder.accumulate(grads, tapes, deltas, scale, constants)


def _gradient(signals: Signals) -> Posterior:
    if signals.gradient is None:
        raise TypeError("the gradient of the ELBO was not computed")
    return signals.gradient
