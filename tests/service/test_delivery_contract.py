"""The delivery contract, sentence by sentence, against the real embedded server, kill -9 included."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from closegap.errors import Conflict, LeaseLost, NotFound, Refused, SpecError, StoreUnavailable
from closegap.job import Capacity, Claim, Failure, Job, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.specs.spec import Spec
from closegap.storage.artifacts import ArtifactStore
from closegap.store.embedded import EmbeddedStore
from closegap.store.store import connect

Train = Callable[..., list[Spec]]
Script = Callable[[str], "subprocess.Popen[str]"]
Heard = Callable[["subprocess.Popen[str]"], str]
ONE = Capacity(cpus=1)


def _submit_until_it_fails(queue: Queue, specs: list[Spec], acknowledged: list[str]) -> None:
    while True:
        acknowledged += [job.id for job in queue.submit(specs)]


def _claim(queue: Queue, lease_seconds: float = 30.0, worker: str = "w") -> Claim:
    claim = queue.claim(worker, ONE, lease_seconds)
    assert claim is not None
    return claim


def _running(queue: Queue, lease_seconds: float = 30.0, worker: str = "w") -> Claim:
    claim = _claim(queue, lease_seconds, worker)
    queue.start(claim.lease)
    return claim


def _next_claim(queue: Queue, worker: str, within: float) -> Claim:
    """As a worker does it: claim, and wait for work between claims."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        claim = queue.claim(worker, ONE, 30.0)
        if claim:
            return claim
        queue.wait_for_work(within)
    raise AssertionError(f"nothing to claim within {within} s")


# 1. A submission is either wholly recorded, and survives the store's kill -9, or refused. -------------------------


def test_acknowledged_submissions_survive_kill_9_of_the_store(
    own_store: EmbeddedStore, chain: list[Spec]
) -> None:
    settings = Settings.load(home=own_store.home)
    client = connect(settings, patience=0.2)
    queue = Queue(client)
    acknowledged: list[str] = []
    assert own_store.pid is not None
    killer = threading.Timer(0.3, os.kill, (own_store.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(StoreUnavailable):
        _submit_until_it_fails(queue, chain, acknowledged)
    killer.join()
    client.close()
    own_store.stop()
    own_store.start()
    client = connect(settings)
    queue = Queue(client)
    assert len(acknowledged) >= 4
    recorded = []
    page = queue.jobs(limit=100)
    while page.cursor:
        recorded += page.jobs
        page = queue.jobs(limit=100, cursor=page.cursor)
    recorded += page.jobs
    assert set(acknowledged) <= {job.id for job in recorded}
    # The one that was in the air is there whole or not at all.
    assert set(Counter(job.pipeline for job in recorded).values()) == {4}
    assert len(recorded) - len(acknowledged) in (0, 4)
    # And what is recorded can be run.
    assert queue.claim("w", ONE, 30.0) is not None
    client.close()


def test_a_refused_submission_leaves_nothing(queue: Queue, chain: list[Spec]) -> None:
    with pytest.raises(SpecError, match=r"\[4\]\.needs\[0\]: nothing is called `nobody`"):
        queue.submit([*chain, *spec.parse({"kind": "evaluate", "model": "m", "needs": ["nobody"]})])
    assert queue.jobs().jobs == []


# 2. The same idempotency key gives the same job; the same key with another spec is a conflict. --------------------


def test_the_same_key_gives_the_same_jobs(queue: Queue, chain: list[Spec]) -> None:
    first = queue.submit(chain, key="k")
    assert [job.id for job in queue.submit(chain, key="k")] == [job.id for job in first]
    assert len(queue.jobs().jobs) == 4
    assert [job.id for job in queue.submit(chain, key="other")] != [job.id for job in first]


def test_the_same_key_gives_the_same_job_even_when_no_worker_could_hold_it_any_more(
    queue: Queue, train: Train
) -> None:
    large = train(resources={"workers": 2, "cpus": 4})
    [first] = queue.submit(large, key="k")
    queue.heartbeat("small", ONE)
    assert [job.id for job in queue.submit(large, key="k")] == [first.id]
    with pytest.raises(Refused):
        queue.submit(large, key="other")


def test_the_same_key_with_another_spec_is_a_conflict(queue: Queue, train: Train) -> None:
    [first] = queue.submit(train(), key="k")
    with pytest.raises(Conflict, match=first.id):
        queue.submit(train(priority=51), key="k")
    assert [job.id for job in queue.jobs().jobs] == [first.id]


def test_submissions_with_one_key_at_the_same_time_make_one_job(queue: Queue, train: Train) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(job.id for job in queue.submit(train(), key="k")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


# 3. A job has at most one owner: the attempt that holds its lease. A write by any other attempt is refused. -------


def test_of_many_claiming_processes_each_job_has_one_owner(
    queue: Queue, train: Train, script: Script
) -> None:
    jobs = [queue.submit(train())[0].id for _ in range(60)]
    claimers = [
        script("""
while claim := queue.claim(f"w{time.monotonic()}", Capacity(cpus=1), 60.0):
    queue.start(claim.lease)
    say(claim.job.id)
    queue.succeed(claim.lease, {})
""")
        for _ in range(4)
    ]
    said = [process.communicate(timeout=30)[0].split() for process in claimers]
    claimed = [word for words in said for word in words]
    assert sorted(claimed) == sorted(jobs)
    assert {job.state for job in queue.jobs(limit=100).jobs} == {State.SUCCEEDED}
    assert {job.attempt for job in queue.jobs(limit=100).jobs} == {1}


def test_every_write_of_an_attempt_that_lost_its_lease_is_refused(queue: Queue, train: Train) -> None:
    queue.submit(train())
    old = _running(queue, lease_seconds=0.05).lease
    time.sleep(0.1)
    new = _claim(queue, worker="other")
    before = queue.get(new.job.id)
    forged = new.lease.model_copy(update={"token": "guess"})
    for lease in (old, forged, old.model_copy(update={"attempt": 2})):
        for write in (
            lambda lease: queue.start(lease),
            lambda lease: queue.renew(lease, 60.0),
            lambda lease: queue.report(lease, [{"type": "log", "text": "late"}]),
            lambda lease: queue.succeed(lease, {"model": "stale"}),
            lambda lease: queue.fail(lease, Failure(failure="user", message="stale")),
            lambda lease: queue.release(lease, "stale"),
            lambda lease: queue.stopped(lease),
        ):
            with pytest.raises(LeaseLost, match="no longer owns"):
                write(lease)
    assert queue.get(new.job.id) == before
    assert not [event for event in queue.events(new.job.id) if event.type == "log"]


def test_terminal_states_never_change(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    queue.succeed(claim.lease, {"model": "m"})
    over = queue.get(claim.job.id)
    assert queue.cancel(claim.job.id).state is State.SUCCEEDED
    with pytest.raises(LeaseLost, match="is over"):
        queue.fail(claim.lease, Failure(failure="infrastructure", message="late"))
    with pytest.raises(Conflict, match="has succeeded"):
        queue.retry(claim.job.id)
    assert queue.reap() == []
    assert queue.get(claim.job.id) == over


def test_a_write_whose_answer_was_lost_may_be_sent_again(queue: Queue, train: Train) -> None:
    for end in (
        lambda lease: queue.succeed(lease, {}),
        lambda lease: queue.fail(lease, Failure(failure="user", message="no")),
    ):
        queue.submit(train())
        claim = _running(queue)
        assert queue.start(claim.lease) == queue.start(claim.lease)
        end(claim.lease)
        states = [event.data.get("to") for event in queue.events(claim.job.id) if event.type == "state"]
        end(claim.lease)
        assert states == [
            event.data.get("to") for event in queue.events(claim.job.id) if event.type == "state"
        ]


def test_a_claim_whose_answer_was_lost_is_given_to_its_worker_again(
    queue: Queue, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = queue.submit(train())
    queue.submit(train())
    read = queue._records.read

    def lost(identifier: str) -> Job:
        monkeypatch.setattr(queue._records, "read", read)
        raise StoreUnavailable("the store cannot be reached")

    monkeypatch.setattr(queue._records, "read", lost)
    with pytest.raises(StoreUnavailable):
        queue.claim("w", ONE, 30.0)
    claim = _claim(queue)
    assert (claim.job.id, claim.attempt) == (first.id, 1)
    queue.start(claim.lease)
    assert _claim(queue).job.id != first.id


def test_each_claim_has_a_higher_fence(queue: Queue, train: Train) -> None:
    fences = []
    for _ in range(3):
        queue.submit(train())
        claim = _running(queue)
        fences.append(claim.fence)
        queue.release(claim.lease, "drains")
    assert fences == sorted(set(fences))


def test_a_claim_sent_again_after_its_lease_has_run_out_is_a_new_claim(
    queue: Queue, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit(train())
    # One token for all: the same claim, sent again.
    monkeypatch.setattr("closegap.queue.leases.secrets.token_hex", lambda size: "0" * 2 * size)
    assert _claim(queue, 0.01).attempt == _claim(queue, 0.01).attempt == 1
    time.sleep(0.02)
    assert queue.reap()
    again = _running(queue)
    assert again.attempt == 2
    queue.succeed(again.lease, {})


# 4. A worker that dies in any window loses its lease within a stated time, and the job is run again … -------------

WINDOWS = {
    "claimed": "",
    "running": "queue.start(claim.lease)",
    "published": """
queue.start(claim.lease)
from closegap_core import bundle
folder = artifacts.staging(claim.job.id, claim.attempt)
(folder / "weights.safetensors").write_text("weights")
bundle.write(folder, "model", {"job": claim.job.id})
artifacts.publish(folder)
""",
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_worker_killed_in_any_window_is_replaced_in_time(
    window: str, queue: Queue, train: Train, script: Script, heard: Heard, settings: Settings
) -> None:
    [job] = queue.submit(train())
    lines = (
        f"claim = queue.claim('doomed', Capacity(cpus=1), 1.0)\n{WINDOWS[window]}\nsay(claim.job.id)\nhang()"
    )
    worker = script(lines)
    assert heard(worker) == job.id
    worker.kill()
    worker.wait()
    killed = time.monotonic()
    claim = _next_claim(queue, "heir", within=5.0)
    # The lease was renewed last before the kill: one lease, and one poll that ends with it (and a busy machine).
    assert time.monotonic() - killed < 1.0 + 0.75
    assert (claim.job.id, claim.attempt, claim.job.retries_spent) == (job.id, 2, {"infrastructure": 1})
    assert claim.job.error is not None
    assert (
        claim.job.error.message
        == "worker doomed was not heard of in time; the lease of attempt 1 has run out"
    )
    assert claim.job.work == job.id  # The same work folder, so the last checkpoint.
    published = ArtifactStore(settings.storage).digests()
    assert len(published) == (window == "published")
    queue.start(claim.lease)
    queue.succeed(claim.lease, {"model": published[0] if published else ""})
    assert queue.get(job.id).state is State.SUCCEEDED


def test_infrastructure_failures_are_retried_until_the_budget_is_spent(queue: Queue, train: Train) -> None:
    queue.submit(train(retries={"infrastructure": 2}))
    for attempt in (1, 2):
        claim = _next_claim(queue, "w", within=2.0)
        queue.start(claim.lease)
        queue.fail(claim.lease, Failure(failure="infrastructure", message="node lost"))
        again = queue.get(claim.job.id)
        assert (again.state, again.attempt) == (State.QUEUED, attempt)
        assert again.not_before is not None
        assert abs((again.not_before - again.updated).total_seconds() - 0.05 * 2 ** (attempt - 1)) < 0.01
    claim = _next_claim(queue, "w", within=2.0)
    assert claim.attempt == 3
    queue.fail(claim.lease, Failure(failure="infrastructure", message="node lost", hint="look at the node"))
    over = queue.get(claim.job.id)
    assert over.state is State.FAILED
    assert over.reason == "infrastructure failure, after 2 retries: node lost"
    assert over.error == Failure(failure="infrastructure", message="node lost", hint="look at the node")


def test_a_job_that_kills_its_workers_fails_at_last(queue: Queue, train: Train) -> None:
    queue.submit(train(retries={"infrastructure": 1}))
    for _ in range(2):
        claim = _running(queue, lease_seconds=0.01)
        time.sleep(0.03)
        assert queue.reap() == [claim.job.id]
    assert queue.get(claim.job.id).state is State.FAILED


@pytest.mark.parametrize("failure", ["user", "numerical"])
def test_user_and_numerical_failures_are_not_retried(queue: Queue, train: Train, failure: str) -> None:
    queue.submit(train())
    claim = _running(queue)
    queue.fail(claim.lease, Failure.model_validate({"failure": failure, "message": "elbo is nan"}))
    over = queue.get(claim.job.id)
    assert (over.state, over.reason) == (State.FAILED, f"{failure} failure: elbo is nan")


def test_preemption_costs_no_budget_and_no_time(queue: Queue, train: Train) -> None:
    queue.submit(train(retries={"infrastructure": 0}))
    for attempt in range(1, 6):
        claim = _running(queue)
        assert claim.attempt == attempt
        queue.release(claim.lease, "the worker drains")
    job = queue.get(claim.job.id)
    assert (job.state, job.retries_spent) == (State.QUEUED, {"preempted": 5})
    assert "the worker drains" in job.reason


def test_a_lease_that_ran_out_unseen_may_be_renewed_by_its_own_attempt(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue, lease_seconds=0.02)
    time.sleep(0.05)
    queue.renew(claim.lease, 30.0)
    assert queue.reap() == []
    queue.succeed(claim.lease, {})


# 5. An artefact appears whole or not at all (test_artifacts.py); a finished job's artefacts are there. -----------


def test_outputs_appear_with_success_and_only_then(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    claim = _claim(queue)
    with pytest.raises(Conflict, match="before it was started"):
        queue.succeed(claim.lease, {"model": "m"})
    queue.start(claim.lease)
    assert queue.get(job.id).outputs == {}
    queue.succeed(claim.lease, {"model": "m", "valid_elbo": -101.25})
    assert queue.get(job.id).outputs == {"model": "m", "valid_elbo": -101.25}


# 6. Cancelling a waiting job takes effect at once; a running one is asked to stop. --------------------------------


def test_a_waiting_job_is_cancelled_at_once(queue: Queue, chain: list[Spec]) -> None:
    train, evaluate, export, encode = queue.submit(chain)
    assert queue.cancel(export.id, actor="anna").state is State.CANCELLED
    assert queue.get(encode.id).state is State.CANCELLED
    assert queue.get(encode.id).cancelled_by == export.id
    assert queue.cancel(train.id, actor="anna").reason == "cancelled by anna"
    assert queue.get(evaluate.id).reason == f"its need t ({train.id}) was cancelled"
    assert queue.claim("w", ONE, 30.0) is None


def test_a_job_that_backs_off_is_cancelled_at_once(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    queue.fail(claim.lease, Failure(failure="infrastructure", message="no"))
    assert queue.cancel(claim.job.id).state is State.CANCELLED
    time.sleep(0.1)
    assert queue.claim("w", ONE, 30.0) is None


@pytest.mark.parametrize("started", [False, True])
def test_a_running_job_hears_the_wish_and_stops(queue: Queue, train: Train, started: bool) -> None:
    [job] = queue.submit(train())
    claim = _claim(queue)
    if started:
        queue.start(claim.lease)
    assert queue.renew(claim.lease, 30.0) is None
    with pytest.raises(Conflict, match="nobody asked"):
        queue.stopped(claim.lease)
    asked = queue.cancel(job.id, actor="anna")
    wish = queue.renew(claim.lease, 30.0)
    assert (asked.state.terminal, asked.wish) == (False, wish)
    assert wish is not None
    assert (wish.to, wish.actor) == (State.CANCELLED, "anna")
    queue.stopped(claim.lease)
    assert queue.get(job.id).reason == "cancelled by anna"


def test_a_wish_outlives_the_worker(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    _running(queue, lease_seconds=0.02)
    queue.cancel(job.id, actor="anna")
    time.sleep(0.05)
    assert queue.claim("other", ONE, 30.0) is None
    assert queue.get(job.id).state is State.CANCELLED


def test_a_wish_beats_a_retry_but_not_a_success(queue: Queue, train: Train) -> None:
    first, second = queue.submit(train())[0], queue.submit(train())[0]
    claims = [_running(queue), _running(queue)]
    for job in (first, second):
        queue.cancel(job.id)
    queue.fail(claims[0].lease, Failure(failure="infrastructure", message="killed"))
    queue.succeed(claims[1].lease, {})
    assert queue.get(first.id).state is State.CANCELLED
    assert queue.get(second.id).state is State.SUCCEEDED


# 7. A waiting job says why it waits, its position, and what would let it run; the impossible is refused. ----------


def test_a_waiting_job_says_why(queue: Queue, chain: list[Spec], train: Train) -> None:
    [ahead] = queue.submit(train(priority=60))
    jobs = queue.submit(chain)
    place, reason, unblocked_by = queue.position(jobs[0].id)
    assert (place, reason) == (2, "no worker is alive")
    assert "closegap worker" in unblocked_by
    queue.heartbeat("w", ONE)
    claim = _running(queue)
    assert claim.job.id == ahead.id
    place, reason, unblocked_by = queue.position("t")
    assert (place, reason) == (1, "every worker that could run it is busy; it is next")
    assert unblocked_by == f"the end of {ahead.id}"
    place, reason, unblocked_by = queue.position("c")
    assert (place, reason) == (None, f"it waits for x ({jobs[2].id}, blocked)")
    assert unblocked_by == f"the success of {jobs[2].id}"
    queue.fail(claim.lease, Failure(failure="infrastructure", message="node lost"))
    place, reason, unblocked_by = queue.position(ahead.id)
    assert place is None
    assert reason.startswith("it backs off until")
    assert "node lost" in reason
    assert unblocked_by.endswith("UTC")


def test_a_job_that_no_live_worker_takes_says_what_it_needs(queue: Queue, train: Train) -> None:
    queue.heartbeat("exporter", Capacity(cpus=8, kinds=frozenset({"export"})))
    [job] = queue.submit(train(resources={"workers": 2, "cpus": 2, "gpus": 1}))
    assert queue.position(job.id)[1:] == (
        "no live worker offers 4 CPUs and 2 GPUs for a job of kind train",
        "a worker with 4 CPUs and 2 GPUs for a job of kind train",
    )


def test_a_request_that_can_never_be_met_is_refused(queue: Queue, train: Train) -> None:
    too_large = train(name="big", resources={"workers": 2, "cpus": 1, "gpus": 1})
    [early] = queue.submit(too_large)  # Nobody is known yet: it may wait.
    queue.heartbeat("w1", Capacity(cpus=4, gpus=1))
    queue.heartbeat("w2", Capacity(cpus=8))
    with pytest.raises(
        Refused, match=r"big asks for 2 CPUs and 2 GPUs .* accepted: at most 8 CPUs and 1 GPUs"
    ):
        queue.submit(too_large)
    assert [job.id for job in queue.jobs().jobs] == [early.id]
    queue.heartbeat("w3", Capacity(cpus=2, gpus=2))
    assert queue.submit(too_large)


# 8. A job whose needs failed does not run and says so. ------------------------------------------------------------


def test_a_job_whose_need_failed_does_not_run_and_says_so(queue: Queue, chain: list[Spec]) -> None:
    train, evaluate, export, encode = queue.submit(chain)
    claim = _running(queue)
    queue.fail(claim.lease, Failure(failure="numerical", message="elbo is nan"))
    for job, need in ((evaluate, train), (export, train), (encode, export)):
        lost = queue.get(job.id)
        assert lost.state is State.CANCELLED
        word = "failed" if need is train else "was cancelled"
        assert lost.reason == f"its need {need.name} ({need.id}) {word}"
        [last] = [event for event in queue.events(job.id) if event.type == "state"][-1:]
        assert last.data["actor"] == "queue"
    assert queue.claim("w", ONE, 30.0) is None


def test_a_job_submitted_after_its_need_failed_is_cancelled_too(queue: Queue, train: Train) -> None:
    [need] = queue.submit(train())
    claim = _running(queue)
    queue.fail(claim.lease, Failure(failure="user", message="no"))
    [late] = queue.submit(spec.parse({"kind": "evaluate", "model": f"${{{need.id}.model}}"}))
    assert (late.state, late.reason) == (State.CANCELLED, f"its need train ({need.id}) failed")


def test_the_store_being_away_is_said_plainly(own_store: EmbeddedStore, train: Train) -> None:
    client = connect(Settings.load(home=own_store.home), patience=0.2)
    queue = Queue(client)
    own_store.stop()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        queue.submit(train())
    client.close()


def test_a_patient_client_survives_a_restart_of_the_store(own_store: EmbeddedStore, train: Train) -> None:
    client = connect(Settings.load(home=own_store.home), patience=30.0)
    queue = Queue(client)
    queue.submit(train())
    claim = _running(queue)
    assert own_store.pid is not None
    os.kill(own_store.pid, signal.SIGKILL)
    renewed = threading.Thread(target=queue.renew, args=(claim.lease, 30.0))
    renewed.start()
    time.sleep(0.2)
    own_store.stop()
    own_store.start()
    renewed.join()
    queue.succeed(claim.lease, {})
    assert queue.get(claim.job.id).state is State.SUCCEEDED
    client.close()


def test_unknown_jobs_are_not_found(queue: Queue, train: Train) -> None:
    queue.submit(train(name="mnist"))
    for act in (queue.get, queue.cancel, queue.retry, queue.position, queue.events):
        with pytest.raises(NotFound, match=r"there is no job `mnits` \(did you mean `mnist`\?\)"):
            act("mnits")
