"""Evaluate: core's figures of a trained model on rows it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from closegap.specs.kinds import EvaluateSpec
from closegap_core.config import DataConfig, EvaluationConfig
from closegap_core.data import load
from closegap_workers.channel import Channel
from closegap_workers.runners.runner import Context, Product, Result, Runner, Task, model_task, trained_config

if TYPE_CHECKING:
    from closegap_core.group import Group


@final
class EvaluateRunner(Runner):
    """Leaves a bundle of kind `evaluation`."""

    kind = "evaluate"

    def task(self, context: Context) -> Task:
        spec = context.spec
        assert isinstance(spec, EvaluateSpec)
        _, task = model_task(context, spec.model)
        data = None if spec.data is None else spec.data.model_dump(mode="json")
        evaluation = spec.evaluation.model_dump(mode="json")
        places = {"folder": str(context.stage()), "measured": str(context.work / "measured")}
        return {**task, "evaluation": evaluation, "data": data, **places}

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        # Imported where the work is: the attempt itself starts sooner without torch.
        from closegap_core.measure.evaluate import Metrics, evaluate

        model, roots = Path(task["model"]), [Path(root) for root in task["roots"]]
        config = trained_config(model)
        data = config.data if task["data"] is None else DataConfig.model_validate(task["data"])
        dataset = load(data, config.model.likelihood.kind, roots)
        evaluation = EvaluationConfig.model_validate(task["evaluation"])
        folder, measured = Path(task["folder"]), Path(task["measured"])
        for event in evaluate(model, evaluation, dataset, folder, measured):
            channel.put(event.to_dict())
            if isinstance(event, Metrics):
                return {"summary": event.summary, "data_digest": dataset.digest}
            if channel.stopped():
                return None
        raise RuntimeError("an evaluation ended without metrics")

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        lineage = context.lineage(parent=task["digest"], data_digest=answer["data_digest"])
        summary = answer["summary"]
        return Result(
            {"report": Product(Path(task["folder"]), "evaluation", lineage)},
            {"elbo": summary["elbo"], "iwae": summary["iwae"]["value"]},
        )
