"""The generative model: likelihood, latent levels, networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, Widths, named


class NetworkConfig(Config):
    """A fully connected network."""

    hidden: Widths = Field((512, 512), description="Widths of the hidden layers; empty is one linear map.")
    activation: Literal["elu", "relu", "tanh", "sigmoid", "leaky_relu"] = "elu"
    connection: Literal["sequential", "residual", "highway"] = "sequential"


class BernoulliConfig(Config):
    """p(x|z) = Bernoulli(sigmoid(decoder(z))); x in [0, 1]."""

    kind: Literal["bernoulli"] = "bernoulli"


Variance = Annotated[
    Literal["global", "dimension", "predicted"],
    Field(description="One learned variance, one a dimension, or the decoder's second output block."),
]


class GaussianConfig(Config):
    """p(x|z) = N(mean(z), diag exp(log_var)); x real."""

    kind: Literal["gaussian"] = "gaussian"
    mean: Literal["identity", "sigmoid"] = Field(
        "identity", description="What is applied to the decoder's output."
    )
    variance: Variance = "global"
    log_var: float = Field(
        0.0, ge=-7.0, le=15.0, description="Initial value, added to predictions; clamped to [-7, 15]."
    )


class DequantisedConfig(Config):
    """p(x|z) of 8-bit images: N(sigmoid(mean(z)), diag exp(log_var)) / 256 a dimension; x integers 0 … 255."""

    kind: Literal["dequantised"] = "dequantised"
    variance: Variance = "predicted"
    log_var: float = Field(
        -3.0, ge=-7.0, le=15.0, description="Initial value, added to predictions; clamped to [-7, 15]."
    )
    legacy: bool = Field(
        False,
        description="x = clip(pixel + U(-1/2, 1/2), 0, 255) / 255, as published, in place of (pixel + U(0, 1)) / 256.",
    )


class MultinomialConfig(Config):
    """p(x|z) = prod_v softmax(decoder(z))_v^x_v; x word counts. Encoders see TF-IDF vectors of length one."""

    kind: Literal["multinomial"] = "multinomial"
    simulated_words: PositiveInt = Field(
        100, description="Words of a simulated document; data keep their own."
    )


LikelihoodConfig = Annotated[
    BernoulliConfig | GaussianConfig | DequantisedConfig | MultinomialConfig,
    Field(discriminator="kind"),
    named("kind"),
]


class LevelConfig(Config):
    """One latent level, nearest to the data first. Its decoder gives the level below, or the data."""

    latent: PositiveInt = Field(description="Number of latent dimensions Z of the level.")
    decoder: NetworkConfig = NetworkConfig()
    units: Annotated[int, Field(ge=0, le=100_000)] = Field(
        0, description="Deterministic units beside z, in decoder and encoder; none at the top."
    )


class ModelConfig(Config):
    """The generative model p(x, z): a standard normal at the top, then level by level down to the likelihood."""

    likelihood: LikelihoodConfig
    levels: tuple[LevelConfig, ...] = Field(min_length=1, max_length=10)
    skip: bool = Field(
        False, description="Each level sees all levels above it, not only the next; encoders likewise."
    )
    prior_variance: Literal["predicted", "learned"] = Field(
        "predicted",
        description="Of the levels below the top: from the level above, or one vector for all rows.",
    )

    @model_validator(mode="after")
    def _top_has_no_units(self) -> ModelConfig:
        if self.levels[-1].units:
            raise ValueError(f"the top level cannot have deterministic units, it has {self.levels[-1].units}")
        return self
