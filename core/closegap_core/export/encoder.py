"""The graph of an encoder: the step functions of training, recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import onnx

from closegap_core.config import RefineConfig
from closegap_core.export.graph import Graph, Symbol
from closegap_core.export.recorded import FixedNoise, recorded
from closegap_core.export.turn import Carried, Turn
from closegap_core.export.vocabulary import OnnxOps
from closegap_core.generative import GenerativeModel, Signals
from closegap_core.model import Model
from closegap_core.posterior import Posterior

Draw = Callable[[Symbol], Symbol]
"""Noise (S, 1, Z) of a turn, by how many came before it (int64 scalar)."""


class Recorder(NamedTuple):
    """Records what a model does with rows x."""

    graph: Graph
    ops: OnnxOps
    generative: GenerativeModel
    theta: dict[str, Symbol]
    phi: dict[str, Symbol]
    x: Symbol

    def turns(self, turn: Turn, trips: Symbol, q: Posterior, draw: Draw | None, samples: int) -> Posterior:
        """q after `trips` turns."""
        known = turn.known(self.ops, self.phi, self.x)

        def body(t: Symbol, carried: Sequence[Symbol]) -> list[Symbol]:
            at, signals = _carried(carried), Signals(None, None)
            if draw is not None and any(turn.wanted):
                place = turn.place(self.ops, at, t)
                signals = self.generative.signals(
                    self.ops, self.theta, self.x, place, draw(t), samples, turn.wanted
                )
            return _values(turn.after(self.ops, self.phi, known, signals, at, t))

        return _carried(self.graph.loop(trips, _values(turn.first(self.ops, q)), body)).q


def build(
    model: Model, noise: FixedNoise, iterations: int, refine: RefineConfig | None = None
) -> onnx.ModelProto:
    """One self-contained model: x (batch, X) -> mean, log_var (batch, Z) and elbo (batch), nats.

    `iterations` (int64 scalar), `noise` (S, 1, Z) and `step_noise` (R, S, 1, Z), of a refiner's steps, are inputs with
    defaults where they mean anything. Loops, the decoder's VJP and each weight are in the file once. Raises
    ExportError as `recorded` does.
    """
    parts, graph = recorded(model, refine), Graph()
    x = graph.input("x", ["batch", model.width])
    theta, phi = (
        {name: graph.parameter(name, view.numpy()) for name, view in flat.views.items()}
        for flat in (model.theta, model.phi)
    )
    ops, generative = OnnxOps(graph), model.generative
    recorder = Recorder(graph, ops, generative, theta, phi, x)
    shared = graph.default("noise", noise.iterations) if parts.reads_noise else None
    draw = None if shared is None else lambda t: shared
    zeros, count, start = graph.zeros(x, generative.latent), len(noise.iterations), parts.start
    q = start.propose(ops, generative, theta, phi, x, zeros, shared if start.samples else None, count).q
    if parts.before is not None:
        q = recorder.turns(parts.before, graph.integer(parts.encoder.iterations), q, draw, count)
    if parts.last is not None:
        if parts.refine is not None:
            draw, count = _around(graph, graph.default("step_noise", noise.steps)), noise.steps.shape[1]
        trips = graph.default("iterations", np.array(iterations, np.int64))
        q = recorder.turns(parts.last, trips, q, draw, count)
    elbo = generative.bound(ops, theta, x, q, graph.parameter("elbo_noise", noise.elbo), len(noise.elbo)).elbo
    return graph.build(
        "encoder",
        [
            ("mean", q.mean, ["batch", generative.latent]),
            ("log_var", q.log_var, ["batch", generative.latent]),
            ("elbo", elbo, ["batch"]),
        ],
    )


def _around(graph: Graph, table: Symbol) -> Draw:
    """The draws of a table (R, S, 1, Z), one a turn, again and again."""

    def draw(t: Symbol) -> Symbol:
        turn = graph.emit("Mod", [t, graph.integer(graph.shape(table)[0])], None)
        return graph.emit("Gather", [table, turn], table.width, axis=0)

    return draw


def _values(carried: Carried) -> list[Symbol]:
    """What a loop carries from one turn to the next."""
    return [*carried.q, *carried.rest]


def _carried(values: Sequence[Symbol]) -> Carried:
    mean, log_var, *rest = values
    return Carried(Posterior(mean, log_var), tuple(rest))
