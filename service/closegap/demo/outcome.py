"""From finished jobs to `summary.json` and `report.html`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closegap.demo.summary import MODELS, Results, figures

if TYPE_CHECKING:
    from closegap.job import Job
    from closegap.storage.artifacts import ArtifactStore

OUTPUTS = {"train": "model", "evaluate": "report", "export": "model", "encode": "encoding"}
"""The output that names the bundle, by kind."""


def results(
    artifacts: ArtifactStore, jobs: Mapping[str, Job], rows_per_second: float | None, total: float
) -> Results:
    """Open what the succeeded jobs, by name, left, each file verified. Raises NotFound, BundleError."""
    folders = {name: artifacts.open(job.outputs[OUTPUTS[job.kind]]).path for name, job in jobs.items()}
    seconds = {
        name: (job.finished - job.started).total_seconds()
        for name, job in jobs.items()
        if job.finished is not None and job.started is not None
    }
    return Results(folders, seconds | {"total": total}, rows_per_second)


def write_summary(out: Path, found: Results) -> dict[str, Any]:
    """Write the figures as one flat JSON object, whole or not at all; returns them."""
    summary = figures(found)
    temporary = out.with_name(f"{out.name}.part")
    temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, out)
    return summary


def write_report(out: Path, found: Results) -> None:
    """Write the page. Raises ReportError."""
    from closegap_core.report.inputs import EncodingReport, ModelReport
    from closegap_core.report.page import build

    folders = found.folders
    models = {
        model: ModelReport.read(model, folders[f"train-{model}"], folders[f"evaluate-{model}"])
        for model in MODELS
    }
    encoding = EncodingReport.read(folders["encode"], folders["export"], found.rows_per_second)
    build(out, standard=models["standard"], iterative=models["iterative"], encoding=encoding)
