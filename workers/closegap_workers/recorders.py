"""All the recorders of a training: one line and one file each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, final

from closegap_workers.channel import Channel, Event
from closegap_workers.recorder import Recorder, Say


@final
class Recorders:
    """All of a training's; an exception of one reaches neither the training nor the others."""

    def __init__(self, recorders: Iterable[Recorder], say: Say) -> None:
        self._recorders, self._say = list(recorders), say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each(lambda recorder: recorder.close())

    def __bool__(self) -> bool:
        return bool(self._recorders)

    def epoch(self, event: Event) -> None:
        """Record an `epoch` event everywhere."""
        self._each(lambda recorder: recorder.epoch(event))

    def _each(self, do: Callable[[Recorder], None]) -> None:
        for recorder in tuple(self._recorders):
            try:
                do(recorder)
            except Exception as error:  # of somebody else's library, disk or network
                self._recorders.remove(recorder)
                self._say(f"{recorder.name} records nothing more: {type(error).__name__}: {error}")


def recorders(wanted: Mapping[str, Any], channel: Channel) -> Recorders:
    """Those that a task asks for, by name, each with what it needs."""

    def say(line: str) -> None:
        channel.put({"type": "log", "line": line, "level": "warning"})

    made: list[Recorder] = []
    if "tensorboard" in wanted:
        from closegap_workers.tensorboard import TensorBoard

        try:
            made.append(TensorBoard(**wanted["tensorboard"]))
        except OSError as error:
            say(f"epochs are not recorded for TensorBoard: {error}")
    if "mlflow" in wanted:
        from closegap_workers.mlflow_run import MlflowRun

        made.append(MlflowRun(wanted["mlflow"], say))
    return Recorders(made, say)
