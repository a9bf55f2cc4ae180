"""Encoders: what proposes q from x, in one pass or in iterations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from closegap_core.config.base import Config, named
from closegap_core.config.model import (
    AnyNetworkConfig,
    IteratedMlpConfig,
    IteratedNetworkConfig,
    NetworkConfig,
    RecurrentConfig,
)

Encoding = Literal["data", "gradient", "error", "estimate"]


class EncoderConfig(Config):
    """What every encoder has: networks."""

    encoder: AnyNetworkConfig | IteratedNetworkConfig = NetworkConfig()
    encoders: tuple[AnyNetworkConfig | IteratedNetworkConfig, ...] | None = Field(
        None, description="One network a level, nearest the data first, in place of `encoder`."
    )

    @property
    def encoded(self) -> tuple[Encoding, ...]:
        """What the networks see."""
        return ("data",)

    @property
    def batch_norm(self) -> bool:
        """Whether a network of it has statistics of the batch."""
        return any(
            isinstance(network, IteratedMlpConfig) and network.batch_norm for network in self.networks(1)
        )

    def networks(self, depth: int) -> tuple[AnyNetworkConfig | IteratedNetworkConfig, ...]:
        """Of each of `depth` levels, nearest the data first."""
        return self.encoders or (self.encoder,) * depth


class OnePassConfig(EncoderConfig):
    """An encoder that runs once: x to q."""

    encoder: AnyNetworkConfig = NetworkConfig()
    encoders: tuple[AnyNetworkConfig, ...] | None = Field(
        None, description="One network a level, nearest the data first, in place of `encoder`."
    )

    def networks(self, depth: int) -> tuple[AnyNetworkConfig, ...]:
        return self.encoders or (self.encoder,) * depth


class StandardStart(OnePassConfig):
    """The variational auto-encoder's encoder: x to q(z|x) in one pass (Kingma & Welling 2014)."""

    method: Literal["standard"] = "standard"


class LadderStart(OnePassConfig):
    """A pass up for what the data say of each level, and a pass down that meets its prior (Sønderby et al. 2016)."""

    method: Literal["ladder"] = "ladder"


OnePassStart = Annotated[StandardStart | LadderStart, Field(discriminator="method"), named("method")]


class IterativeStart(EncoderConfig):
    """Iterative amortized inference (Marino, Yue & Mandt 2018): encode signals of the ELBO, update q, repeat."""

    method: Literal["iterative"] = "iterative"
    start: OnePassStart | None = Field(
        None, description="What iteration 0 is: the prior, or an encoder that learns at its own output."
    )
    encode: tuple[Encoding, ...] = Field(
        ("data", "gradient", "estimate"),
        min_length=1,
        description="What the encoder sees; each at most once.",
    )
    normalise: Literal["none", "layer", "log_sign"] = Field(
        "layer", description="How gradients and errors are scaled, each block of each row by itself."
    )
    update: Literal["direct", "additive", "gated", "learned_sgd", "natural"] = "gated"
    encoder: IteratedNetworkConfig = IteratedMlpConfig(connection="highway")
    encoders: tuple[IteratedNetworkConfig, ...] | None = Field(
        None, description="One network a level, nearest the data first, in place of `encoder`."
    )
    iterations: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Inference iterations T in training."
    )
    loss_weights: Literal["uniform", "linear", "last"] = Field(
        "uniform",
        description="Share of iteration t in what the encoder learns: 1/T, in proportion to t, or only t = T.",
    )
    backprop_through_iterations: bool = Field(
        False,
        description="Signals and earlier iterates are differentiated too, in place of constants; memory grows with T.",
    )

    @property
    def by_autograd(self) -> str | None:
        """Why it does not learn by the hand-written backward of its networks; None where it does."""
        if self.backprop_through_iterations:
            return "backprop_through_iterations is true"
        for network in self.networks(1):
            if isinstance(network, RecurrentConfig):
                return f"an encoder of kind {network.kind} learns from all iterations together"
        return "an encoder has batch_norm" if self.batch_norm else None

    @property
    def encoded(self) -> tuple[Encoding, ...]:
        return self.encode

    @model_validator(mode="after")
    def _encodings_make_sense(self) -> IterativeStart:
        if len(set(self.encode)) != len(self.encode):
            raise ValueError(f"encode names a block twice: {list(self.encode)}")
        if set(self.encode) == {"estimate"}:
            raise ValueError("encode must have at least one of data, gradient, error beside the estimate")
        return self


AnyStart = Annotated[
    StandardStart | LadderStart | IterativeStart,
    Field(discriminator="method", description="The encoder whose last q the refiner starts from."),
    named("method"),
]


def encoders_of(inference: Config | None) -> Iterator[tuple[str, EncoderConfig]]:
    """Every encoder of an inference method and where it is: `inference`, `inference.start`, …"""
    path = "inference"
    while inference is not None:
        if isinstance(inference, EncoderConfig):
            yield path, inference
        inference, path = getattr(inference, "start", None), f"{path}.start"
