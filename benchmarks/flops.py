"""The matrix products that a training step and an encoding cannot do without, counted from the model's weights.

A product of (m, k) and (k, n) is 2 m k n FLOP; nothing else is counted. For B rows, S samples, T iterations, with
P_d the decoder's weights, P_x the encoder's weights that multiply the data, P_r its other weights and P_1 those of
P_r in its first layer:

    decoder pass        D = 2 S B P_d                    forward, or vector-Jacobian product, or weight gradient
    training step       [(T + s) forward + (T + g) VJP + 1 weight gradient] D + one forward of all levels but the first
                        + forward: 2 B (P_x + T P_r) + weight gradient: the same + VJP: 2 T B (P_r − P_1 + P_u)
    encoding            T (s forward + g VJP) D + 2 B (P_x + T P_r) + one forward D with the ELBO's samples
    importance weights  one forward D

g is 1 where gradients are encoded, s where gradients or errors are (the prior's own signals are needed then), and 0
elsewhere; the data is multiplied once a step. In training the last iterate's VJP gives phi its gradient; in encoding
there is no signal after the last update. With several levels the numbers of weights are those of all levels, the prior
of the lower ones is a mean over ancestral draws, and P_u are the weights of first layers that meet what comes up from
the encoders below, which learn through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from closegap_core.inference.amortized import Amortized
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.standard import Standard
from closegap_core.model import Model


@dataclass(frozen=True)
class Weights:
    """Numbers of weights, biases excluded: what the formulas above are made of."""

    decoder: int
    above: int
    data: int
    other: int
    other_first: int
    upward: int

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Count them; `above` are the decoder's but those of the first level."""
        matrices = {name: view for name, view in model.parameters().items() if view.ndim == 2}
        decoder = _count(matrices, "decoder.")
        data = other_first = upward = 0
        for level in _amortized(model).levels:
            first = f"encoder.{level.level + 1}.0."
            seen = _count(matrices, f"{first}weight_0") if level.sees_data else 0
            data += seen
            other_first += _count(matrices, first) - seen
            if level.upward_from:
                upward += sum(level.upward_widths) * matrices[f"{first}weight_1"].shape[0]
        return cls(
            decoder=decoder,
            above=decoder - _count(matrices, "decoder.1."),
            data=data,
            other=_count(matrices, "encoder.") - data,
            other_first=other_first,
            upward=upward,
        )


def _count(matrices: Mapping[str, Tensor], prefix: str) -> int:
    return sum(matrix.numel() for name, matrix in matrices.items() if name.startswith(prefix))


def training_step(model: Model, rows: int) -> float:
    """FLOP of one training step on so many rows."""
    method = _amortized(model)
    weights, iterations = Weights.of(model), method.iterations
    draws = 2 * model.config.inference.samples * rows
    passes = 2 * iterations + (method.wanted.gradient or method.wanted.error) + method.wanted.gradient + 1
    encoder = 2 * rows * (weights.data + iterations * weights.other)
    to_hidden = 2 * iterations * rows * (weights.other - weights.other_first + weights.upward)
    return float(draws * (passes * weights.decoder + weights.above) + 2 * encoder + to_hidden)


def encoding(model: Model, iterations: int, samples: int, elbo_samples: int) -> float:
    """FLOP of encoding one row."""
    method = _amortized(model)
    weights = Weights.of(model)
    passes = iterations * samples * ((method.wanted.gradient or method.wanted.error) + method.wanted.gradient)
    encoder = weights.data + iterations * weights.other
    return float(2 * ((passes + elbo_samples) * weights.decoder + encoder))


def importance_weights(model: Model, rows: int, samples: int) -> float:
    """FLOP of log p(x, z) / q(z|x) of so many samples of so many rows."""
    return 2.0 * rows * samples * Weights.of(model).decoder


def _amortized(model: Model) -> Amortized:
    method = model.method
    if isinstance(method, OnePass) and isinstance(method.encoder, Standard):
        method = method.encoder.encoder
    if not isinstance(method, Amortized) or method.start.learns:
        raise TypeError(f"only encoders that start from the prior are counted, not {type(method).__name__}")
    return method
