"""Sweep: many trainings under Ray Tune; the table of trials, the best configuration and its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, final

from closegap.job import Failure
from closegap.specs.kinds import SweepSpec
from closegap.specs.space import apply
from closegap_core.durable import make_folder, write_bytes
from closegap_core.group import Group
from closegap_workers.channel import Channel
from closegap_workers.outcome import RequestError, WorkError
from closegap_workers.points import points
from closegap_workers.runners.runner import Context, Product, Result, Runner, Task
from closegap_workers.runners.train import tensorboard_output, train_task
from closegap_workers.trials import Trial, curve, folder_of


@final
class SweepRunner(Runner):
    """Leaves a bundle of kind `sweep`, and one of kind `model`: the best trial's."""

    kind = "sweep"
    on_ray = "trials"

    def task(self, context: Context) -> Task:
        spec, trials = context.spec, context.work / "trials"
        assert isinstance(spec, SweepSpec)
        if spec.resources.workers != 1:
            raise RequestError(
                f"resources.workers is {spec.resources.workers}, but a sweep runs on Ray Tune; accepted: 1, "
                "with `concurrent` for the number of trials at a time"
            )
        make_folder(trials)
        tasks = []
        for number, point in enumerate(points(spec)):
            folder, config = folder_of(trials, number), apply(spec.train, point)
            training = train_task(context, config, folder / "checkpoints", folder / "model", folder.name)
            tasks.append({"id": number, "params": point, "epochs": config.training.epochs, "train": training})
        return {"trials": tasks, "folder": str(trials)}

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        raise NotImplementedError("a sweep's work is that of its trials")

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        spec = context.spec
        assert isinstance(spec, SweepSpec)
        trials = [Trial.of(trial) for trial in answer["trials"]]
        best = best_of(trials)
        config = apply(spec.train, best.params).model_dump(mode="json")
        summary = {"trial": best.id, "params": best.params, "valid_elbo": best.value, "train": config}
        table, model = context.stage(), context.stage()
        _write(table / "trials.json", [trial.to_dict() for trial in trials])
        _write(table / "best.json", summary)
        folder = Path(task["folder"])
        curves = [curve(folder_of(folder, trial.id)) for trial in trials]
        write_bytes(table / "curves.json", (json.dumps(curves, separators=(",", ":")) + "\n").encode())
        shutil.copytree(folder_of(folder, best.id) / "model", model, dirs_exist_ok=True)
        data = json.loads((model / "config.json").read_text())["data_digest"]
        products = {
            "sweep": Product(table, "sweep", context.lineage(data_digest=data)),
            "model": Product(model, "model", context.model_lineage(data_digest=data)),
        }
        best_trial = {name: summary[name] for name in ("trial", "params", "valid_elbo")}
        names = {trial.id: folder_of(folder, trial.id).name for trial in trials}
        return Result(
            products,
            {"best": best_trial} | tensorboard_output(context),
            trial=names[best.id],
            failed=frozenset(names[trial.id] for trial in trials if trial.state == "failed"),
        )


def best_of(trials: list[Trial]) -> Trial:
    """The completed trial with the highest validation ELBO, the first of equals.

    One that the scheduler stopped has no finished model and is none. Raises WorkError when no trial was completed:
    numerical if that is why all of them failed, else of the first failure's class.
    """
    completed = [trial for trial in trials if trial.state == "completed" and trial.value is not None]
    if completed:
        return max(completed, key=lambda trial: (trial.value or 0.0, -trial.id))
    failures = [Failure.model_validate(trial.failure) for trial in trials if trial.failure is not None]
    if not failures:
        raise RequestError(f"none of {len(trials)} trials was completed")
    others = [failure for failure in failures if failure.failure != "numerical"]
    first = (others or failures)[0]
    raise WorkError(
        first.model_copy(
            update={"message": f"all of {len(trials)} trials failed; one of them: {first.message}"}
        )
    )


def _write(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())
