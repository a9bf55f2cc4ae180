"""Compare: evaluations side by side, refused where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from closegap.specs.kinds import CompareSpec
from closegap_core.bundle import Bundle
from closegap_core.config import ComparisonConfig, EntryConfig
from closegap_core.errors import BundleError
from closegap_workers.channel import Channel
from closegap_workers.runners.runner import Context, Product, Result, Runner, Task

if TYPE_CHECKING:
    from closegap_core.group import Group


@final
class CompareRunner(Runner):
    """Leaves a bundle of kind `comparison`."""

    kind = "compare"

    def task(self, context: Context) -> Task:
        spec = context.spec
        assert isinstance(spec, CompareSpec)
        bundles = [_evaluation(context, entry.report) for entry in spec.reports]
        entries = [
            {
                "entry": entry.model_dump(mode="json", exclude={"report"}),
                "folder": str(bundle.path),
                "digest": bundle.digest,
            }
            for entry, bundle in zip(spec.reports, bundles, strict=True)
        ]
        comparison = spec.comparison.model_dump(mode="json")
        return {"comparison": comparison, "entries": entries, "folder": str(context.stage())}

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        # Imported where the work is: the attempt itself starts sooner without a library for pictures.
        from closegap_core.report.comparison.build import build

        entries = [
            (EntryConfig.model_validate(item["entry"]), Path(item["folder"])) for item in task["entries"]
        ]
        build(ComparisonConfig.model_validate(task["comparison"]), entries, Path(task["folder"]))
        return {}

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        lineage = context.lineage(parents=[item["digest"] for item in task["entries"]])
        product = Product(Path(task["folder"]), "comparison", lineage, path_output="path")
        return Result({"comparison": product})


def _evaluation(context: Context, report: str) -> Bundle:
    """An entry's evaluation, verified. Raises NotFound, BundleError."""
    bundle = context.registry.resolve(report)
    if bundle.kind != "evaluation":
        raise BundleError(f"`{report}` is a bundle of kind {bundle.kind}; accepted: an evaluation")
    return bundle
