"""The matrix products that a training step and an encoding cannot do without, counted from the model's weights.

A product of (m, k) and (k, n) is 2 m k n FLOP; nothing else is counted. For B rows, S samples, T iterations, with
P_d the decoder's weights, P_x the encoder's weights that multiply the data, P_r its other weights and P_1 those of
P_r in its first layer:

    decoder pass        D = 2 S B P_d                    forward, or vector-Jacobian product, or weight gradient
    training step       [(T + s) forward + (T + g) VJP + 1 weight gradient] D
                        + forward: 2 B (P_x + T P_r) + weight gradient: the same + VJP: 2 T B (P_r − P_1)
    encoding            T (s forward + g VJP) D + 2 B (P_x + T P_r) + one forward D with the ELBO's samples

g is 1 where gradients are encoded, s where gradients or errors are (the prior's own signals are needed then), and 0
elsewhere; the data is multiplied once a step. In training the last iterate's VJP gives phi its gradient; in encoding
there is no signal after the last update. Models of one level only.
"""

from __future__ import annotations

from dataclasses import dataclass

from closegap_core.inference.amortized import Amortized
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.standard import Standard
from closegap_core.model import Model


@dataclass(frozen=True)
class Weights:
    """Numbers of weights, biases excluded: what the formulas above are made of."""

    decoder: int
    data: int
    other: int
    other_first: int

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Count them."""
        matrices = {name: view.numel() for name, view in model.parameters().items() if view.ndim == 2}
        encoder = {name: count for name, count in matrices.items() if name.startswith("encoder.")}
        first = {name: count for name, count in encoder.items() if name.startswith("encoder.1.0.")}
        data = first.get("encoder.1.0.weight_0", 0)
        return cls(
            decoder=sum(count for name, count in matrices.items() if name.startswith("decoder.")),
            data=data,
            other=sum(encoder.values()) - data,
            other_first=sum(first.values()) - data,
        )


def training_step(model: Model, rows: int) -> float:
    """FLOP of one training step on so many rows."""
    method = _amortized(model)
    weights, iterations = Weights.of(model), method.iterations
    decoder = 2 * model.config.inference.samples * rows * weights.decoder
    passes = 2 * iterations + (method.wanted.gradient or method.wanted.error) + method.wanted.gradient + 1
    encoder = 2 * rows * (weights.data + iterations * weights.other)
    to_hidden = 2 * iterations * rows * (weights.other - weights.other_first)
    return float(passes * decoder + 2 * encoder + to_hidden)


def encoding(model: Model, iterations: int, samples: int, elbo_samples: int) -> float:
    """FLOP of encoding one row."""
    method = _amortized(model)
    weights = Weights.of(model)
    passes = iterations * samples * ((method.wanted.gradient or method.wanted.error) + method.wanted.gradient)
    encoder = weights.data + iterations * weights.other
    return float(2 * ((passes + elbo_samples) * weights.decoder + encoder))


def _amortized(model: Model) -> Amortized:
    method = model.method
    if isinstance(method, OnePass) and isinstance(method.encoder, Standard):
        method = method.encoder.encoder
    if not isinstance(method, Amortized) or method.start.learns or len(model.config.model.levels) != 1:
        raise TypeError(f"only encoders of one level are counted, not {type(method).__name__}")
    return method
