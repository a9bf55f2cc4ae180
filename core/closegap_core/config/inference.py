"""How q is reached: encoders, refiners, and both together."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, named
from closegap_core.config.encoder import (
    AnyStart,
    IterativeStart,
    LadderStart,
    StandardStart,
    encoders_of,
)
from closegap_core.config.model import AnyNetworkConfig, NetworkConfig
from closegap_core.config.refiner import Refiner, RefinerConfig, Samples, paired


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


class StandardConfig(StandardStart, SampledConfig):
    """The standard encoder by itself."""


class LadderConfig(LadderStart, SampledConfig):
    """The ladder encoder by itself."""


class IterativeConfig(IterativeStart, SampledConfig):
    """Iterative inference by itself."""

    iterations_drawn: Literal["fixed", "uniform", "growing"] = Field(
        "fixed",
        description="Of each training step: T, drawn from 1 … T, or from 1 up to T over the first half of the epochs.",
    )
    average: bool = Field(
        False,
        description="After more than T iterations q is the mean of the iterates from T on, in place of the last.",
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
