"""The encoder of one latent level: what it sees, and what it passes up to the level above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

from closegap_core.config import AnyNetworkConfig, IteratedNetworkConfig, IterativeStart
from closegap_core.generative import Signals
from closegap_core.hierarchy import Hierarchy
from closegap_core.networks import Moment, Passed, iterated_encoder
from closegap_core.normalisation import NORMALISATIONS
from closegap_core.ops import Ops, Value
from closegap_core.posterior import Posterior
from closegap_core.updates import UPDATES, Step


class LevelSignals(NamedTuple):
    """One level's share: its own gradient, the error below it, its own error."""

    gradient: Posterior | None
    below: Value | None
    own: Value | None


class LevelStep(NamedTuple):
    """One level's update, what its network gave, and what it passes up: [mean of the new q, units] (B, Z_l + U_l)."""

    step: Step
    passed: Passed
    upward: Value


def by_level(ops: Ops, hierarchy: Hierarchy, signals: Signals) -> list[LevelSignals]:
    """The signals of all levels, level by level."""
    depth = hierarchy.depth
    gradients: list[Posterior | None] = [None] * depth
    if signals.gradient is not None:
        parts = [hierarchy.split(ops, part) for part in signals.gradient]
        gradients = [Posterior(*pair) for pair in zip(*parts, strict=True)]
    below: list[Value | None] = [None] * depth
    own: list[Value | None] = [None] * depth
    if signals.error is not None:
        own = list(hierarchy.split(ops, signals.error.latent))
        below = [signals.error.data, *own[:-1]]
    return [LevelSignals(*parts) for parts in zip(gradients, below, own, strict=True)]


@final
class LevelEncoder:
    """Structure only. `level` counts from 0, nearest the data."""

    def __init__(
        self,
        config: IterativeStart,
        network: AnyNetworkConfig | IteratedNetworkConfig,
        hierarchy: Hierarchy,
        level: int,
        prefix: str = "",
    ) -> None:
        self.level, self.latent = level, hierarchy.latents[level]
        self.encodes = frozenset(config.encode)
        # Who does not encode the data hears nothing from below: units would have no reader.
        self.units = hierarchy.units[level] if "data" in self.encodes else 0
        self.rule = UPDATES[config.update]
        self.normalisation = NORMALISATIONS[config.normalise]
        self.sees_data = "data" in self.encodes and (level == 0 or hierarchy.skip)
        self.upward_from = self._lower_levels(hierarchy) if "data" in self.encodes else ()
        self.upward_widths = [hierarchy.latents[i] + hierarchy.units[i] for i in self.upward_from]
        data = hierarchy.width * self.sees_data
        self.network = iterated_encoder(
            f"{prefix}encoder.{level + 1}",
            network,
            (data, self._varying(hierarchy)),
            self.rule.heads * self.latent + self.units,
            self.rule.heads,
            hierarchy.shape,
            config.iterations,
        )

    def _lower_levels(self, hierarchy: Hierarchy) -> tuple[int, ...]:
        return tuple(range(self.level)) if hierarchy.skip else tuple(range(self.level))[-1:]

    def _varying(self, hierarchy: Hierarchy) -> int:
        factor = self.normalisation.factor
        below = hierarchy.width if self.level == 0 else hierarchy.latents[self.level - 1]
        return (
            2 * self.latent * factor * ("gradient" in self.encodes)
            + (below + self.latent) * factor * ("error" in self.encodes)
            + 2 * self.latent * ("estimate" in self.encodes)
            + sum(self.upward_widths)
        )

    def encode(self, ops: Ops, signals: LevelSignals, q: Posterior, upward: Sequence[Value]) -> Value | None:
        """The varying input (B, R): normalised gradients and errors, the estimate as it is, what comes from below."""
        blocks: list[Value] = []
        if signals.gradient is not None and "gradient" in self.encodes:
            blocks += [self.normalisation.apply(ops, block) for block in signals.gradient]
        if "error" in self.encodes:
            blocks += [self.normalisation.apply(ops, block) for block in (signals.below, signals.own)]
        if "estimate" in self.encodes:
            blocks += [q.mean, q.log_var]
        blocks += [upward[i] for i in self.upward_from]
        return ops.concat(blocks) if blocks else None

    def update(
        self,
        ops: Ops,
        phi: Mapping[str, Value],
        constant: Value | None,
        signals: LevelSignals,
        q: Posterior,
        upward: Sequence[Value],
        moment: Moment,
    ) -> LevelStep:
        """The level's next q (Marino et al. 2018, eq. 6), lower levels having been updated before it."""
        varying = self.encode(ops, signals, q, upward)
        passed = self.network.advance(ops, phi, varying, constant, moment)
        heads, units = passed.out, None
        if self.units:
            heads, units = ops.split(heads, [self.rule.heads * self.latent, self.units])
        step = self.rule.apply(ops, heads, q, signals.gradient, self.latent)
        return LevelStep(step, passed, step.q.mean if units is None else ops.concat([step.q.mean, units]))
