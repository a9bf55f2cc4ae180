"""Specs run in this process tree, without queue and store: the same attempts, their events as lines of JSON.

Each line has `job` (its name, or kind and number), `kind` and `type`. Beside what the work says there are
`{"type": "state", "to": running | succeeded | failed | cancelled, "outputs", "error"}`.
"""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from typing import Any, final

from closegap.errors import Problem, ServiceError, SpecError
from closegap.job import Failure
from closegap.settings import Settings
from closegap.specs import spec as specs
from closegap.specs.kinds import Spec, SweepSpec
from closegap.specs.references import find
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core.errors import CoreError
from closegap_workers.channel import Event, Stream
from closegap_workers.cluster import Keeper
from closegap_workers.execution import Execution, Order
from closegap_workers.outcome import failure_of
from closegap_workers.process import adopt_orphans
from closegap_workers.work_folder import log_file, tidy

SUCCEEDED, FAILED, CANCELLED = 0, 100, 103


@final
class Local:
    """The body of `python -m closegap_workers run`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = ArtifactStore(settings.storage)
        self._registry = Registry(self._store)
        self._output = Stream(sys.stdout)
        self._outputs: dict[str, dict[str, Any]] = {}
        self._signals = 0

    def run(self, wanted: list[Spec]) -> int:
        """Run specs, each after those it needs. Exit status. Raises SpecError, ClusterError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        adopt_orphans()
        ordered = list(_ordered(wanted))
        keeper, variables = None, {}
        ends = []
        try:
            if any(spec.resources.workers > 0 or isinstance(spec, SweepSpec) for spec in wanted):
                keeper = Keeper(self._settings.home, self._settings.ray_address)
                variables = keeper.ready(lambda: self._signals > 0).variables()
            for name, spec in ordered:
                ends.append(self._job(name, spec, variables))
        finally:
            if keeper is not None:
                keeper.stop(adopted=True)
        return CANCELLED if self._signals else max(ends)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1

    def _job(self, name: str, spec: Spec, variables: dict[str, str]) -> int:
        def say(event: Event) -> None:
            self._output.put({"job": name, "kind": spec.kind, **event})

        missing = sorted(need for need in _needs(spec) if need not in self._outputs)
        if self._signals or missing:
            reason = f"{', '.join(missing)} did not succeed" if missing else "stopped"
            say({"type": "state", "to": "cancelled", "reason": reason})
            return FAILED
        say({"type": "state", "to": "running"})
        identifier = f"run-{secrets.token_hex(8)}"
        order = Order(identifier, 1, specs.dump(spec), self._outputs, identifier, kind=spec.kind)
        ended = Execution(order, log_file(self._store.work(identifier), 1), variables, say).see_through(
            lambda: self._signals > 0, lambda: self._signals > 1, self._settings.grace_seconds
        )
        outcome = ended.outcome or {"state": "died"}
        if outcome["state"] == "succeeded":
            return self._succeed(name, identifier, outcome, say)
        if self._signals:
            say({"type": "state", "to": "cancelled", "reason": "stopped"})
            return FAILED
        return _failed(ended.failure(), say)

    def _succeed(self, name: str, identifier: str, outcome: Event, say: Callable[[Event], None]) -> int:
        outputs: dict[str, Any] = outcome["outputs"]
        if outcome["register"] is not None:
            try:
                self._registry.register(outcome["register"], outputs["model"], identifier, 1)
            except (ServiceError, CoreError, OSError) as error:
                return _failed(failure_of(error), say)
        self._outputs[name] = outputs
        say({"type": "state", "to": "succeeded", "outputs": outputs})
        tidy(self._store.work(identifier))
        return SUCCEEDED


def _failed(failure: Failure, say: Callable[[Event], None]) -> int:
    say({"type": "state", "to": "failed", "error": failure.model_dump(mode="json")})
    return FAILED


def _needs(spec: Spec) -> set[str]:
    return set(spec.needs) | {name for _, name, _ in find(specs.dump(spec))}


def _ordered(wanted: list[Spec]) -> Iterator[tuple[str, Spec]]:
    """Names and specs, each after those it needs, else as they were given."""
    named = specs.named(wanted)
    unknown = sorted({need for spec in wanted for need in _needs(spec)} - set(named))
    if unknown:
        message = f"nothing here is called {', '.join(unknown)}"
        raise SpecError(
            [Problem("needs", "/needs", unknown, message, "names of specs that are run together")]
        )
    order = TopologicalSorter({name: sorted(_needs(spec)) for name, spec in named.items()}).static_order()
    return ((name, named[name]) for name in order)
