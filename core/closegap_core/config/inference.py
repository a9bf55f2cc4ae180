"""How q is reached: encoders, refiners, and both together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from closegap_core.config.base import Config, named
from closegap_core.config.model import AnyNetworkConfig, NetworkConfig

Encoding = Literal["data", "gradient", "error", "estimate"]
Samples = Annotated[int, Field(ge=1, le=10_000, description="Monte-Carlo samples S of an ELBO estimate.")]


Encoders = Annotated[
    tuple[AnyNetworkConfig, ...] | None,
    Field(description="One network a level, nearest the data first, in place of `encoder`."),
]


class StandardConfig(Config):
    """The variational auto-encoder's encoder: x to q(z|x) in one pass (Kingma & Welling 2014)."""

    method: Literal["standard"] = "standard"
    encoder: AnyNetworkConfig = NetworkConfig()
    encoders: Encoders = None
    samples: Samples = 1


class IterativeConfig(Config):
    """Iterative amortized inference (Marino, Yue & Mandt 2018): encode signals of the ELBO, update q, repeat."""

    method: Literal["iterative"] = "iterative"
    encode: tuple[Encoding, ...] = Field(
        ("data", "gradient", "estimate"),
        min_length=1,
        description="What the encoder sees; each at most once.",
    )
    normalise: Literal["none", "layer", "log_sign"] = Field(
        "layer", description="How gradients and errors are scaled, each block of each row by itself."
    )
    update: Literal["direct", "additive", "gated", "learned_sgd", "natural"] = "gated"
    encoder: AnyNetworkConfig = NetworkConfig(connection="highway")
    encoders: Encoders = None
    iterations: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Inference iterations T in training."
    )
    samples: Samples = 1
    loss_weights: Literal["uniform", "linear", "last"] = Field(
        "uniform",
        description="Share of iteration t in what the encoder learns: 1/T, in proportion to t, or only t = T.",
    )
    iterations_drawn: Literal["fixed", "uniform", "growing"] = Field(
        "fixed",
        description="Of each training step: T, drawn from 1 … T, or from 1 up to T over the first half of the epochs.",
    )

    online: bool = Field(
        False, description="The encoder makes a step after each iteration, in place of one for their mean."
    )

    @model_validator(mode="after")
    def _encodings_make_sense(self) -> IterativeConfig:
        if self.online and self.loss_weights != "uniform":
            raise ValueError(
                f"online steps have no loss_weights, they are {self.loss_weights!r}; leave one out"
            )
        if len(set(self.encode)) != len(self.encode):
            raise ValueError(f"encode names a block twice: {list(self.encode)}")
        if set(self.encode) == {"estimate"}:
            raise ValueError("encode must have at least one of data, gradient, error beside the estimate")
        return self


class RefinerConfig(Config):
    """A rule that moves each row's own q along the gradient of its ELBO."""

    kind: Literal["sgd", "momentum", "rmsprop", "adam", "natural", "newton"] = "adam"
    learning_rate: float = Field(0.1, gt=0, le=10, description="Of the per-row gradient.")
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


class SviConfig(Config):
    """Stochastic variational inference: each row's own (mean, log_var) from the prior, no encoder."""

    method: Literal["svi"] = "svi"
    iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(20, description="Steps on q for each batch.")
    refiner: Refiner = RefinerConfig()
    samples: Samples = 1


class HybridConfig(Config):
    """An encoder's proposal refined for each batch; the encoder learns at its own output (Krishnan et al. 2018)."""

    method: Literal["hybrid"] = "hybrid"
    encoder: AnyNetworkConfig = NetworkConfig()
    encoders: Encoders = None
    iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(20, description="Steps on q for each batch.")
    refiner: Refiner = RefinerConfig(learning_rate=0.01)
    samples: Samples = 1


class SemiAmortizedConfig(Config):
    """An encoder's proposal refined, and learned from through the refinement (Kim et al. 2018)."""

    method: Literal["semi_amortized"] = "semi_amortized"
    encoder: AnyNetworkConfig = NetworkConfig()
    encoders: Encoders = None
    iterations: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Steps that are differentiated through."
    )
    refiner: Refiner = RefinerConfig(kind="momentum", learning_rate=0.01, momentum=0.5)
    samples: Samples = 1


InferenceConfig = Annotated[
    StandardConfig | IterativeConfig | SviConfig | HybridConfig | SemiAmortizedConfig,
    Field(discriminator="method"),
    named("method"),
]
