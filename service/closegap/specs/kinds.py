"""The kinds of jobs: what a user may write in a spec of each, composed of core's configuration classes."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import AfterValidator, Field, PositiveInt, ValidationError, model_validator

from closegap.specs import labels, references
from closegap.specs.resources import Resources, RetryBudgets, TrainResources
from closegap.specs.space import Dimension
from closegap_core.config import (
    ComparisonConfig,
    Config,
    DataConfig,
    EncodeConfig,
    EntryConfig,
    EvaluationConfig,
    ExportConfig,
    InferenceConfig,
    ModelConfig,
    TrainConfig,
    TrainingConfig,
)

Name = Annotated[
    str,
    Field(
        pattern=f"^{references.NAME}$", description="up to 63 letters, digits, `_` and `-`, the first no sign"
    ),
]
ModelRef = Annotated[
    str,
    Field(
        pattern=rf"^({references.REFERENCE.pattern}|sha256:[0-9a-f]{{6,64}}|{references.NAME}(/[1-9][0-9]*|@{references.NAME})?)$",
        description="a registered model (`name`, `name/3` or `name@alias`), a digest (`sha256:…`), or `${job.model}`",
    ),
]
ReportRef = Annotated[
    str,
    Field(
        pattern=rf"^({references.REFERENCE.pattern}|sha256:[0-9a-f]{{6,64}})$",
        description="an evaluation: `${job.report}`, or a digest (`sha256:…`)",
    ),
]
Priority = Annotated[int, Field(ge=0, le=100)]
Labels = Annotated[dict[str, str], AfterValidator(labels.checked)]


class JobSpec(Config):
    """What every kind has."""

    name: Name | None = Field(None, description="How other jobs refer to this one; unique in its pipeline.")
    needs: tuple[Name, ...] = Field(
        (), description="Jobs that must succeed first; `${name.output}` needs too."
    )
    priority: Priority = Field(50, description="Higher runs first; a minute of waiting is worth a point.")
    preemptible: bool = Field(
        False, description="Whether it may be stopped, with a checkpoint, for a job of higher priority."
    )
    resources: Resources = Resources()
    retries: RetryBudgets = RetryBudgets()
    labels: Labels = Field(
        default_factory=dict,
        description="Words of your own, to find jobs by.",
        json_schema_extra={"propertyNames": {"pattern": labels.NAME}, "maxProperties": labels.MOST},
    )


@final
class TrainSpec(JobSpec):
    """Train a generative model and its inference model."""

    kind: Literal["train"] = "train"
    data: DataConfig
    model: ModelConfig
    inference: InferenceConfig
    training: TrainingConfig = TrainingConfig()
    decoder: ModelRef | None = Field(
        None,
        description="A trained model of the same `model`, whose decoder is kept: only the encoder learns.",
    )
    resources: TrainResources = TrainResources()
    register_as: Name | None = Field(None, alias="register", description="Name in the model registry.")

    @model_validator(mode="after")
    def _something_learns(self) -> TrainSpec:
        if self.decoder is not None and self.inference.method == "svi":
            raise ValueError(
                "inference method svi has no encoder: with a decoder that is kept nothing would learn"
            )
        return self

    @property
    def config(self) -> TrainConfig:
        """What core trains."""
        return TrainConfig(data=self.data, model=self.model, inference=self.inference, training=self.training)

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> TrainSpec:
        try:
            config = self.config
        except ValidationError as error:
            said = (details["msg"].removeprefix("Value error, ") for details in error.errors())
            raise ValueError("; ".join(said)) from error
        if config.batch_norm and self.resources.workers > 1:
            raise ValueError(
                f"resources.workers is {self.resources.workers}, but an encoder has batch_norm, whose statistics are "
                "of one rank's rows; give at most 1 worker, or leave batch_norm out"
            )
        return self


@final
class EvaluateSpec(JobSpec):
    """Measure a trained model on rows it was not trained on."""

    kind: Literal["evaluate"] = "evaluate"
    model: ModelRef
    evaluation: EvaluationConfig = EvaluationConfig()
    data: DataConfig | None = Field(
        None, description="Absent: the data that the model was trained on, same split."
    )


@final
class ExportSpec(JobSpec):
    """Write a trained inference model as one ONNX file, checked against the model."""

    kind: Literal["export"] = "export"
    model: ModelRef
    export: ExportConfig = ExportConfig()
    register_as: Name | None = Field(None, alias="register", description="Name in the model registry.")


@final
class RowsConfig(Config):
    """Which rows are encoded: those of a source, or a part of the data that the model was trained on."""

    source: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="As in a train spec's `data.source`."
    )
    array: str | None = Field(
        None, description="Name of the array inside an .npz file; its only one if absent."
    )
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="As in a train spec's `data.path`."
    )
    part: Literal["train", "valid", "test"] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> RowsConfig:
        if (self.source is None) == (self.part is None):
            raise ValueError("give exactly one of source and part")
        if (self.array is not None or self.path is not None) and self.source is None:
            raise ValueError("array and path belong to a source")
        return self


@final
class EncodeSpec(JobSpec):
    """Encode rows with an exported model: Parquet files of approximate posteriors."""

    kind: Literal["encode"] = "encode"
    model: ModelRef
    data: RowsConfig
    encode: EncodeConfig = EncodeConfig()


@final
class SearchConfig(Config):
    """How points of the space are chosen."""

    algorithm: Literal["grid", "random"] = "grid"
    trials: PositiveInt | None = Field(
        None, le=10_000, description="Points of a random search; of a grid: all."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _trials_fit(self) -> SearchConfig:
        if self.algorithm == "random" and self.trials is None:
            raise ValueError("a random search needs `trials`")
        return self


@final
class SchedulerConfig(Config):
    """Whether trials that do badly are stopped early (asynchronous successive halving, Li et al. 2020)."""

    kind: Literal["asha", "none"] = "asha"
    grace_epochs: PositiveInt = Field(1, description="Epochs that every trial has.")
    reduction: Annotated[int, Field(ge=2, le=100)] = Field(4, description="One in so many goes on.")


@final
class SweepSpec(JobSpec):
    """Train many configurations; keep the one with the highest ELBO on the validation rows."""

    kind: Literal["sweep"] = "sweep"
    train: TrainConfig = Field(description="What every trial starts from.")
    space: dict[str, Dimension] = Field(min_length=1, description="Dotted paths into `train`.")
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    concurrent: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Trials at a time, `resources` for each."
    )
    metric: Literal["valid.elbo"] = "valid.elbo"
    register_as: Name | None = Field(
        None, alias="register", description="Name in the registry of the best model."
    )


@final
class ComparedReport(EntryConfig):
    """An evaluation under a label."""

    report: ReportRef


@final
class CompareSpec(JobSpec):
    """Evaluations side by side, and beside published figures: a table, a picture, a page."""

    kind: Literal["compare"] = "compare"
    comparison: ComparisonConfig
    reports: tuple[ComparedReport, ...] = Field(min_length=1)
    resources: Resources = Resources(workers=0)

    @model_validator(mode="after")
    def _labels_differ(self) -> CompareSpec:
        names = [(report.group, report.label) for report in self.reports]
        for group, label in names:
            if names.count((group, label)) > 1:
                raise ValueError(
                    f"several reports of group {group!r} have the label {label!r}; give each its own"
                )
        return self

    @model_validator(mode="after")
    def _published_figures_have_a_source(self) -> CompareSpec:
        if not self.comparison.published_in and any(report.published for report in self.reports):
            raise ValueError(
                "reports has published figures, but comparison.published_in does not say from where"
            )
        return self


Spec = TrainSpec | EvaluateSpec | ExportSpec | EncodeSpec | SweepSpec | CompareSpec

SPECS: dict[str, type[Spec]] = {
    "train": TrainSpec,
    "sweep": SweepSpec,
    "evaluate": EvaluateSpec,
    "export": ExportSpec,
    "encode": EncodeSpec,
    "compare": CompareSpec,
}
