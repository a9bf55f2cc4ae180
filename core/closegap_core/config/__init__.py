"""The one place where a field of a model, an inference method, data, training or evaluation is defined.

Imports no torch: job specs (`closegap.spec`) are composed of these classes, and core is built from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt, model_validator

from closegap_core.config.base import Config as Config
from closegap_core.config.base import Seed as Seed
from closegap_core.config.base import named
from closegap_core.config.model import AnyNetworkConfig as AnyNetworkConfig
from closegap_core.config.model import BernoulliConfig as BernoulliConfig
from closegap_core.config.model import ConvolutionConfig as ConvolutionConfig
from closegap_core.config.model import DequantisedConfig as DequantisedConfig
from closegap_core.config.model import GaussianConfig as GaussianConfig
from closegap_core.config.model import LevelConfig as LevelConfig
from closegap_core.config.model import LikelihoodConfig as LikelihoodConfig
from closegap_core.config.model import ModelConfig as ModelConfig
from closegap_core.config.model import MultinomialConfig as MultinomialConfig
from closegap_core.config.model import NetworkConfig as NetworkConfig

# --- data -------------------------------------------------------------------------------------------------


class SplitConfig(Config):
    """Row counts of the three parts, drawn without overlap from one seeded permutation of the rows.

    A published division is kept: where a source has test (or validation) rows of its own, `test` (or `valid`) counts
    rows drawn from those, and the rest comes from its training rows.
    """

    train: PositiveInt = Field(description="Rows that training sees.")
    valid: PositiveInt = Field(description="Rows that only choose between models (epochs, trials).")
    test: PositiveInt = Field(description="Rows that only `evaluate` and `encode` see.")
    seed: Seed = 0


class DataConfig(Config):
    """Where rows come from and how they are divided."""

    source: Annotated[str, Field(min_length=1)] = Field(
        description="Inside packages: `mnist-5k`, `digits`, `reuters`, `patches`, `patches-16`. In a folder: `mnist`, "
        "`fashion-mnist`, `binarised-mnist`, `omniglot`, `svhn`, `cifar-10`, `rcv1`, `images`. Else the path of a "
        ".npy, .npz, .ldac or .svmlight file under an allowed data root."
    )
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Folder of a published source, under an allowed data root; absent: one called as the source. "
        "`images` needs it.",
    )
    array: str | None = Field(
        None, description="Name of the array inside an .npz file; its only one if absent."
    )
    split: SplitConfig | None = Field(
        None,
        description="Absent: published parts whole; a part that is not published is 10 % of the training rows, seed 0.",
    )
    binarise: Literal["dynamic", "none"] | None = Field(
        None,
        description="`dynamic` draws x ~ Bernoulli(row) at each use. Absent: `dynamic` for grey levels under "
        "Bernoulli, else `none`.",
    )


# --- inference --------------------------------------------------------------------------------------------

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

    kind: Literal["sgd", "momentum", "rmsprop", "adam", "natural"] = "adam"
    learning_rate: float = Field(0.1, gt=0, le=10, description="Of the per-row gradient.")
    momentum: float = Field(0.6, ge=0, lt=1, description="Of `momentum` and `natural`.")


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


# --- training, evaluation, export, encode -----------------------------------------------------------------


class TrainingConfig(Config):
    """Joint training of decoder (theta) and inference model (phi) by Adam."""

    epochs: PositiveInt = 40
    batch_size: PositiveInt = Field(64, description="Rows a step, over all ranks together.")
    learning_rate: float = Field(2e-4, gt=0, le=1)
    learning_rate_decay: float = Field(1.0, gt=0, le=1, description="Factor after each epoch.")
    seed: Seed = 0
    keep: Literal["best", "last"] = Field(
        "best", description="Weights kept: of the best validation ELBO, or the last."
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
    checkpoint_every: PositiveInt = Field(1, description="Epochs between checkpoints.")
    threads: PositiveInt = Field(1, description="CPU threads of a rank.")


class RefinementConfig(RefinerConfig):
    """A refiner on each row's own q, the comparison curve of an evaluation."""

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 100
    learning_rate: float = Field(0.05, gt=0, le=10)
    samples: Samples = 1


class OptimumConfig(Config):
    """Adam on each row's own q until it stops rising: the best member q* of the family."""

    learning_rates: tuple[Annotated[float, Field(gt=0, le=10)], ...] = Field(
        (0.05, 0.01, 0.002),
        min_length=1,
        description="One after the other, each until the bound stops rising.",
    )
    samples: Samples = 16
    window: PositiveInt = Field(50, description="Steps over which the bound is averaged.")
    patience: PositiveInt = Field(3, description="Windows without a rise before the next rate.")
    max_steps: PositiveInt = Field(5000, description="In all; reached: the report says not converged.")


class AisConfig(Config):
    """Annealed importance sampling with Hamiltonian transitions (Neal 2001; Wu et al. 2017)."""

    chains: PositiveInt = 16
    temperatures: PositiveInt = 1000
    leapfrogs: PositiveInt = 10
    schedule: Literal["linear", "sigmoid"] = "sigmoid"


class FlowConfig(Config):
    """The local auxiliary flow of Cremer et al. 2018: couplings of (z, v) whose networks are each row's own."""

    auxiliary: PositiveInt | None = Field(None, description="Dimensions of v; absent: as many as z.")
    couplings: PositiveInt = Field(2, description="Coupling steps, each of v given z, then of z given v.")
    hidden: PositiveInt = Field(50, description="Width of the hidden layer of each network.")
    optimum: OptimumConfig = OptimumConfig(learning_rates=(0.02, 0.005, 0.001), samples=32)


class GapConfig(Config):
    """The approximation, amortization and inference gap of Cremer, Li & Duvenaud 2018."""

    rows: PositiveInt = Field(100, description="Rows of each part that are measured.")
    parts: tuple[Literal["train", "valid", "test"], ...] = Field(("train", "test"), min_length=1)
    elbo_samples: Samples = Field(1000, description="Draws of L[q], L[q*] and the flow's.")
    importance_samples: PositiveInt = 5000
    optimum: OptimumConfig = OptimumConfig()
    flow: FlowConfig | None = Field(
        None, description="A richer family beside the diagonal Gaussian, in minutes. Null: not run."
    )
    ais: AisConfig | None = Field(AisConfig(), description="Null: log p(x) by importance sampling alone.")
    certificate_rows: Annotated[int, Field(ge=0)] = Field(
        20, description="Simulated rows on which AIS is bounded from both sides; 0: no certificate."
    )


class EvaluationConfig(Config):
    """How a trained model is measured on its test rows."""

    part: Literal["valid", "test"] = "test"
    rows: PositiveInt | None = Field(None, description="Only the first so many rows; absent: all.")
    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Inference iterations T; absent: as trained. The curve goes on to twice as many."
    )
    samples: Samples = Field(10, description="Samples of each reported ELBO.")
    importance_samples: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        500, description="K of the IWAE bound."
    )
    refinement: RefinementConfig | None = Field(RefinementConfig(), description="Adam on q; null: not run.")
    gaps: GapConfig | None = Field(None, description="The gap report; minutes to hours. Null: not run.")
    batch_size: PositiveInt = 250
    seed: Seed = 0
    threads: PositiveInt = 1


class ExportConfig(Config):
    """What is fixed inside an exported encoder."""

    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Default of the file's `iterations` input; absent: as trained."
    )
    samples: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Antithetic noise draws shared by all rows and iterations; even."
    )
    elbo_samples: Annotated[int, Field(ge=1, le=1024)] = Field(16, description="Draws of the reported ELBO.")
    seed: Seed = 0
    rows: PositiveInt = Field(256, description="Held-out rows on which file and model are compared.")

    @model_validator(mode="after")
    def _samples_are_paired(self) -> ExportConfig:
        if self.samples % 2 or self.elbo_samples % 2:
            raise ValueError("samples and elbo_samples must be even: noise comes in antithetic pairs")
        return self


class EncodeConfig(Config):
    """How a data set is encoded."""

    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Absent: the file's default."
    )
    batch_size: PositiveInt = Field(256, description="Rows a session call.")
    shard_rows: PositiveInt = Field(4096, description="Rows a Parquet file.")
    threads: PositiveInt = Field(1, description="CPU threads of a session.")
    seed: Seed = Field(
        0, description="Of x ~ Bernoulli(row), drawn where the model was trained on such draws."
    )


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
    def _one_encoder_a_level(self) -> TrainConfig:
        encoders = None if isinstance(self.inference, SviConfig) else self.inference.encoders
        if encoders is not None and len(encoders) != len(self.model.levels):
            raise ValueError(
                f"inference.encoders has {len(encoders)} networks for {len(self.model.levels)} levels; give one a level"
            )
        return self

    @model_validator(mode="after")
    def _convolutions_see_the_data(self) -> TrainConfig:
        if isinstance(self.inference, SviConfig):
            return self
        networks = self.inference.encoders or (self.inference.encoder,) * len(self.model.levels)
        encodes = self.inference.encode if isinstance(self.inference, IterativeConfig) else ("data",)
        for number, network in enumerate(networks, start=1):
            sees_data = "data" in encodes and (number == 1 or self.model.skip)
            if network.kind == "convolution" and not sees_data:
                raise ValueError(
                    f"the encoder of level {number} does not see the data (encode is {list(encodes)}, skip is "
                    f"{self.model.skip}): it cannot be a convolution; add data to encode, or give encoders one a level"
                )
        return self


def canonical(config: BaseModel | Any) -> str:
    """JSON with sorted keys and no spaces: equal configurations give equal text."""
    import json

    value = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
