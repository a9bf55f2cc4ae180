"""Export: a trained model's encoder as one ONNX file that was compared with it, in a bundle beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from closegap.specs.kinds import ExportSpec
from closegap_core.config import ExportConfig
from closegap_core.data import load
from closegap_core.encode import Quality
from closegap_core.errors import ParityError
from closegap_workers.channel import Channel
from closegap_workers.runners.runner import (
    Context,
    Product,
    Result,
    Runner,
    Task,
    model_task,
    trained_config,
)

if TYPE_CHECKING:
    from closegap_core.group import Group


@final
class ExportRunner(Runner):
    """Leaves a bundle of kind `model` that has an `encoder.onnx`."""

    kind = "export"

    def task(self, context: Context) -> Task:
        spec = context.spec
        assert isinstance(spec, ExportSpec)
        _, task = model_task(context, spec.model)
        return {**task, "export": spec.export.model_dump(mode="json"), "folder": str(context.stage())}

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        # Imported where the work is: the attempt itself starts sooner without torch.
        from closegap_core.export.export import export

        model, roots = Path(task["model"]), [Path(root) for root in task["roots"]]
        trained = trained_config(model)
        dataset = load(trained.data, trained.model.likelihood.kind, roots)
        config, folder = ExportConfig.model_validate(task["export"]), Path(task["folder"])
        try:
            for event in export(model, config, dataset, folder):
                channel.put(event.to_dict())
                if isinstance(event, Quality):
                    rates = {str(count): rate for count, rate in event.rates.items()}
                    return {"data_digest": dataset.digest, "rates": rates}
                if channel.stopped():
                    return None
        except ParityError:
            channel.put({"type": "parity", "passed": False})  # which the queue counts
            raise
        raise RuntimeError("an export ended without its quality")

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        lineage = context.model_lineage(parent=task["digest"], data_digest=answer["data_digest"])
        product = Product(Path(task["folder"]), "model", lineage)
        return Result({"model": product}, {"rows_per_second": answer["rates"]})
