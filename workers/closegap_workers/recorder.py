"""Where the epochs of a training are recorded beside its result, for tools that people look at many runs with.

A recorder reads events and nothing else: with and without it a training is the same, bit for bit. One that fails says
so once and is silent from then on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from closegap_workers.channel import Event

Say = Callable[[str], None]
"""Takes a sentence for the job's log."""


class Recorder(ABC):
    """One place."""

    name: str

    @abstractmethod
    def epoch(self, event: Event) -> None:
        """Record an `epoch` event; one that is recorded already, by an earlier attempt, is left out."""

    @abstractmethod
    def close(self) -> None:
        """Everything is there afterwards, or what is not was told."""


def scalars(event: Event) -> dict[str, float]:
    """The numbers of an epoch, by `<quantity>` or `<quantity>/<part>`; nats, seconds."""
    found = {name: event[name] for name in ("learning_rate", "kl_weight")}
    found["seconds_per_epoch"] = event["seconds"]
    found |= {f"gradient_norm/{name}": value for name, value in event["gradient_norm"].items()}
    for part in ("train", "valid"):
        for name, value in event[part].items():
            if isinstance(value, list):
                found |= {f"{name}/{place:02d}": each for place, each in enumerate(value)}
            else:
                found[f"{name}/{part}"] = value
    return {name: float(value) for name, value in found.items()}
