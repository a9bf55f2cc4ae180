"""Measuring a trained model: stages over rows, kept on disk as they are found, and the summary of them all.

Every figure is a mean over rows in nats with its standard error, its number of samples, and its number of rows.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from closegap_core.config import EvaluationConfig
from closegap_core.data import Dataset
from closegap_core.durable import file_digest, write_bytes
from closegap_core.measure.identity import identity
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.plan import Plan
from closegap_core.measure.stage import Stage
from closegap_core.measure.subject import Subject
from closegap_core.progress import Pace, Progress
from closegap_core.trained import read_trained


class Metrics(NamedTuple):
    """The summary of an evaluation: what `metrics.json` holds."""

    summary: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "evaluation", …}."""
        return {"type": "evaluation", **self.summary}


def evaluate(
    bundle: Path, evaluation: EvaluationConfig, dataset: Dataset, folder: Path, work: Path | None = None
) -> Iterator[Progress | Metrics]:
    """Measure the model of `bundle` on parts of `dataset`; writes metrics.json and arrays.npz into `folder`.

    Chunks of rows that are measured stay in `work`, from which another call goes on; absent: nowhere.
    Raises DataError when the data do not fit the model, NumericalError when a bound is not finite, CheckpointError
    when `work` is damaged or belongs to another measurement.
    """
    torch.set_num_threads(evaluation.threads)
    subject = Subject(read_trained(bundle), evaluation, dataset)
    with contextlib.ExitStack() as stack:
        place = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="closegap-")))
        ledger, plan = Ledger(place, _origin(bundle, subject)), Plan.of(subject)
        yield from carry_out(plan.stages(), ledger)
        summary, arrays = plan.summary(ledger), plan.arrays(ledger)
    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    write_bytes(folder / "metrics.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    yield Metrics(summary)


def _origin(bundle: Path, subject: Subject) -> dict[str, Any]:
    """What decides every figure: other threads or places do not."""
    return {
        "model": file_digest(bundle / "weights.safetensors"),
        "evaluation": subject.evaluation.model_dump(mode="json", exclude={"threads"}),
        "data": identity(subject),
    }


def carry_out(stages: Sequence[Stage], ledger: Ledger) -> Iterator[Progress]:
    """Measure every chunk of every stage that `ledger` does not hold; progress counts decoder passes over all."""
    spans = [(stage, rows) for stage in stages for rows in stage.chunks()]
    held = {(stage.name, rows) for stage, rows in spans if ledger.holds(stage.name, rows)}
    done = sum(stage.cost * len(rows) for stage, rows in spans if (stage.name, rows) in held)
    pace = Pace(sum(stage.cost * stage.rows for stage in stages), "pass", done)
    for stage, rows in spans:
        if (stage.name, rows) in held:
            continue
        work = stage.measure(rows, ledger.found)
        while True:
            try:
                part = next(work)
            except StopIteration as finished:
                ledger.write(stage.name, rows, finished.value)
                break
            if (due := pace.due(done + part * len(rows))) is not None:
                yield due
        done += stage.cost * len(rows)
        yield pace.at(done)
