"""Stopping without an end: pause and resume, preemption, and draining a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from closegap.errors import Conflict, NotFound
from closegap.job import Capacity, Failure, State
from closegap.queue.queue import Queue
from closegap.specs import spec
from closegap.specs.spec import Spec
from tests.service.claims import ONE, claimed, run

Train = Callable[..., list[Spec]]

# --- pause and resume ------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_paused_at_once_and_resumed(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    paused = queue.pause(job.id, actor="anna")
    assert (paused.state, paused.reason) == (State.PAUSED, "paused by anna")
    assert queue.pause(job.id).version == paused.version
    assert queue.position(job.id) == (None, "it is paused by anna", f"closegap resume {job.id}")
    assert claimed(queue) == []
    assert queue.resume(job.id, actor="bert").reason == "resumed by bert"
    assert run(queue).job.id == job.id


def test_a_running_job_is_paused_when_it_has_stopped(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    claim = run(queue)
    assert queue.pause(job.id, actor="anna").state is State.RUNNING
    wish = queue.renew(claim.lease, 30.0)
    assert wish is not None
    assert (wish.to, wish.actor) == (State.PAUSED, "anna")
    queue.stopped(claim.lease)
    queue.stopped(claim.lease)  # an answer was lost
    paused = queue.get(job.id)
    assert (paused.state, paused.owner, paused.wish, paused.retries_spent) == (State.PAUSED, None, None, {})
    queue.resume(job.id)
    again = run(queue)
    assert (again.attempt, again.job.work) == (2, job.id)
    assert queue.renew(again.lease, 30.0) is None


def test_a_pause_can_be_withdrawn_and_cancel_says_more(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    claim = run(queue)
    queue.pause(job.id)
    assert queue.resume(job.id).wish is None
    with pytest.raises(Conflict, match="nobody asked"):
        queue.stopped(claim.lease)
    queue.pause(job.id)
    queue.cancel(job.id, actor="anna")
    queue.pause(job.id)
    queue.stopped(claim.lease)
    assert queue.get(job.id).reason == "cancelled by anna"
    for act in (queue.pause, queue.resume):
        with pytest.raises(Conflict, match="is over"):
            act(job.id)


def test_a_paused_job_can_be_cancelled_and_its_dependents_go_along(queue: Queue, chain: list[Spec]) -> None:
    jobs = queue.submit(chain)
    queue.pause(jobs[0].id)
    queue.pause(jobs[3].id)
    queue.cancel(jobs[0].id)
    assert {queue.get(job.id).state for job in jobs} == {State.CANCELLED}


def test_a_blocked_job_is_paused_and_still_counts_its_needs(queue: Queue, chain: list[Spec]) -> None:
    _train, evaluate, export, encode = queue.submit(chain)
    for job in (evaluate, export, encode):
        queue.pause(job.id)
    assert queue.resume(export.id).state is State.BLOCKED
    queue.succeed(run(queue).lease, {"model": "m"})
    assert queue.get(export.id).state is State.QUEUED
    assert queue.get(evaluate.id).state is State.PAUSED
    assert queue.resume(evaluate.id).state is State.QUEUED
    assert queue.resume(encode.id).state is State.BLOCKED
    assert claimed(queue) == ["x", "e"]


def test_an_attempt_that_dies_while_it_is_paused_is_not_run_again(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(retries={"infrastructure": 1}))
    claim = queue.claim("w", ONE, 0.01)
    assert claim is not None
    queue.pause(job.id, actor="anna")
    time.sleep(0.03)
    assert queue.reap() == [job.id]
    assert queue.get(job.id).state is State.PAUSED
    assert "paused by anna (worker w was not heard of in time" in queue.get(job.id).reason
    queue.resume(job.id)
    claim = run(queue)
    queue.pause(job.id)
    queue.fail(claim.lease, Failure(failure="infrastructure", message="node lost"))
    assert queue.get(job.id).state is State.FAILED  # its budget is spent, pause or no pause


# --- preemption ------------------------------------------------------------------------------------------------------


@pytest.fixture
def beat(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Heartbeats of workers, each of which decides on preemption."""
    monkeypatch.setattr("closegap.queue.roster.PREEMPTION_SECONDS", 0.001)

    def beats(*workers: str, capacity: Capacity = ONE) -> None:
        for worker in workers:
            time.sleep(0.003)
            queue.heartbeat(worker, capacity)

    return beats


def wished(queue: Queue, *names: str) -> list[bool]:
    """Of which of these jobs it is wished that they make way."""
    return [(wish := queue.get(name).wish) is not None and wish.to is State.QUEUED for name in names]


def test_a_lower_job_makes_way_and_waits_behind(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    beat("w")
    queue.submit(train(name="low", priority=10, preemptible=True, retries={"infrastructure": 0}))
    low = run(queue)
    beat("w")
    assert wished(queue, "low") == [False]
    [high] = queue.submit(train(name="high", priority=90))
    beat("w", "w")
    wish = queue.renew(low.lease, 30.0)
    assert wish is not None
    assert (wish.to, wish.actor, wish.beneficiary) == (State.QUEUED, "queue", high.id)
    queue.stopped(low.lease)
    back = queue.get("low")
    assert (back.state, back.retries_spent) == (State.QUEUED, {"preempted": 1})
    assert back.reason == f"preempted by {high.id} (priority 90) (retry 1, preempted)"
    assert claimed(queue) == ["high", "low"]


@pytest.mark.parametrize("gone", ["cancelled", "claimed by another"])
def test_nobody_makes_way_for_a_job_that_waits_no_longer(
    queue: Queue, train: Train, beat: Callable[..., None], gone: str
) -> None:
    beat("w")
    queue.submit(train(name="low", priority=10, preemptible=True))
    low = run(queue)
    [high] = queue.submit(train(name="high", priority=90))
    beat("w")
    assert wished(queue, "low") == [True]
    if gone == "cancelled":
        queue.cancel(high.id)
    else:
        run(queue)
    beat("w")
    assert wished(queue, "low") == [False]
    assert [event.data["reason"] for event in queue.events(low.job.id) if event.type == "wish"] == [
        f"preempted by {high.id} (priority 90)",
        f"{high.id} waits no longer",
    ]
    # One that had heard of it before, and has stopped, is given back, and keeps its place.
    since = queue.get("low").queued
    queue.release(low.lease, "the attempt was stopped")
    assert queue.get("low").queued == since


def test_a_wish_for_somebody_who_waits_is_kept(queue: Queue, train: Train, beat: Callable[..., None]) -> None:
    beat("w")
    queue.submit(train(name="low", priority=10, preemptible=True))
    run(queue)
    queue.submit(train(name="high", priority=90))
    beat("w", "w", "w")
    assert wished(queue, "low") == [True]


def test_who_ran_for_long_does_not_come_back_before_whom_it_made_way_for(
    queue: Queue, train: Train, beat: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the place it had before, it would be claimed again, and preempted again, for ever."""
    beat("w")
    queue.submit(train(name="low", priority=10, preemptible=True))
    low = run(queue)
    age(queue, "low", hours=10)
    queue.submit(train(name="high", priority=90))
    beat("w")
    queue.stopped(low.lease)
    assert run(queue).job.name == "high"


def age(queue: Queue, name: str, hours: float) -> None:
    """As if it had begun to wait so much earlier."""
    key = f"{queue._root}:job:{queue.get(name).id}"  # the clock is the store's: no test can turn it
    since = int(str(queue._client.hget(key, "since")))
    queue._client.hset(key, "since", str(since - round(hours * 3600e6)))


def test_only_a_preemptible_job_of_lower_priority_makes_way(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    workers = ("a", "b", "c")
    beat(*workers)
    for worker, name, priority, preemptible in (
        ("a", "firm", 10, False), ("b", "equal", 60, True), ("c", "higher", 70, True),
    ):  # fmt: skip
        queue.submit(train(name=name, priority=priority, preemptible=preemptible))
        run(queue, worker)
    queue.submit(train(name="waits", priority=60))
    beat(*workers)
    assert wished(queue, "firm", "equal", "higher") == [False] * 3
    queue.change("equal", priority=59)
    beat(*workers)
    assert wished(queue, "firm", "equal", "higher") == [False, True, False]


def test_the_lowest_goes_first_and_one_for_each_that_waits(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    workers = ("a", "b", "c")
    beat(*workers)
    for worker, priority in zip(workers, (30, 20, 20), strict=True):
        queue.submit(train(name=f"on-{worker}", priority=priority, preemptible=True))
        run(queue, worker)
        time.sleep(0.002)
    queue.submit(train(name="h1", priority=90))
    beat(*workers)
    beat(*workers)
    # Of equals the one that was claimed last has least to lose.
    assert wished(queue, "on-a", "on-b", "on-c") == [False, False, True]
    queue.submit(train(name="h2", priority=90))
    beat(*workers)
    beat(*workers)
    assert wished(queue, "on-a", "on-b", "on-c") == [False, True, True]


def test_nobody_makes_way_where_a_free_worker_could_take_it(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    beat("busy", "free")
    queue.submit(train(name="low", priority=10, preemptible=True))
    run(queue, "busy")
    queue.submit(train(name="high", priority=90))
    beat("busy", "free")
    assert wished(queue, "low") == [False]
    queue.drain("free")
    beat("busy", "free")
    assert wished(queue, "low") == [True]


def test_nobody_makes_way_for_what_would_not_fit_its_worker(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    beat("w", capacity=Capacity(cpus=4, kinds=frozenset({"train"})))
    queue.submit(train(name="low", priority=10, preemptible=True))
    run(queue)
    queue.submit(spec.parse({"kind": "export", "model": "m", "priority": 90}))
    beat("w", capacity=Capacity(cpus=4, kinds=frozenset({"train"})))
    assert wished(queue, "low") == [False]


def test_a_job_makes_way_for_another_of_a_project_at_its_limit(
    queue: Queue, train: Train, beat: Callable[..., None]
) -> None:
    queue.limit("vision", running=1, gpus=None)
    beat("a", "b")
    queue.submit(train(name="low", priority=10, preemptible=True), project="vision")
    run(queue, "a")
    queue.submit(train(name="other", priority=5, preemptible=True), project="text")
    run(queue, "b")
    queue.submit(train(name="high", priority=90), project="vision")
    beat("a", "b")
    # `other` would go first, but its worker could not take `high` while `low` runs.
    assert wished(queue, "low", "other") == [True, False]


# --- drain -----------------------------------------------------------------------------------------------------------


def test_a_drained_worker_claims_nothing_until_it_is_undrained(queue: Queue, train: Train) -> None:
    queue.heartbeat("node-1", ONE)
    queue.submit(train(name="a"))
    held = run(queue, "node-1")
    drained = queue.drain("node", actor="anna")
    assert (drained.drained_by, drained.jobs) == ("anna", (held.job.id,))
    assert queue.heartbeat("node-1", ONE) == "anna"
    assert queue.renew(held.lease, 30.0) is None
    queue.succeed(held.lease, {})
    queue.submit(train(name="b"))
    assert claimed(queue, worker="node-1") == []
    assert queue.position("b")[1:] == (
        "every worker that could run it is drained",
        "closegap workers undrain node-1",
    )
    queue.undrain("node-1")
    assert claimed(queue, worker="node-1") == ["b"]
    for act in (queue.drain, queue.undrain):
        with pytest.raises(NotFound, match="there are: node-1"):
            act("other")


def test_a_worker_that_is_drained_now_gives_back_what_it_holds(queue: Queue, train: Train) -> None:
    queue.heartbeat("a", ONE)
    queue.heartbeat("b", ONE)
    for name in ("mine", "other"):
        queue.submit(train(name=name))
    mine, other = run(queue, "a"), run(queue, "b")
    queue.drain("a", now=True, actor="anna")
    wish = queue.renew(mine.lease, 30.0)
    assert wish is not None
    assert (wish.to, wish.reason) == (State.QUEUED, "worker a was drained by anna")
    assert queue.renew(other.lease, 30.0) is None
    queue.stopped(mine.lease)
    assert claimed(queue, worker="a") == []
    assert claimed(queue, worker="b") == ["mine"]


def test_a_worker_that_has_gone_is_no_longer_drained(queue: Queue, train: Train) -> None:
    queue.heartbeat("a", ONE)
    queue.drain("a")
    queue.forget("a")
    queue.submit(train(name="x"))
    assert claimed(queue, worker="a") == ["x"]
