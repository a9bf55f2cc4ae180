"""Ray's TorchTrainer without the three helpers that a fixed group on shared files has no use for.

Each is an actor, a process of its own that takes seconds of a core to start; and two of them are detached, so that
they stay in the cluster when the run is over, or its attempt was killed. This leans on Ray's insides: its version is
pinned, and tests/workers counts what is left.
"""

from __future__ import annotations

import signal
from typing import Any, final

from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.torch.torch_trainer import TorchTrainer


@final
class FixedGroup(FixedScalingPolicy):
    """Asks no autoscaler: `check` has seen that the cluster has the room."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """No coordinator."""

    def _maybe_send_resource_request(self) -> None:
        """No coordinator."""


@final
class Trainer(TorchTrainer):
    """One run on a group of fixed size that reads its data itself."""

    def fit(self) -> Any:
        """As TorchTrainer's; gives SIGINT's handler back, which would keep the run's controller alive."""
        handler = signal.getsignal(signal.SIGINT)
        try:
            return super().fit()
        finally:
            signal.signal(signal.SIGINT, handler)

    def _create_default_callbacks(self) -> list[Any]:
        """Without Ray Data's shards, and without the cleaner of placement groups.

        The cleaner asks the dashboard, which our head does not have. Nothing is lost: the run's placement group
        belongs to its controller, and goes when that does.
        """
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback for callback in super()._create_default_callbacks() if not isinstance(callback, unused)
        ]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        policy = FixedGroup(arguments["scaling_policy"].scaling_config)
        return super()._initialize_and_run_controller(**{**arguments, "scaling_policy": policy})
