"""How q is reached: encoders, refiners, and both together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, named
from closegap_core.config.model import (
    AnyNetworkConfig,
    IteratedMlpConfig,
    IteratedNetworkConfig,
    NetworkConfig,
    RecurrentConfig,
)

Encoding = Literal["data", "gradient", "error", "estimate"]
Samples = Annotated[int, Field(ge=1, le=10_000, description="Monte-Carlo samples S of an ELBO estimate.")]


def paired(draws: str, samples: int) -> None:
    """Raises ValueError where draws come in pairs and the samples do not."""
    if draws != "independent" and samples % 2:
        raise ValueError(
            f"draws are {draws}, which come in pairs, but samples is {samples}; give an even number"
        )


class SampledConfig(Config):
    """What every method has: draws of z at each iteration, for its signals and for what it learns."""

    samples: Samples = 1
    draws: Literal["independent", "antithetic"] = Field(
        "independent",
        description="How the samples of an iteration relate; antithetic ones come in pairs, so S is even.",
    )

    @model_validator(mode="after")
    def _samples_have_partners(self) -> Self:
        paired(self.draws, self.samples)
        return self

    @model_validator(mode="after")
    def _pairs_leave_a_sign(self) -> Self:
        if self.draws == "independent":
            return self
        for path, encoder in encoders_of(self):
            if getattr(encoder, "normalise", None) == "log_sign" and "error" in encoder.encoded:
                raise ValueError(
                    f"{path} encodes the sign of errors (normalise is log_sign), which {self.draws} draws bring to "
                    "zero but for rounding where q is the prior; normalise by layer, or leave draws independent"
                )
        return self


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


class StandardConfig(StandardStart, SampledConfig):
    """The standard encoder by itself."""


class LadderStart(OnePassConfig):
    """A pass up for what the data say of each level, and a pass down that meets its prior (Sønderby et al. 2016)."""

    method: Literal["ladder"] = "ladder"


class LadderConfig(LadderStart, SampledConfig):
    """The ladder encoder by itself."""


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


class IterativeConfig(IterativeStart, SampledConfig):
    """Iterative inference by itself."""

    iterations_drawn: Literal["fixed", "uniform", "growing"] = Field(
        "fixed",
        description="Of each training step: T, drawn from 1 … T, or from 1 up to T over the first half of the epochs.",
    )
    online: bool = Field(
        False, description="The encoder makes a step after each iteration, in place of one for their mean."
    )

    @model_validator(mode="after")
    def _online_steps_are_of_one_encoder(self) -> IterativeConfig:
        if self.online and self.loss_weights != "uniform":
            raise ValueError(
                f"online steps have no loss_weights, they are {self.loss_weights!r}; leave one out"
            )
        if self.online and self.start is not None:
            raise ValueError("online steps are of one encoder alone, but there is a start; leave one out")
        if self.online and self.by_autograd:
            raise ValueError(
                f"online steps are of one iteration alone, but {self.by_autograd}; leave one out"
            )
        return self


class RefinerConfig(Config):
    """A rule that moves each row's own q along the gradient of its ELBO."""

    kind: Literal["sgd", "momentum", "rmsprop", "adam", "natural", "newton"] = "adam"
    learning_rate: float = Field(0.1, gt=0, le=10, description="Of the per-row gradient.")
    clip: float | None = Field(
        None, gt=0, description="Longest gradient of a row, by its norm; a longer one is shortened to it."
    )
    momentum: float = Field(0.6, ge=0, lt=1, description="Of `momentum`, `natural` and `newton`.")
    anneal: float = Field(
        3.0, gt=0, description="Of `newton`: after so many steps rate and momentum are halved."
    )
    trust: float = Field(
        8.0, gt=0, description="Of `newton`: steps that the variance it starts from counts for."
    )
    draws: Literal["independent", "antithetic", "signs"] = Field(
        "independent",
        description="How the samples of a step relate; the latter two come in pairs, so S is even.",
    )


Refiner = Annotated[RefinerConfig, named("kind")]


class RefinedConfig(SampledConfig):
    """What every method with a refiner has."""

    refiner: Refiner = RefinerConfig()

    @model_validator(mode="after")
    def _draws_have_partners(self) -> Self:
        paired(self.refiner.draws, self.samples)
        return self


class SviConfig(RefinedConfig):
    """Stochastic variational inference: each row's own (mean, log_var) from the prior, no encoder."""

    method: Literal["svi"] = "svi"
    iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(20, description="Steps on q for each batch.")


AnyStart = Annotated[
    StandardStart | LadderStart | IterativeStart,
    Field(discriminator="method", description="The encoder whose last q the refiner starts from."),
    named("method"),
]


class HybridConfig(RefinedConfig):
    """An encoder's q refined for each batch; the encoder learns at its own output (Krishnan et al. 2018)."""

    method: Literal["hybrid"] = "hybrid"
    start: AnyStart = StandardStart()
    iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(20, description="Steps on q for each batch.")
    refiner: Refiner = RefinerConfig(learning_rate=0.01)


class SemiAmortizedConfig(RefinedConfig):
    """An encoder's q refined, and learned from through the refinement (Kim et al. 2018)."""

    method: Literal["semi_amortized"] = "semi_amortized"
    start: AnyStart = StandardStart()
    iterations: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Steps that are differentiated through."
    )
    refiner: Refiner = RefinerConfig(kind="momentum", learning_rate=0.01, momentum=0.5)
    differentiate: Literal["exact", "finite_difference"] = Field(
        "exact", description="Second derivatives by autograd, or by differences: less memory, small errors."
    )

    @model_validator(mode="after")
    def _start_has_no_statistics(self) -> SemiAmortizedConfig:
        if self.start.batch_norm:
            raise ValueError(
                "an encoder has batch_norm, but semi_amortized inference differentiates through it as it is evaluated, "
                "without a batch's statistics; leave it out"
            )
        return self


class AuxiliaryFlowConfig(SampledConfig):
    """An encoder whose q is an auxiliary flow, not a diagonal Gaussian (Cremer, Li & Duvenaud 2018)."""

    method: Literal["flow"] = "flow"
    encoder: AnyNetworkConfig = Field(
        NetworkConfig(), description="From x to z_0 of all levels and to the features that the flow is told."
    )
    auxiliary: PositiveInt | None = Field(
        None, description="Dimensions of the auxiliary v; absent: as many as z."
    )
    features: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        None, description="Features of x that every network of the flow sees; absent: as many as z."
    )
    couplings: PositiveInt = Field(2, description="Coupling steps, each of v given z, then of z given v.")
    network: NetworkConfig = Field(
        NetworkConfig(hidden=(200,)), description="Each of the flow's networks, 2 a coupling step and 2 more."
    )


InferenceConfig = Annotated[
    StandardConfig
    | LadderConfig
    | IterativeConfig
    | SviConfig
    | HybridConfig
    | SemiAmortizedConfig
    | AuxiliaryFlowConfig,
    Field(discriminator="method"),
    named("method"),
]


def encoders_of(inference: Config | None) -> Iterator[tuple[str, EncoderConfig]]:
    """Every encoder of an inference method and where it is: `inference`, `inference.start`, …"""
    path = "inference"
    while inference is not None:
        if isinstance(inference, EncoderConfig):
            yield path, inference
        inference, path = getattr(inference, "start", None), f"{path}.start"
