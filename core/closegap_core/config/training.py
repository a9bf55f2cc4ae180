"""How a model learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, Seed
from closegap_core.config.data import DataConfig
from closegap_core.config.encoder import encoders_of
from closegap_core.config.inference import (
    AuxiliaryFlowConfig,
    InferenceConfig,
    IterativeConfig,
    SviConfig,
)
from closegap_core.config.model import ModelConfig


class TrainingConfig(Config):
    """Joint training of decoder (theta) and inference model (phi) by Adam."""

    epochs: PositiveInt = 40
    batch_size: PositiveInt = Field(64, description="Rows a step, over all ranks together.")
    learning_rate: float = Field(2e-4, gt=0, le=1)
    learning_rate_decay: float = Field(1.0, gt=0, le=1, description="Factor after each epoch.")
    seed: Seed = 0
    keep: Literal["best", "last"] = Field(
        "best", description="Weights kept: of the best validation bound, or the last."
    )
    objective: Literal["elbo", "iwae"] = Field(
        "elbo",
        description="What decoder and encoder learn from: the ELBO, or the importance-weighted bound of "
        "inference.samples draws (Burda et al. 2016). What an encoder is shown stays the ELBO's.",
    )
    kl_warmup: float = Field(
        0.0,
        ge=0,
        description="Epochs over which the weight of the KL rises linearly from 0 to 1, signals included.",
    )
    free_bits: float = Field(
        0.0, ge=0, le=100, description="Nats of each row's KL in each latent dimension that cost nothing."
    )
    encoder_steps: Annotated[int, Field(ge=1, le=1000)] = Field(
        1,
        description="Steps of the encoder for each batch; only at the last of them the decoder makes one too.",
    )
    model_samples: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight, beside the data's 1, of as many rows simulated from the model, which teach the encoder "
        "alone, against its overfitting (Zhang et al. 2022).",
    )
    checkpoint_every: PositiveInt = Field(1, description="Epochs between checkpoints.")
    threads: PositiveInt = Field(1, description="CPU threads of a rank.")


class TrainConfig(Config):
    """All that decides a trained model: two runs with equal values (and versions) give equal weights."""

    data: DataConfig
    model: ModelConfig
    inference: InferenceConfig
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _encoder_steps_need_an_encoder(self) -> TrainConfig:
        if isinstance(self.inference, SviConfig) and self.training.encoder_steps > 1:
            steps = self.training.encoder_steps
            raise ValueError(
                f"training.encoder_steps is {steps}, but inference method svi has no encoder; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _model_samples_need_an_encoder(self) -> TrainConfig:
        weight = self.training.model_samples
        if weight and isinstance(self.inference, SviConfig):
            raise ValueError(
                f"training.model_samples is {weight}, but inference method svi has no encoder; leave it out"
            )
        if weight and isinstance(self.inference, IterativeConfig) and self.inference.online:
            raise ValueError(
                f"training.model_samples is {weight}, but the encoder's steps are online, each on one iteration of the "
                "data; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _importance_needs_samples(self) -> TrainConfig:
        if self.training.objective == "elbo":
            return self
        if self.inference.samples < 2:
            raise ValueError(
                f"training.objective is iwae, which with inference.samples {self.inference.samples} is the ELBO; give "
                "at least 2 samples"
            )
        if self.training.free_bits:
            raise ValueError(
                f"training.free_bits is {self.training.free_bits}, but training.objective iwae has no KL that a bit "
                "could be free in; leave one out"
            )
        return self

    @property
    def batch_norm(self) -> bool:
        """Whether an encoder has statistics of the batch."""
        return any(part.batch_norm for _, part in encoders_of(self.inference))

    @model_validator(mode="after")
    def _batches_are_of_data(self) -> TrainConfig:
        if self.batch_norm and self.training.model_samples:
            raise ValueError(
                f"training.model_samples is {self.training.model_samples}, but an encoder has batch_norm, whose "
                "statistics would be those of data and simulated rows together; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _free_bits_need_a_kl_by_dimension(self) -> TrainConfig:
        if isinstance(self.inference, AuxiliaryFlowConfig) and self.training.free_bits:
            raise ValueError(
                f"training.free_bits is {self.training.free_bits}, but the KL of inference method flow does not come "
                "by dimension; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_encoder_a_level(self) -> TrainConfig:
        for path, part in encoders_of(self.inference):
            if part.encoders is not None and len(part.encoders) != len(self.model.levels):
                raise ValueError(
                    f"{path}.encoders has {len(part.encoders)} networks for {len(self.model.levels)} levels; "
                    "give one a level"
                )
        return self

    @model_validator(mode="after")
    def _convolutions_see_the_data(self) -> TrainConfig:
        for path, part in encoders_of(self.inference):
            for number, network in enumerate(part.networks(len(self.model.levels)), start=1):
                sees_data = "data" in part.encoded and (number == 1 or self.model.skip)
                if network.kind == "convolution" and not sees_data:
                    raise ValueError(
                        f"the {path}.encoder of level {number} does not see the data (encode is "
                        f"{list(part.encoded)}, skip is {self.model.skip}): it cannot be a convolution; "
                        "add data to encode, or give encoders one a level"
                    )
        return self
