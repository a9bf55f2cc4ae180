"""How long a job would run, from jobs that did the same before; and where that is not known, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

from closegap.job import Job, State
from closegap.queue.queue import Queue
from closegap.queue.selector import Selector
from closegap.specs import spec
from closegap.specs.kinds import Spec

_RECENT = 100
"""Jobs among which one that is alike is looked for."""
_NAMES = ("name", "priority", "labels", "needs", "register", "retries", "preemptible")
"""What a job is called and how it waits makes it no slower."""
_TRAINING = (
    "epochs", "seed", "learning_rate", "learning_rate_decay", "keep", "kl_warmup", "free_bits",
)  # fmt: skip
"""Nor do these make an epoch."""
_ALIKE = {
    "train": "model, inference, data and batch size",
    "sweep": "training and space",
    "evaluate": "model and measurements",
    "export": "model and settings",
    "encode": "model and settings",
    "compare": "reports",
}


@final
class Estimate(NamedTuple):
    """Seconds, the job that they are known from, and in words how; or why there are none."""

    seconds: float | None
    source: str
    why: str


def known(queue: Queue, kind: str, project: str) -> list[Job]:
    """The newest jobs of a kind that did all of their work in one attempt. Raises StoreUnavailable."""
    alike = Selector(
        projects=frozenset({project}), states=frozenset({State.SUCCEEDED}), kinds=frozenset({kind})
    )
    found = queue.jobs(alike, _RECENT).jobs
    return [job for job in found if _took(job) > 0 and job.attempt == 1 and job.retry_of is None]


def estimate(item: Spec, jobs: Sequence[Job], project: str) -> Estimate:
    """Of one attempt that is not interrupted, from `known` jobs of its kind."""
    wanted = spec.dump(item)
    for job in jobs:
        if _work(job.spec) == _work(wanted):
            return _as(job, wanted)
    if item.kind == "encode":
        return _of_rows([job for job in jobs if job.outputs.get("rows", 0) > 0], wanted, project)
    return _unknown(
        f"no {item.kind} job with the same {_ALIKE[item.kind]} has succeeded in project {project}"
    )


def _as(job: Job, wanted: Mapping[str, Any]) -> Estimate:
    took = _took(job)
    if job.kind != "train":
        return Estimate(took, job.id, f"as long as {job.id} took")
    epochs, each = wanted["training"]["epochs"], took / job.spec["training"]["epochs"]
    return Estimate(epochs * each, job.id, f"{epochs} epochs of {each:.3g} s, as {job.id} took for each")


def _of_rows(jobs: Sequence[Job], wanted: Mapping[str, Any], project: str) -> Estimate:
    """Of an encoding: rows that another job has counted, at the rate of a job with the same model."""
    same = [
        job for job in jobs if (job.spec["model"], _setting(job.spec)) == (wanted["model"], _setting(wanted))
    ]
    if not same:
        return _unknown(f"no encode job with the same {_ALIKE['encode']} has succeeded in project {project}")
    rate = same[0].outputs["rows"] / _took(same[0]) * _iterations(same[0].spec) / _iterations(wanted)
    source = wanted["data"]["source"]
    counted = [job for job in jobs if source is not None and job.spec["data"] == wanted["data"]]
    if not counted:
        rows = f"how many rows {source or wanted['data']['part']} has is not known"
        return _unknown(f"{rows}; at this setting {same[0].id} did about {rate:.3g} rows/s")
    rows = counted[0].outputs["rows"]
    told = f"{rows} rows, as {counted[0].id} counted, at {rate:.3g} rows/s, as {same[0].id} did"
    return Estimate(rows / rate, same[0].id, told)


def _unknown(because: str) -> Estimate:
    return Estimate(None, "", f"unknown, because {because}")


def _took(job: Job) -> float:
    if job.started is None or job.finished is None:
        return 0.0
    return (job.finished - job.started).total_seconds()


def _work(value: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how long it takes: of training an epoch of it."""
    kept = {name: item for name, item in value.items() if name not in _NAMES}
    if isinstance(kept.get("training"), dict):
        kept["training"] = {name: item for name, item in kept["training"].items() if name not in _TRAINING}
    return kept


def _setting(value: Mapping[str, Any]) -> dict[str, Any]:
    """Of an encoding, but for its iterations."""
    left = {name: item for name, item in value["encode"].items() if name not in ("iterations", "seed")}
    counted = value["encode"].get("iterations") is not None
    return {**left, "counted": counted, "resources": value["resources"]}


def _iterations(value: Mapping[str, Any]) -> int:
    """As many times as long; 1 where both are the model's own."""
    return value["encode"].get("iterations") or 1
