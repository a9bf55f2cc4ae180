"""Whatever is asked of the queue in whatever order: what must hold after each step, by an oracle of plain Python."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any, final

import pytest
import redis

from closegap.errors import Conflict, LeaseLost
from closegap.job import Capacity, Claim, Failure, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.store.store import connect

PROJECTS = ("p", "q", "r")
WORKERS = {
    "small": Capacity(cpus=1),
    "large": Capacity(cpus=4, gpus=2),
    "exporter": Capacity(cpus=2, kinds=frozenset({"export"})),
}
TRAIN = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": "standard",
}
STEPS = 300
AGEING = 0.01
"""Seconds of waiting for a point of priority: within a test both count."""


@final
class World:
    """A queue, those who use it, and what is known of it from outside."""

    def __init__(self, queue: Queue, client: redis.Redis, namespace: str, seed: int) -> None:
        self.queue, self.client, self.root = queue, client, f"{{{namespace}}}"
        self.draw = random.Random(seed)
        self.made: list[str] = []
        self.held: dict[str, Claim] = {}
        self.ends: dict[str, State] = {}

    # --- what may happen --------------------------------------------------------------------------------------------

    def submit(self) -> None:
        draw = self.draw
        fields: dict[str, Any] = {
            "priority": draw.choice((0, 20, 50, 50, 100)),
            "preemptible": draw.random() < 0.5,
            "labels": {"team": draw.choice("ab")},
            "retries": {"infrastructure": draw.choice((0, 3))},
            "resources": {"workers": 1, "cpus": draw.choice((1, 1, 3)), "gpus": draw.choice((0, 0, 1, 0.1))},
        }
        specs = [{**TRAIN, "name": "t", **fields}]
        if draw.random() < 0.4:
            specs.append({"kind": "export", "name": "x", "model": "${t.model}", **fields})
        if draw.random() < 0.2:
            specs.append({"kind": "evaluate", "model": "${t.model}", "needs": ["x"][: len(specs) - 1]})
        self.made += [job.id for job in self.queue.submit(spec.parse(specs), project=draw.choice(PROJECTS))]

    def claim(self) -> None:
        worker = self.draw.choice(list(WORKERS))
        if any(claim.job.owner == worker for claim in self.held.values()):
            return
        self.queue.reap()
        expected = self.first(worker)
        seconds = 30.0 if self.draw.random() < 0.8 else 0.001
        claim = self.queue.claim(worker, WORKERS[worker], seconds)
        if seconds < 1:
            time.sleep(0.002)  # over before anything else: not between an oracle's look and a claim
        if claim is None:
            assert expected is None
            return
        # Only what backed off until this very moment may be better than what the oracle saw.
        assert claim.job.id == expected or claim.attempt > 1
        self.held[claim.job.id] = claim

    def own(self) -> None:
        """An owner, perhaps of a lost lease, does something."""
        if not self.held:
            return
        identifier = self.draw.choice(sorted(self.held))
        lease = self.held[identifier].lease
        queue = self.queue
        failure = Failure(failure=self.draw.choice(("infrastructure", "user")), message="no")
        act = self.draw.choice(
            (
                lambda: queue.start(lease),
                lambda: queue.start(lease),
                lambda: queue.renew(lease, 30.0),
                lambda: queue.succeed(lease, {"model": "m"}),
                lambda: queue.succeed(lease, {"model": "m"}),
                lambda: queue.fail(lease, failure),
                lambda: queue.release(lease, "drain"),
                lambda: queue.stopped(lease),
                lambda: queue.stopped(lease),
            )
        )
        try:
            act()
        except LeaseLost:
            del self.held[identifier]
        except Conflict:
            return
        if identifier in self.held and self.records()[identifier].get("token") != lease.token:
            del self.held[identifier]

    def ask(self) -> None:
        """A user does something to a job."""
        if not self.made:
            return
        identifier, draw, queue = self.draw.choice(self.made), self.draw, self.queue
        act = draw.choice(
            (queue.pause, queue.resume, queue.resume, queue.cancel, queue.retry, self.prefer, queue.position)
        )
        try:
            act(identifier)
        except Conflict:
            return
        self.made = sorted(self.members("jobs")[0])

    def prefer(self, identifier: str) -> None:
        self.queue.change(
            identifier, priority=self.draw.randrange(101), labels={"team": self.draw.choice("abc")}
        )

    def manage(self) -> None:
        """Somebody sees to limits and workers."""
        worker, draw = self.draw.choice(list(WORKERS)), self.draw
        for name, capacity in WORKERS.items():
            self.queue.heartbeat(name, capacity)
        if draw.random() < 0.3:
            self.queue.drain(worker, now=draw.random() < 0.5)
        else:
            self.queue.undrain(worker)
        self.queue.limit(draw.choice(PROJECTS), draw.choice((None, 0, 1, 2)), draw.choice((None, 1.0)))

    # --- what is known ----------------------------------------------------------------------------------------------

    def records(self) -> dict[str, dict[str, str]]:
        with self.client.pipeline() as pipe:
            for identifier in self.made:
                pipe.hgetall(f"{self.root}:job:{identifier}")
            return dict(zip(self.made, pipe.execute(), strict=True))

    def members(self, *names: str) -> list[set[str]]:
        """Of sorted sets."""
        with self.client.pipeline() as pipe:
            for name in names:
                pipe.zrange(f"{self.root}:{name}", 0, -1)
            return [set(found) for found in pipe.execute()]

    def first(self, worker: str) -> str | None:
        """The job that a worker must be given: the lowest score among all that fit."""
        now = time.time() * 1000
        known = {worker.id: worker for worker in self.queue.workers()}
        if worker in known and known[worker].drained_by is not None:
            return None
        spare = {project.name: project for project in self.queue.projects()}
        capacity, best = WORKERS[worker], []
        for identifier, record in self.records().items():
            if record["state"] != "queued" or float(record.get("not_before", 0)) > now + 1:
                continue
            request, project = json.loads(record["request"]), spare[record["project"]]
            if (
                request["cpus"] <= capacity.cpus
                and request["gpus"] <= capacity.gpus
                and (capacity.kinds is None or record["kind"] in capacity.kinds)
                and (project.most_running is None or project.running < project.most_running)
                and (project.most_gpus is None or project.gpus + request["gpus"] <= project.most_gpus + 1e-9)
            ):
                score = int(record["since"]) - int(record["priority"]) * AGEING * 1e6
                best.append((score, identifier))
        return min(best)[1] if best else None

    def check(self) -> None:
        """What must hold at any time."""
        records = self.records()
        delayed, leases, preemptible, lines = self.members("delayed", "leases", "preemptible", "lines")
        in_line = [name for line in self.members(*(f"line:{line}" for line in lines)) for name in line]
        for line in lines:
            [(_, head)] = self.client.zrange(f"{self.root}:line:{line}", 0, 0, withscores=True)  # type: ignore[misc,str-unpack]
            assert self.client.zscore(f"{self.root}:lines", line) == head
        states = dict(zip(State, self.members(*(f"in:state:{state}" for state in State)), strict=True))
        assert max(Counter([*in_line, *delayed, *leases]).values(), default=1) == 1, "a job is in two places"
        running: Counter[str] = Counter()
        gpus: Counter[str] = Counter()
        for identifier, record in records.items():
            state = State(record["state"])
            assert (identifier in in_line or identifier in delayed) == (state is State.QUEUED)
            assert (identifier in leases) == (state in (State.CLAIMED, State.RUNNING))
            assert ("token" in record) == ("owner" in record) == (identifier in leases)
            assert "wish" not in record or identifier in leases
            assert identifier in states[state]
            assert (identifier in preemptible) == (identifier in leases and record["preemptible"] == "1")
            assert (int(record["waiting"]) > 0) or state is not State.BLOCKED
            # Terminal states never change.
            assert self.ends.get(identifier, state) is state
            if state.terminal:
                self.ends[identifier] = state
            if identifier in leases:
                running[record["project"]] += 1
                gpus[record["project"]] += json.loads(record["request"])["gpus"]
        assert sum(map(len, states.values())) == len(records)
        for project in self.queue.projects():
            assert project.running == running[project.name]
            assert abs(project.gpus - gpus[project.name]) < 1e-6

    def drain(self) -> None:
        """Let all that waits run to its end."""
        for name in WORKERS:
            self.queue.heartbeat(name, WORKERS[name])
            self.queue.undrain(name)
        for project in PROJECTS:
            self.queue.limit(project, None, None)
        for identifier in self.made:
            if self.queue.get(identifier).state is State.PAUSED:
                self.queue.resume(identifier)
        for claim in self.held.values():
            try:
                self.queue.release(claim.lease, "the end")
            except LeaseLost:
                continue
        limit = time.monotonic() + 30
        while any(not self.queue.get(identifier).state.terminal for identifier in self.made):
            claim = self.queue.claim("last", Capacity(cpus=8, gpus=8), 30.0)
            if claim is not None:
                self.queue.start(claim.lease)
                self.queue.succeed(claim.lease, {"model": "m"})
            assert time.monotonic() < limit, "a job is lost: it never ends"


@pytest.mark.parametrize("seed", range(4))
def test_any_interleaving_keeps_one_owner_the_limits_and_every_job(
    seed: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closegap.queue.roster.PREEMPTION_SECONDS", 0.001)
    monkeypatch.setattr("closegap.queue.scripts.AGEING_SECONDS", AGEING)
    client = connect(settings)
    world = World(Queue(client, settings.namespace, 0.005), client, settings.namespace, seed)
    steps = (world.submit, world.claim, world.claim, world.own, world.own, world.own, world.ask, world.manage)
    for number in range(STEPS):
        before = {project.name: project for project in world.queue.projects()}
        world.draw.choice(steps)()
        for project in world.queue.projects():
            # A limit may be set below what runs; but no claim exceeds it.
            grown = project.running > before.get(project.name, project).running
            assert not grown or project.most_running is None or project.running <= project.most_running
        if number % 5 == 0:
            world.check()
    world.check()
    world.drain()
    world.check()
    assert {state.terminal for state in world.ends.values()} == {True}
    client.close()
