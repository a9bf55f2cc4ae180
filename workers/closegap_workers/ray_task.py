"""Work of one process as a Ray task."""

from __future__ import annotations

import ray

from closegap.job import Failure
from closegap_core.group import SINGLE
from closegap_workers.outcome import WorkError
from closegap_workers.ray_channel import Remote
from closegap_workers.ray_cluster import joined
from closegap_workers.ray_work import perform
from closegap_workers.runners.runner import Context, Task

RESTARTS = 2
"""How often Ray starts the task again after its process or node died; ledgers make that cheap."""


def run(kind: str, context: Context, task: Task) -> Task | None:
    """Run the work of `kind` in the cluster. Raises WorkError, RequestError and what Ray raises."""
    resources = context.spec.resources
    with joined(context, bundles=1) as post:
        remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=RESTARTS)(_perform)
        answer: Task | None = ray.get(remote.remote(kind, task, post.mailbox))
        failure = post.failure()
    if failure is not None:
        raise WorkError(Failure.model_validate(failure))
    return answer


def _perform(kind: str, task: Task, mailbox: object) -> Task | None:
    remote = Remote(mailbox)
    return perform(kind, task, remote, remote, SINGLE)
