"""Train: core's `fit`, alone or on every rank of a group, then the trained model as a bundle."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from closegap.specs.kinds import TrainSpec
from closegap.specs.spec import digest
from closegap_core.config import TrainConfig
from closegap_core.data import load
from closegap_workers.channel import Channel
from closegap_workers.recorders import recorders
from closegap_workers.runners.runner import Context, Product, Result, Runner, Task, model_task

if TYPE_CHECKING:
    from closegap_core.group import Group


@final
class TrainRunner(Runner):
    """Leaves a bundle of kind `model`."""

    kind = "train"
    on_ray = "ranks"

    def task(self, context: Context) -> Task:
        spec = context.spec
        assert isinstance(spec, TrainSpec)
        task = train_task(context, spec.config, context.work / "checkpoints", context.stage())
        task = {**task, "shown": str(context.work / "preview.json")}
        if spec.decoder is None:
            return task
        _, model = model_task(context, spec.decoder)
        return {**task, "decoder": model["model"], "decoder_digest": model["digest"]}

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        # Imported where the work is: the attempt itself starts sooner without torch.
        import torch

        from closegap_core.fit import EpochMetrics, Stopped, finish, fit

        config = TrainConfig.model_validate(task["config"])
        dataset = load(config.data, config.model.likelihood.kind, [Path(root) for root in task["roots"]])
        checkpoints, decoder = Path(task["checkpoints"]), Path(task["decoder"]) if "decoder" in task else None
        device = torch.device(task["device"])
        shown = Path(task["shown"]) if "shown" in task else None
        with recorders(task["records"] if group.rank == 0 else {}, channel) as records:
            for entry in past(checkpoints) if records else []:
                records.epoch({"type": "epoch", **entry})
            for event in fit(config, dataset, checkpoints, group, channel.stopped, device, decoder, shown):
                if isinstance(event, Stopped):
                    return None
                channel.put(event.to_dict())
                if isinstance(event, EpochMetrics):
                    records.epoch(event.to_dict())
                    channel.piece("epoch", epoch=event.epoch)
        if group.rank > 0:
            return {}
        summary = finish(config, dataset, checkpoints, Path(task["folder"]), decoder)
        return {"summary": summary, "data_digest": dataset.digest}

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        parent = {"parent": task["decoder_digest"]} if "decoder_digest" in task else {}
        lineage = context.model_lineage(data_digest=answer["data_digest"], **parent)
        product = Product(Path(task["folder"]), "model", lineage)
        summary = answer["summary"]
        outputs = {"valid_elbo": summary["valid_elbo"], "epochs": summary["epochs"]}
        return Result({"model": product}, outputs | tensorboard_output(context))


def train_task(
    context: Context, config: TrainConfig, checkpoints: Path, folder: Path, trial: str = ""
) -> Task:
    """One training as plain values; a trial of a sweep is one too, and has a name."""
    return {
        "records": _records(context, config, trial),
        "traced": context.traced,
        "config": config.model_dump(mode="json"),
        "roots": [str(root) for root in context.roots],
        "checkpoints": str(checkpoints),
        "folder": str(folder),
        "device": "cuda" if context.spec.resources.gpus > 0 else "cpu",
    }


def past(checkpoints: Path) -> list[dict[str, Any]]:
    """Epochs of earlier attempts: one that was killed after its checkpoint may not have recorded the last."""
    from closegap_core import checkpoint

    found, _ = checkpoint.find(checkpoints)
    history: list[dict[str, Any]] = [] if found is None else found.state["history"]
    return history


def tensorboard_output(context: Context) -> dict[str, str]:
    """Where the event files are; they hold times, so they are no part of the bundle."""
    return {"tensorboard": str(record_folder(context.logs))} if context.tensorboard else {}


def record_folder(logs: Path) -> Path:
    """Event files of TensorBoard, of each trial in a folder of its own."""
    return logs / "tensorboard"


def run_file(logs: Path, trial: str = "") -> Path:
    """What keeps the id of a training's MLflow run."""
    return logs / "mlflow" / f"{trial or 'run'}.json"


def _records(context: Context, config: TrainConfig, trial: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if context.tensorboard:
        wanted["tensorboard"] = {"folder": str(record_folder(context.logs) / trial)}
    if context.mlflow:
        tags = {f"closegap.{name}": str(value) for name, value in context.whose.items()}
        wanted["mlflow"] = {
            **context.mlflow,
            "file": str(run_file(context.logs, trial)),
            "name": f"{context.job} {trial}".strip(),
            "tags": {**tags, "closegap.digest": digest(context.spec), "closegap.version": version("closegap")}
            | ({"closegap.trial": trial} if trial else {}),
            "config": config.model_dump(mode="json"),
        }
    return wanted
