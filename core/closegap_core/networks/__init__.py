"""The family of networks: one file and one line each."""

from __future__ import annotations

from collections.abc import Sequence

from closegap_core.config import AnyNetworkConfig, NetworkConfig
from closegap_core.networks.base import Network, Tape, stack
from closegap_core.networks.convolution import ImageDecoder, ImageEncoder
from closegap_core.networks.mlp import Mlp


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


__all__ = ["Mlp", "Network", "Tape", "decoder", "encoder", "stack"]
