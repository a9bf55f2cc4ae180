"""The graph of an encoder: the step functions of training, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx

from closegap_core.config import ExportConfig
from closegap_core.errors import ExportError
from closegap_core.export.graph import Graph, Symbol
from closegap_core.export.vocabulary import OnnxOps
from closegap_core.generative import Signals
from closegap_core.inference.amortized import Amortized, Iterate
from closegap_core.inference.one_pass import OnePass
from closegap_core.inference.start import Start
from closegap_core.model import Model
from closegap_core.posterior import Posterior

_ITERATION_DRAWS, _ELBO_DRAWS = 1, 2


class FixedNoise(NamedTuple):
    """The noise inside a file: of the iterations (S, 1, Z) and of the reported ELBO (E, 1, Z), float32.

    All rows share it, so an encoding depends on no other row, no position and no earlier call. It comes in
    antithetic pairs (e, -e), whose mean is exactly zero.
    """

    iterations: np.ndarray
    elbo: np.ndarray


def fixed_noise(config: ExportConfig, latent: int) -> FixedNoise:
    """The noise that `config` decides by its seed."""
    return FixedNoise(
        _antithetic(config.samples, latent, config.seed, _ITERATION_DRAWS),
        _antithetic(config.elbo_samples, latent, config.seed, _ELBO_DRAWS),
    )


def is_iterative(model: Model) -> bool:
    """Whether a further iteration changes q, so that the file has the input `iterations`."""
    return isinstance(exported(model), Amortized)


def reads_noise(model: Model) -> bool:
    """Whether the encoder looks at samples of z, so that the file has the input `noise`."""
    method = exported(model)
    encodes = isinstance(method, Amortized) and (method.wanted.gradient or method.wanted.error)
    return encodes or start_of(model).samples


def start_of(model: Model) -> Start:
    """What proposes the first q, which without iterations is the last."""
    method = exported(model)
    return method.encoder if isinstance(method, OnePass) else method.start


def exported(model: Model) -> Amortized | OnePass:
    """The model's inference method. Raises ExportError when it is not only an encoder."""
    if model.method.auxiliary:
        raise ExportError(
            f"inference method {model.config.inference.method!r} gives no diagonal Gaussian that a file could hold; "
            "accepted: standard, ladder, iterative"
        )
    if not isinstance(model.method, Amortized | OnePass):
        name = model.config.inference.method
        raise ExportError(
            f"inference method {name!r} is more than an encoder and cannot be exported; "
            "accepted: standard, ladder, iterative"
        )
    return model.method


def build(model: Model, noise: FixedNoise, iterations: int) -> onnx.ModelProto:
    """One self-contained model: x (batch, X) -> mean, log_var (batch, Z) and elbo (batch), nats.

    `iterations` (int64 scalar) and `noise` (S, 1, Z) are inputs with defaults where they mean anything. The loop,
    the decoder's VJP and each weight are in the file once. Raises ExportError when there is no encoder.
    """
    method, generative = exported(model), model.generative
    graph = Graph()
    ops = OnnxOps(graph)
    x = graph.input("x", ["batch", model.width])
    theta, phi = (
        {name: graph.parameter(name, view.numpy()) for name, view in flat.views.items()}
        for flat in (model.theta, model.phi)
    )
    draws = graph.default("noise", noise.iterations) if reads_noise(model) else None
    count, zeros = len(noise.iterations), graph.zeros(x, generative.latent)
    start = start_of(model)
    q = start.propose(ops, generative, theta, phi, x, zeros, draws if start.samples else None, count).q
    if isinstance(method, Amortized):
        constant, trips = (
            method.constant(ops, phi, x),
            graph.default("iterations", np.array(iterations, np.int64)),
        )

        def step(t: Symbol, carried: Sequence[Symbol]) -> list[Symbol]:
            signals, now = Signals(None, None), _iterate(carried)
            if draws is not None and (method.wanted.gradient or method.wanted.error):
                signals = generative.signals(ops, theta, x, now.q, draws, count, method.wanted)
            return _carried(method.update(ops, phi, constant, signals, now, t).after)

        state = graph.zeros(x, method.state_width) if method.state_width else None
        q = _iterate(graph.loop(trips, _carried(Iterate(q, state)), step)).q
    elbo = generative.bound(ops, theta, x, q, graph.parameter("elbo_noise", noise.elbo), len(noise.elbo)).elbo
    return graph.build(
        "encoder",
        [
            ("mean", q.mean, ["batch", generative.latent]),
            ("log_var", q.log_var, ["batch", generative.latent]),
            ("elbo", elbo, ["batch"]),
        ],
    )


def _carried(iterate: Iterate) -> list[Symbol]:
    """What a loop carries from one iteration to the next."""
    return [*iterate.q, *([] if iterate.state is None else [iterate.state])]


def _iterate(carried: Sequence[Symbol]) -> Iterate:
    mean, log_var, *state = carried
    return Iterate(Posterior(mean, log_var), state[0] if state else None)


def _antithetic(count: int, latent: int, seed: int, purpose: int) -> np.ndarray:
    drawn = np.random.default_rng([seed, purpose]).standard_normal((count // 2, 1, latent), np.float32)
    return np.concatenate([drawn, -drawn])
