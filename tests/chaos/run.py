"""One run: the service, the load, the faults of the plan; and the history that is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from redis.exceptions import RedisError

from closegap.job import State
from closegap_workers.cluster import Cluster
from tests.chaos import collect, schedule, workload
from tests.chaos.faults import KINDS, Fault
from tests.chaos.history import History, Struck
from tests.chaos.load import Load
from tests.chaos.stack import Stack

PATIENCE = 20.0
"""Seconds that a fault waits for something to strike."""
TICK, AIM = 0.05, 0.004
"""Seconds between two looks, and between two looks of a fault that waits for its moment."""
AHEAD = 2
"""Faults ahead for which the work that they need is submitted."""
OVER = [state for state in State if state.terminal]
OPEN = [state for state in State if not state.terminal]


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    seed: int
    faults: int
    jobs: int
    without: frozenset[str] = frozenset()
    lease: float = 4.0
    grace: float = 4.0
    apis: int = 2
    workers: int = 3
    moment: float = 5.0
    """Seconds that a fault waits for the window that it is planned for."""
    breath: float = 8.0
    """Seconds that the next fault waits, at most, for as many jobs to end as fit the plan: work goes on meanwhile."""
    backlog: int = 8
    """Jobs that always wait."""
    calm_seconds: float = 900.0
    """What the jobs that are left have after the last fault."""

    def schedule(self) -> list[schedule.Planned]:
        """Its faults."""
        return schedule.plan(self.seed, self.faults, self.lease, self.without)


@final
class Run:
    """Made and used by the main thread."""

    def __init__(self, plan: Plan, folder: Path, cluster: Cluster, say: Callable[[str, int], None]) -> None:
        """`say` hears what is done, and how many faults are over."""
        self._plan, self._folder, self._say = plan, folder, say
        self._cluster = cluster
        self._schedule = plan.schedule()
        self._struck: list[Struck] = []
        self._healing: list[tuple[float, Fault, int]] = []

    def through(self) -> History:
        """The whole of it; everything has ended afterwards."""
        plan, data = self._plan, self._folder / "data"
        self._say("a model to encode with", 0)
        storage = (self._folder / "home" / "storage").as_uri()
        workload.prepare(data, storage)
        self._say("store, APIs and workers", 0)
        self._stack = Stack(self._folder, self._cluster, plan.lease, plan.grace, plan.apis, plan.workers)
        watch = load = None
        try:
            self._stack.ready()
            began = time.time()
            watch = collect.Watch(storage)
            load = Load(self._stack, plan.seed, plan.jobs, data, plan.backlog)
            with (self._folder / "faults.jsonl").open("w") as record:
                for planned in self._schedule:
                    self._strike(planned, load)
                    record.write(
                        json.dumps({"planned": planned.line(), "struck": asdict(self._struck[-1])}) + "\n"
                    )
                    record.flush()
            self._calm_down(load)
            watch.close()
            jobs, events = collect.records(self._stack)
            fallen = tuple(self._stack.fallen)
        finally:
            if load is not None:
                load.give_up()
            if watch is not None:
                watch.close()
            self._stack.stop()
        told, asked, looked = load.told()
        ended, lost = collect.ended(self._stack.logs)
        return History(
            lease=plan.lease,
            grace=plan.grace,
            workers=plan.workers,
            began=began,
            ended=time.time(),
            seed=plan.seed,
            planned=tuple(sorted({planned.kind for planned in self._schedule})),
            submissions=told,
            asked=asked,
            looked=looked,
            struck=tuple(self._struck),
            jobs=jobs,
            events=events,
            ended_attempts=ended,
            lost_leases=lost,
            artefacts=collect.artefacts(storage),
            seen=tuple(watch.seen),
            fallen=fallen,
            registered=collect.registered(storage),
        )

    def _strike(self, planned: schedule.Planned, load: Load) -> None:
        share = (planned.number - 1) / self._plan.faults
        load.pace(share)
        self._wait(planned.after)
        limit = time.monotonic() + self._plan.breath
        while self._count(OVER) < share * self._plan.jobs and time.monotonic() < limit:
            self._tick()
        self._say(f"{planned.kind} ({load.submitted()} submitted)", planned.number - 1)
        for coming in self._schedule[planned.number - 1 : planned.number + AHEAD]:
            load.also(KINDS[coming.kind].needs, coming.number)
        fault = KINDS[planned.kind](planned, self._stack, load.busy, self._plan.moment)
        limit = time.monotonic() + (PATIENCE if fault.needs is None else 4 * PATIENCE)
        while (hits := fault.strike()) is None and time.monotonic() < limit:
            self._tick(AIM)
        now = time.time()
        self._struck.append(
            Struck(
                planned.number,
                planned.kind,
                now,
                now + planned.lasts,
                tuple(hits or ()),
                fault.met,
                fault.places,
            )
        )
        if hits is not None:
            self._healing.append((time.monotonic() + planned.lasts, fault, len(self._struck) - 1))

    def _calm_down(self, load: Load) -> None:
        """Until everything is healed, submitted, and over."""
        load.pace(1.0)
        self._say("the jobs that are left", self._plan.faults)
        limit = time.monotonic() + self._plan.calm_seconds
        while self._healing or not load.finished() or self._count(OPEN):
            if time.monotonic() > limit:
                return  # the auditor names what is not over
            self._wait(0.2)

    def _count(self, states: list[State]) -> int:
        """Jobs in these states; -1 while the store is away."""
        try:
            return sum(int(self._stack.client().zcard(f"{{chaos}}:in:state:{state}")) for state in states)
        except RedisError:
            return -1

    def _wait(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self._tick()

    def _tick(self, pause: float = TICK) -> None:
        now = time.monotonic()
        self._stack.suffering = {place for _, fault, _ in self._healing for place in fault.places}
        for due in [entry for entry in self._healing if entry[0] <= now]:
            due[1].heal()
            self._healing.remove(due)
            self._struck[due[2]] = replace(self._struck[due[2]], until=time.time(), met=due[1].met)
        self._stack.check()
        time.sleep(pause)
