"""The queue beyond its contract: order, capacity, needs, retries, events, pages, speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from closegap.errors import Conflict, NotFound, SpecError
from closegap.job import TRANSITIONS, Capacity, Claim, Failure, State
from closegap.queue import events
from closegap.queue.queue import Queue
from closegap.queue.selector import Selector
from closegap.settings import Settings
from closegap.specs import spec
from closegap.specs.spec import Spec
from closegap.store.store import connect

Train = Callable[..., list[Spec]]
ONE = Capacity(cpus=1)


def _claimed(queue: Queue, capacity: Capacity = ONE) -> list[str]:
    names = []
    while claim := queue.claim("w", capacity, 30.0):
        names.append(claim.job.name)
    return names


def _running(queue: Queue) -> Claim:
    claim = queue.claim("w", ONE, 30.0)
    assert claim is not None
    queue.start(claim.lease)
    return claim


# --- order and capacity ----------------------------------------------------------------------------------------------


def test_higher_priority_first_and_first_come_within(queue: Queue, train: Train) -> None:
    for name, priority in (("a", 50), ("b", 0), ("c", 100), ("d", 50), ("e", 100)):
        queue.submit(train(name=name, priority=priority))
    assert [queue.position(name).place for name in "cead"] == [1, 2, 3, 4]
    assert _claimed(queue) == ["c", "e", "a", "d", "b"]


def test_a_job_that_comes_back_keeps_its_place(queue: Queue, train: Train) -> None:
    for name in "abc":
        queue.submit(train(name=name))
    first = _running(queue)
    queue.release(first.lease, "the worker drains")
    assert _claimed(queue) == ["a", "b", "c"]


def test_claims_skip_what_does_not_fit_and_lose_nothing(queue: Queue, train: Train) -> None:
    for number in range(70):  # More than one page of the line.
        queue.submit(train(name=f"gpu{number}", priority=60, resources={"gpus": 1}))
    queue.submit(train(name="wide", resources={"workers": 2, "cpus": 2}))
    queue.submit(train(name="small", resources={"cpus": 0.5}))
    queue.submit(spec.parse({"kind": "export", "name": "export", "model": "m"}))
    assert _claimed(queue, Capacity(cpus=1, kinds=frozenset({"export"}))) == ["export"]
    assert _claimed(queue, Capacity(cpus=1)) == ["small"]
    assert _claimed(queue, Capacity(cpus=4)) == ["wide"]
    assert len(_claimed(queue, Capacity(cpus=1, gpus=1))) == 70


# --- waiting for work ------------------------------------------------------------------------------------------------


def test_an_idle_worker_hears_of_a_job_at_once(queue: Queue, train: Train, settings: Settings) -> None:
    assert queue.claim("w", ONE, 30.0) is None
    client = connect(settings)
    other = Queue(client, settings.namespace)
    submitted: list[float] = []

    def submit() -> None:
        submitted.append(time.monotonic())
        other.submit(train())

    waits = []
    for _ in range(15):
        timer = threading.Timer(0.02, submit)
        timer.start()
        while queue.claim("w", ONE, 30.0) is None:
            queue.wait_for_work(5.0)
        waits.append(time.monotonic() - submitted[-1])
        timer.join()
    assert sorted(waits)[7] < 0.1
    client.close()


def test_a_submission_between_claim_and_wait_is_not_missed(queue: Queue, train: Train) -> None:
    assert queue.claim("w", ONE, 30.0) is None
    queue.submit(train())
    begun = time.monotonic()
    queue.wait_for_work(5.0)
    assert time.monotonic() - begun < 1.0


def test_waiting_ends_when_a_retry_is_due(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    queue.fail(claim.lease, Failure(failure="infrastructure", message="no"))
    assert queue.claim("w", ONE, 30.0) is None
    begun = time.monotonic()
    queue.wait_for_work(5.0)
    assert time.monotonic() - begun < 1.0
    assert queue.claim("w", ONE, 30.0) is not None


def test_waiting_ends_by_itself(queue: Queue) -> None:
    assert queue.claim("w", ONE, 30.0) is None
    begun = time.monotonic()
    queue.wait_for_work(0.1)
    assert 0.05 < time.monotonic() - begun < 1.0


# --- needs -----------------------------------------------------------------------------------------------------------


def test_a_pipeline_runs_in_the_order_of_its_needs(queue: Queue, chain: list[Spec]) -> None:
    jobs = queue.submit(chain)
    assert [job.state for job in jobs] == [State.QUEUED, State.BLOCKED, State.BLOCKED, State.BLOCKED]
    assert len({job.pipeline for job in jobs}) == 1
    train = _running(queue)
    assert queue.claim("w", ONE, 30.0) is None
    queue.succeed(train.lease, {"model": "sha256:" + "a" * 64})
    evaluate, export = _running(queue), _running(queue)
    assert [evaluate.job.name, export.job.name] == ["e", "x"]
    assert queue.inputs(export.job) == {"t": {"model": "sha256:" + "a" * 64}}
    resolved = spec.resolve(spec.load(export.job.spec), queue.inputs(export.job))
    assert spec.dump(resolved)["model"] == "sha256:" + "a" * 64
    queue.succeed(export.lease, {"model": "sha256:" + "b" * 64})
    assert _running(queue).job.name == "c"


def test_needs_may_be_existing_jobs_and_names_of_the_pipeline_come_first(queue: Queue, train: Train) -> None:
    [old] = queue.submit(train(name="t"))
    [after] = queue.submit(spec.parse({"kind": "evaluate", "model": "m", "needs": [old.id]}))
    assert (after.state, after.needs) == (State.BLOCKED, {old.id: old.id})
    shadowed = queue.submit(
        [*train(name=old.id), *spec.parse({"kind": "export", "model": f"${{{old.id}.model}}"})]
    )
    assert shadowed[1].needs == {old.id: shadowed[0].id}
    claim = _running(queue)
    assert claim.job.id == old.id
    queue.succeed(claim.lease, {"model": "sha256:" + "a" * 64})
    assert queue.get(after.id).state is State.QUEUED
    [late] = queue.submit(spec.parse({"kind": "export", "model": f"${{{old.id}.model}}"}))
    assert late.state is State.QUEUED


def test_unknown_needs_and_outputs_are_refused_with_their_path(queue: Queue, train: Train) -> None:
    [old] = queue.submit(train())
    bad = spec.parse(
        [
            {"kind": "evaluate", "name": "mine", "model": "${mnie.model}"},
            {"kind": "export", "model": f"${{{old.id}.report}}", "needs": ["nobody"]},
        ]
    )
    with pytest.raises(SpecError) as raised:
        queue.submit(bad)
    found = {problem.path: str(problem) for problem in raised.value.problems}
    assert set(found) == {"[0].model", "[1].needs[0]", "[1].model"}
    assert "did you mean `mine`?" in found["[0].model"]
    assert "accepted: one of model, valid_elbo, epochs" in found["[1].model"]
    assert len(queue.jobs().jobs) == 1


# --- retry -----------------------------------------------------------------------------------------------------------


def test_a_retry_brings_along_what_did_not_run(queue: Queue, chain: list[Spec]) -> None:
    train, evaluate, export, encode = queue.submit(chain)
    claim = _running(queue)
    queue.succeed(claim.lease, {"model": "m"})
    running = [_running(queue), _running(queue)]
    queue.succeed(running[0].lease, {"report": "r"})
    queue.fail(running[1].lease, Failure(failure="user", message="no"))
    with pytest.raises(Conflict, match=f"did not run because of {export.id}"):
        queue.retry(encode.id)
    new_export, new_encode = queue.retry(export.id, actor="anna")
    assert (new_export.retry_of, new_export.needs, new_export.state) == (
        export.id,
        {"t": train.id},
        State.QUEUED,
    )
    assert (new_encode.retry_of, new_encode.needs, new_encode.state) == (
        encode.id,
        {"x": new_export.id},
        State.BLOCKED,
    )
    assert (new_export.work, new_encode.work) == (export.id, encode.id)
    assert queue.get(export.id).retried_as == new_export.id
    assert queue.get(evaluate.id).retried_as is None
    with pytest.raises(Conflict, match=f"already retried as {new_export.id}"):
        queue.retry(export.id)
    with pytest.raises(Conflict, match="only one that failed or was cancelled"):
        queue.retry(new_export.id)


def test_the_work_folder_is_that_of_the_first_job_of_a_row_of_retries(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    first = job.id
    for _ in range(3):
        queue.cancel(job.id)
        [job] = queue.retry(job.id)
        assert job.work == first


def test_two_retries_at_the_same_time_make_one(queue: Queue, train: Train, settings: Settings) -> None:
    [job] = queue.submit(train())
    queue.cancel(job.id)
    outcomes: list[str] = []

    def retry() -> None:
        try:
            outcomes.append(queue.retry(job.id)[0].id)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=retry) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("conflict") == 5


# --- finding ---------------------------------------------------------------------------------------------------------


def test_jobs_are_found_by_id_name_or_beginning(queue: Queue, train: Train) -> None:
    old, new = queue.submit(train(name="a"))[0], queue.submit(train(name="a"))[0]
    assert queue.get(old.id) == old
    assert queue.get("a").id == new.id
    assert queue.get(old.id[:-1]).id in (old.id, new.id)
    with pytest.raises(Conflict, match="several jobs begin with `train-`"):
        queue.get("train-")
    for unknown in ("", "zzz", "train-zzzz", "*"):
        with pytest.raises(NotFound):
            queue.get(unknown)


def test_pages_are_newest_first_and_complete(queue: Queue, train: Train) -> None:
    ids = [queue.submit(train())[0].id for _ in range(7)]
    queue.cancel(ids[3])
    page = queue.jobs(limit=3)
    seen = [job.id for job in page.jobs]
    while page.cursor:
        page = queue.jobs(limit=3, cursor=page.cursor)
        seen += [job.id for job in page.jobs]
    assert seen == ids[::-1]
    assert [job.id for job in queue.jobs(Selector(states=frozenset({State.CANCELLED}))).jobs] == [ids[3]]
    assert [job.id for job in queue.jobs(Selector(states=frozenset({State.QUEUED}))).jobs] == [
        i for i in ids[::-1] if i != ids[3]
    ]
    with pytest.raises(NotFound, match="no cursor"):
        queue.jobs(cursor="x")


# --- events and progress ---------------------------------------------------------------------------------------------


def test_each_transition_is_an_event_with_reason_and_actor(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(), actor="anna")
    claim = _running(queue)
    queue.fail(claim.lease, Failure(failure="infrastructure", message="node lost"))
    time.sleep(0.06)
    queue.cancel(_running(queue).job.id, actor="bert")
    found = [(event.type, event.data) for event in queue.events(job.id)]
    assert [(data["from"], data["to"], data["actor"]) for kind, data in found if kind == "state"] == [
        ("", "queued", "anna"),
        ("queued", "claimed", "w"),
        ("claimed", "running", "w"),
        ("running", "queued", "w"),
        ("queued", "claimed", "w"),
        ("claimed", "running", "w"),
    ]
    assert found[3][1]["reason"] == "node lost (retry 1 of 3, infrastructure)"
    assert found[-1] == ("wish", {"to": "cancelled", "reason": "cancelled by bert", "actor": "bert"})


def test_events_are_followed_to_the_end(queue: Queue, train: Train, settings: Settings) -> None:
    [job] = queue.submit(train())
    client = connect(settings)
    other = Queue(client, settings.namespace)

    def run() -> None:
        claim = _running(other)
        for epoch in range(3):
            other.report(claim.lease, [{"type": "epoch", "epoch": epoch, "valid": {"elbo": -100.5}}])
        other.succeed(claim.lease, {})

    thread = threading.Thread(target=run)
    thread.start()
    found = list(queue.follow(job.id, timeout=20.0))
    thread.join()
    client.close()
    assert [event.type for event in found] == ["state"] * 3 + ["epoch"] * 3 + ["state", "end"]
    assert found[3].data == {"epoch": 0, "valid": {"elbo": -100.5}}
    assert [event.id for event in queue.follow(job.id, after=found[3].id)] == [
        event.id for event in found[4:]
    ]


def test_following_a_quiet_job_ends_with_the_timeout(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    begun = time.monotonic()
    assert [event.type for event in queue.follow(job.id, timeout=0.2)] == ["state"]
    assert time.monotonic() - begun < 2.0


def test_the_last_progress_is_on_the_record_with_an_eta(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    reported = [{"type": "progress", "done": n, "total": 10, "unit": "step", "rate": 2.0} for n in (1, 4)]
    queue.report(claim.lease, [*reported, {"type": "log", "text": "hello"}])
    progress = queue.get(claim.job.id).progress
    assert progress is not None
    assert (progress.done, progress.total, progress.unit, progress.rate, progress.eta) == (
        4,
        10,
        "step",
        2.0,
        3.0,
    )
    queue.release(claim.lease, "drain")
    again = queue.claim("w", ONE, 30.0)
    assert again is not None
    assert again.job.progress is None


def test_what_json_cannot_say_becomes_null(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    queue.report(
        claim.lease, [{"type": "epoch", "train": {"elbo": float("nan")}, "all": [1.5, float("-inf")]}]
    )
    assert queue.events(claim.job.id)[-1].data == {"train": {"elbo": None}, "all": [1.5, None]}


@pytest.mark.parametrize("kind", ["state", "end", "wish", "change", ""])
def test_attempts_cannot_forge_the_queues_own_events(queue: Queue, train: Train, kind: str) -> None:
    queue.submit(train())
    claim = _running(queue)
    with pytest.raises(Conflict, match="cannot report an event of type"):
        queue.report(claim.lease, [{"type": kind, "to": "succeeded"}])


def test_an_event_has_a_largest_size(queue: Queue, train: Train) -> None:
    queue.submit(train())
    claim = _running(queue)
    with pytest.raises(Conflict, match="accepted: at most 65536"):
        queue.report(claim.lease, [{"type": "log", "text": "x" * 70_000}])


def test_streams_are_bounded_but_history_is_kept(
    queue: Queue, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST", 50)
    queue.submit(train())
    claim = _running(queue)
    for epoch in range(30):
        talk = [{"type": "progress", "done": epoch, "unit": "epoch"}, {"type": "log", "text": "x"}] * 5
        queue.report(claim.lease, [*talk, {"type": "epoch", "epoch": epoch}])
    queue.succeed(claim.lease, {})
    found = queue.events(claim.job.id)
    kinds = [event.type for event in found]
    assert len(kinds) <= 50 + 2
    assert kinds.count("state") == 4
    assert kinds[-1] == "end"
    assert [event.data["epoch"] for event in found if event.type == "epoch"] == list(range(30))
    assert "log" in kinds  # The newest talk is still there.


# --- workers and speed -----------------------------------------------------------------------------------------------


def test_workers_are_listed_with_what_they_hold(queue: Queue, train: Train) -> None:
    queue.heartbeat("w", Capacity(cpus=2, gpus=1, kinds=frozenset({"train"})))
    queue.submit(train())
    claim = _running(queue)
    [worker] = queue.workers()
    assert (worker.id, worker.alive, worker.jobs) == ("w", True, (claim.job.id,))
    assert worker.capacity == Capacity(cpus=2, gpus=1, kinds=frozenset({"train"}))
    queue.forget("w")
    assert queue.workers() == []


def test_namespaces_do_not_see_each_other(queue: Queue, train: Train, settings: Settings) -> None:
    queue.submit(train())
    client = connect(settings)
    assert Queue(client, "other").jobs().jobs == []
    client.close()


def test_the_transition_table_has_three_ends_and_no_way_out_of_them() -> None:
    assert {state for state in State if state.terminal} == {State.SUCCEEDED, State.FAILED, State.CANCELLED}
    assert set(TRANSITIONS) == set(State)


def test_scripts_may_be_forgotten_at_any_moment(queue: Queue, train: Train) -> None:
    """As by a store that is killed and started anew, again and again."""
    queue.submit(train())
    claim = queue.claim("w", ONE, 30.0)
    assert claim is not None
    done = threading.Event()

    def forget() -> None:
        while not done.is_set():
            queue._client.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for _ in range(300):
            queue.renew(claim.lease, 30.0)
    finally:
        done.set()
        thread.join()


def test_submitting_and_claiming_are_quick(queue: Queue, train: Train) -> None:
    one = train()
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        queue.submit(one)
        times.append(time.perf_counter() - begun)
        assert queue.claim("w", ONE, 30.0) is not None
    assert sorted(times)[25] < 0.02  # The mark is 10 ms on a quiet machine (`make bench`).
