"""The generative model: likelihood, latent levels, networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from closegap_core.config.base import Config, Widths, assumed, named

Activation = Literal["elu", "relu", "tanh", "sigmoid", "leaky_relu"]
Connection = Annotated[
    Literal["sequential", "residual", "highway"], Field(description="Of fully connected layers.")
]


class NetworkConfig(Config):
    """A fully connected network."""

    kind: Literal["mlp"] = "mlp"
    hidden: Widths = Field((512, 512), description="Widths of the hidden layers; empty is one linear map.")
    activation: Activation = "elu"
    connection: Connection = "sequential"


class IteratedMlpConfig(NetworkConfig):
    """A fully connected network of an iterative encoder."""

    batch_norm: bool = Field(False, description="Of hidden layers, with statistics for each iteration.")

    @model_validator(mode="after")
    def _normalises_something(self) -> IteratedMlpConfig:
        if self.batch_norm and not self.hidden:
            raise ValueError("batch_norm is true, but hidden is empty; hidden layers are what is normalised")
        return self


class ConvolutionConfig(Config):
    """Strided convolutions between images and fully connected layers, one written for encoder and decoder alike.

    An encoder's convolutions see the data only: gradients, errors and estimates enter at the first fully connected
    layer. A decoder runs the same layers backwards, from fully connected ones to transposed convolutions.
    """

    kind: Literal["convolution"] = "convolution"
    channels: Widths = Field(
        (32, 64), min_length=1, description="Of each layer, nearest the image first; each divides its sides."
    )
    kernel: PositiveInt = Field(4, description="Side of the square kernels; stride plus an even number.")
    stride: PositiveInt = Field(2, description="Each layer divides height and width by it, without a rest.")
    hidden: Widths = Field((256,), description="Widths of the fully connected layers, from input to output.")
    activation: Activation = "elu"
    connection: Connection = "sequential"

    @model_validator(mode="after")
    def _kernel_fits_stride(self) -> ConvolutionConfig:
        rest = self.kernel - self.stride
        if rest < 0 or rest % 2:
            raise ValueError(
                f"kernel is {self.kernel} and stride {self.stride}; the kernel must be the stride plus an even "
                f"number, such as {self.stride + 2}, so that each layer divides the sides exactly"
            )
        return self


class RecurrentConfig(Config):
    """A recurrent network: each iteration finds what the one before left in its state, which begins at zero."""

    kind: Literal["lstm", "gru"]
    hidden: Widths = Field(
        (256,), min_length=1, description="Widths of the layers of cells, from input to output."
    )


def _unnormalised(value: Any) -> Any:
    if isinstance(value, dict) and value.get("batch_norm"):
        raise ValueError(
            f"batch_norm is {value['batch_norm']}, but only iterative encoders can have it: what a decoder makes of a "
            "row must not depend on the rows beside it; leave it out. For a one-pass encoder write method iterative "
            "with encode [data], normalise none, update direct, iterations 1"
        )
    return value


AnyNetworkConfig = Annotated[
    NetworkConfig | ConvolutionConfig,
    Field(discriminator="kind", json_schema_extra={"assumed": "mlp"}),
    assumed("kind", "mlp"),
    BeforeValidator(_unnormalised),
]

IteratedNetworkConfig = Annotated[
    IteratedMlpConfig | ConvolutionConfig | RecurrentConfig,
    Field(discriminator="kind", json_schema_extra={"assumed": "mlp"}),
    assumed("kind", "mlp"),
]
"""Of an encoder that runs once an iteration."""


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
    decoder: AnyNetworkConfig = NetworkConfig()
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

    @model_validator(mode="after")
    def _only_images_come_from_convolutions(self) -> ModelConfig:
        for number, level in enumerate(self.levels[1:], start=2):
            if level.decoder.kind == "convolution":
                raise ValueError(
                    f"the decoder of level {number} gives latents, not an image: it cannot be a convolution; "
                    "only that of level 1 can"
                )
        return self
