"""What all runners have in common: a job becomes a task of plain values, and a task is worked on here or elsewhere."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from closegap.specs.kinds import Spec
from closegap.storage.registry import LINEAGE, Registry
from closegap_core.bundle import Bundle
from closegap_core.config import TrainConfig
from closegap_core.errors import BundleError
from closegap_workers.channel import Channel, Stream
from closegap_workers.spans import traced

if TYPE_CHECKING:
    from closegap_core.group import Group

Task = dict[str, Any]
"""JSON values: all that crosses to another process. Paths are of the storage that every node sees."""


@dataclass(frozen=True)
class Context:
    """What a runner is given."""

    job: str
    attempt: int
    spec: Spec
    roots: tuple[Path, ...]
    work: Path
    """Survives attempts: checkpoints, ledgers, trials."""
    logs: Path
    """Survives the job's success, too: logs of attempts, records of trainings."""
    home: Path
    """Private to the workers of this machine."""
    stage: Callable[[], Path]
    """A fresh folder for something to publish; removed at the attempt's end if it was not."""
    registry: Registry
    stream: Stream
    ray_address: str | None
    whose: dict[str, Any] = field(default_factory=dict)
    """What lines of the log name: job, attempt, project, kind, request_id."""
    traced: bool = False
    """Whether pieces of work are told for the trace."""
    tensorboard: bool = False
    mlflow: dict[str, str] = field(default_factory=dict)
    """{uri, experiment} where trainings are recorded there."""

    def lineage(self, **more: Any) -> dict[str, Any]:
        """Where a product comes from; everything but `job` is part of its digest."""
        return {"job": self.job, **more}

    def model_lineage(self, **more: Any) -> dict[str, Any]:
        """Of a model: also the name it is registered under, from which the registry can be rebuilt."""
        name: str | None = getattr(self.spec, "register_as", None)
        return self.lineage(**more, **({LINEAGE: name} if name else {}))


@dataclass(frozen=True)
class Product:
    """A folder to seal and publish."""

    folder: Path
    kind: str
    lineage: dict[str, Any]
    path_output: str | None = None
    """Output that says where it lies, if there is one."""


@dataclass(frozen=True)
class Result:
    """What a job leaves: products by the output that names their digest, and other outputs."""

    products: dict[str, Product]
    outputs: dict[str, Any] = field(default_factory=dict)
    trial: str = ""
    """Of a sweep: the trial whose model it leaves."""
    failed: frozenset[str] = frozenset()
    """Of a sweep: the trials that failed."""


class Runner(ABC):
    """One kind of job."""

    kind: ClassVar[str]
    on_ray: ClassVar[Literal["task", "ranks", "trials"]] = "task"
    """What it is in a Ray cluster: one Ray task, the ranks of a Ray Train run, or the trials of a Ray Tune run."""

    def inline(self, context: Context, task: Task) -> Task | None:
        """Work in this process."""
        from closegap_core.group import SINGLE

        with traced(context.stream, context.traced) as channel:
            return self.work(task, channel, SINGLE)

    @abstractmethod
    def task(self, context: Context) -> Task:
        """The job as plain values: references opened, nothing begun. Raises what makes the job impossible."""

    @abstractmethod
    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        """Do it, wherever this process is; None when asked to stop. Every rank of the group is in here at once."""

    @abstractmethod
    def result(self, context: Context, task: Task, answer: Task) -> Result:
        """What the job leaves, given what `work` answered."""


def model_task(context: Context, model: str) -> tuple[Bundle, Task]:
    """Open a job's model, verified; with what every task upon a model has. Raises NotFound, BundleError."""
    bundle = context.registry.resolve(model)
    if bundle.kind != "model":
        raise BundleError(f"`{model}` is a bundle of kind {bundle.kind}; accepted: a model")
    roots = [str(root) for root in context.roots]
    return bundle, {"model": str(bundle.path), "digest": bundle.digest, "roots": roots}


def trained_config(bundle: Path) -> TrainConfig:
    """What a model was trained on and as, without its weights. Raises BundleError."""
    path = bundle / "config.json"
    try:
        return TrainConfig.model_validate(json.loads(path.read_text())["train"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not the configuration of a model: {error}") from error
