"""What submit.lua records: from specs, or from jobs that are to be run again."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from closegap.errors import Conflict, SpecError
from closegap.job import Job, State
from closegap.queue.records import Records
from closegap.specs import pipeline
from closegap.specs.spec import Spec, dump, load
from closegap_core.config import canonical


@final
@dataclass(frozen=True)
class Submission:
    """Jobs, as JSON, and the digest by which an idempotency key knows them again."""

    text: str
    digest: str


def prepare(specs: Sequence[Spec], kinds: Callable[[Sequence[str]], Mapping[str, str]]) -> Submission:
    """New jobs for specs. Names stand for specs of the same submission first, then for ids of existing jobs.

    `kinds` gives the kind of each existing job. Raises SpecError for names that are neither, and for outputs that
    such a job does not have.
    """
    existing = kinds(pipeline.outside(specs))
    problems = pipeline.check(specs) or pipeline.unknown(specs, existing)
    if problems:
        raise SpecError(problems)
    ids = [_fresh(spec.kind) for spec in specs]
    named = {spec.name: identifier for spec, identifier in zip(specs, ids, strict=True) if spec.name}
    group = f"pipeline-{secrets.token_hex(8)}"  # unlike an id it is not looked whether it is taken
    jobs = [
        _row(
            identifier, spec, {name: named.get(name, name) for name in pipeline.uses(spec)}, group, identifier
        )
        for identifier, spec in zip(ids, specs, strict=True)
    ]
    return _submission(jobs, [job["digest"] for job in jobs])


def again(job: Job, records: Records) -> Submission:
    """New jobs for one that did not succeed and for those that did not run because of it. Raises Conflict."""
    _refuse_retry(job)
    old = [job]
    for lost in old:  # Grows as it goes: dependents of dependents.
        known = {item.id for item in old}
        old += [
            dependent
            for dependent in records.dependents(lost.id)
            if dependent.cancelled_by == lost.id and not dependent.retried_as and dependent.id not in known
        ]
    fresh = {item.id: _fresh(item.kind) for item in old}
    jobs = [
        _row(
            fresh[item.id],
            load(item.spec),
            {name: fresh.get(need, need) for name, need in item.needs.items()},
            item.pipeline,
            item.work,
        )
        # As they are by now: both may have been changed since the spec was written.
        | {"priority": item.priority, "labels": json.dumps(item.labels), "retry_of": item.id}
        for item in old
    ]
    return _submission(jobs, [item.id for item in old])


def _refuse_retry(job: Job) -> None:
    if not job.state.terminal:
        raise Conflict(f"job {job.id} is {job.state}; only one that failed or was cancelled can be retried")
    if job.state is State.SUCCEEDED:
        raise Conflict(f"job {job.id} has succeeded; submit its spec again for another run")
    if job.retried_as:
        raise Conflict(f"job {job.id} was already retried as {job.retried_as}")
    if job.cancelled_by:
        raise Conflict(
            f"job {job.id} did not run because of {job.cancelled_by}: retry that, and this one comes along"
        )


def _row(identifier: str, spec: Spec, needs: dict[str, str], group: str, work: str) -> dict[str, Any]:
    text = canonical(dump(spec))
    return {
        "id": identifier,
        "kind": spec.kind,
        "name": spec.name or spec.kind,
        "spec": text,
        "digest": _sha256(text),  # as `closegap.specs.spec.digest`
        "priority": spec.priority,
        "preemptible": spec.preemptible,
        "labels": json.dumps(spec.labels),
        "needs": json.dumps(needs),
        "after": sorted(set(needs.values())),
        "retries": spec.retries.model_dump_json(),
        "request": {"cpus": spec.resources.total_cpus, "gpus": spec.resources.total_gpus},
        "pipeline": group,
        "work": work,
    }


def _submission(jobs: list[dict[str, Any]], identity: list[str]) -> Submission:
    return Submission(json.dumps(jobs), _sha256(canonical(identity)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _fresh(kind: str) -> str:
    """Names that people can read and type the beginning of; submit.lua refuses one that is taken."""
    return f"{kind}-{secrets.token_hex(4)}"
