"""The family of networks: one file and one line each."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config import (
    AnyNetworkConfig,
    IteratedMlpConfig,
    IteratedNetworkConfig,
    NetworkConfig,
    RecurrentConfig,
)
from closegap_core.networks.base import IteratedNetwork, Moment, Network, Passed, Tape, stack
from closegap_core.networks.batch_norm import NormalisedMlp
from closegap_core.networks.convolution import ImageDecoder, ImageEncoder
from closegap_core.networks.mlp import Mlp
from closegap_core.networks.recurrent import Recurrent


def decoder(name: str, config: AnyNetworkConfig, inputs: int, outputs: int, shape: Sequence[int]) -> Network:
    """(R, inputs) -> (R, outputs); shape: of a row of data. Raises ConfigError when it is no image that fits."""
    if isinstance(config, NetworkConfig):
        return Mlp(name, config, (inputs,), outputs)
    return ImageDecoder(name, config, inputs, outputs, shape)


def encoder(
    name: str,
    config: AnyNetworkConfig,
    inputs: tuple[int, int],
    outputs: int,
    heads: int,
    shape: Sequence[int],
) -> Network:
    """inputs: widths of the data and of what varies; shape: of a row of data. Raises ConfigError as `decoder`."""
    if isinstance(config, NetworkConfig):
        return Mlp(name, config, inputs, outputs, heads)
    return ImageEncoder(name, config, inputs[1], outputs, heads, shape)


def iterated_encoder(
    name: str,
    config: AnyNetworkConfig | IteratedNetworkConfig,
    inputs: tuple[int, int],
    outputs: int,
    heads: int,
    shape: Sequence[int],
    iterations: int,
) -> IteratedNetwork:
    """As `encoder`, of one that runs once an iteration; iterations: T of training."""
    if isinstance(config, RecurrentConfig):
        return Recurrent(name, config, inputs, outputs, heads)
    if isinstance(config, IteratedMlpConfig) and config.batch_norm:
        return NormalisedMlp(name, config, inputs, outputs, heads, iterations)
    return encoder(name, config, inputs, outputs, heads, shape)


__all__ = [
    "IteratedNetwork",
    "Mlp",
    "Moment",
    "Network",
    "Passed",
    "Tape",
    "decoder",
    "encoder",
    "iterated_encoder",
    "stack",
]
