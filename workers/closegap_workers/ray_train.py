"""Work of one or more ranks as a Ray Train run."""

from __future__ import annotations

from typing import Any, final

import ray.train
from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from torch import Tensor, distributed, tensor

from closegap.job import Failure
from closegap_core.group import SINGLE, Group
from closegap_workers.channel import Channel, Event
from closegap_workers.outcome import WorkError
from closegap_workers.ray_channel import Remote
from closegap_workers.ray_cluster import joined
from closegap_workers.ray_trainer import Trainer
from closegap_workers.ray_work import perform
from closegap_workers.runners.runner import Context, Task

RESTARTS = 2
"""How often the group of ranks is started again after one of them died; it goes on from its last checkpoint."""


@final
class Ranks:
    """A group over torch.distributed."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def sum(self, tensor: Tensor) -> None:
        """All-reduce, in place."""
        distributed.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        said = tensor([int(flag)])
        distributed.all_reduce(said, op=distributed.ReduceOp.MAX)
        return bool(said.item())


@final
class RankChannel(Channel):
    """Rank 0 speaks for all; every rank tells Ray Train of every epoch, with plain numbers."""

    def __init__(self, remote: Remote, rank: int) -> None:
        self._remote, self._rank = remote, rank

    def put(self, event: Event) -> None:
        if self._rank == 0 or event["type"] == "span":
            self._remote.put({**event, "rank": 0} if event["type"] == "log" else event)
        if event["type"] == "epoch":
            ray.train.report({"epoch": int(event["epoch"]), "valid_elbo": float(event["valid"]["elbo"])})

    def stopped(self) -> bool:
        return self._remote.stopped()


def run(kind: str, context: Context, task: Task) -> Task | None:
    """Run the work of `kind` on `resources.workers` ranks. Raises WorkError, RequestError and what Ray raises."""
    resources = context.spec.resources
    with joined(context, bundles=resources.workers) as post:
        trainer = Trainer(
            _rank,
            train_loop_config={"kind": kind, "task": task, "mailbox": post.mailbox},
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus > 0,
                resources_per_worker=_of_a_rank(resources.cpus, resources.gpus),
            ),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if resources.gpus > 0 else "gloo"),
            run_config=RunConfig(
                name=f"{context.job}-{context.attempt}",  # of this attempt: checkpoints are core's, Ray's are not used
                # Beside what the attempt holds: Ray makes its folders anew where they were renamed.
                storage_path=str(context.work.parent / "ray"),
                failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=RESTARTS),
            ),
        )
        answer: Task | None = trainer.fit().return_value
        failure = post.failure()
    if failure is not None:
        raise WorkError(Failure.model_validate(failure))
    return answer


def _of_a_rank(cpus: float, gpus: float) -> dict[str, float]:
    return {"CPU": cpus, "GPU": gpus} if gpus > 0 else {"CPU": cpus}


def _rank(config: dict[str, Any]) -> Task | None:
    group: Group = SINGLE if distributed.get_world_size() == 1 else Ranks()
    remote = Remote(config["mailbox"])
    return perform(config["kind"], config["task"], remote, RankChannel(remote, group.rank), group)
