"""Who is next: lines, ageing, limits of projects, edits of a waiting job, and what a waiting job is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from closegap.errors import Changed, Conflict, NotFound, Refused, SpecError
from closegap.job import Capacity, Failure, State
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.specs import spec
from closegap.specs.labels import MOST
from closegap.specs.spec import Spec
from closegap.store.store import connect
from tests.service.claims import ONE, claimed, run

Train = Callable[..., list[Spec]]

# --- ageing ----------------------------------------------------------------------------------------------------------


def test_a_minute_of_waiting_is_worth_a_point_of_priority(
    train: Train, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "closegap.queue.scripts.AGEING_SECONDS", 0.05
    )  # a minute takes a twentieth of a second
    client = connect(settings)
    queue = Queue(client, settings.namespace)
    queue.submit(train(name="low", priority=50))
    queue.submit(train(name="high", priority=60))
    time.sleep(0.25)  # five points
    queue.submit(train(name="little-more", priority=54))
    queue.submit(train(name="much-more", priority=58))
    assert claimed(queue) == ["high", "much-more", "low", "little-more"]
    client.close()


def test_a_low_job_is_not_starved_by_higher_ones_that_keep_coming(
    train: Train, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closegap.queue.scripts.AGEING_SECONDS", 0.002)  # 100 points: a fifth of a second
    client = connect(settings)
    queue = Queue(client, settings.namespace)
    queue.submit(train(name="low", priority=0))
    served: list[str] = []
    begun = time.monotonic()
    queue.submit(train(name="high", priority=100))
    while "low" not in served:
        queue.submit(train(name="high", priority=100))  # always one more than is taken
        served.append(run(queue).job.name)
        assert time.monotonic() - begun < 30
    assert served.count("high") > 1
    client.close()


def test_who_comes_back_keeps_the_place_and_who_was_paused_does_not(queue: Queue, train: Train) -> None:
    for name in "abc":
        queue.submit(train(name=name))
    first = run(queue)
    queue.fail(first.lease, Failure(failure="infrastructure", message="no"))
    time.sleep(0.06)
    queue.pause("b")
    queue.resume("b")
    assert queue.claim("w", Capacity(cpus=0.5), 30.0) is None  # puts into the line what has backed off
    assert [queue.position(name).place for name in "acb"] == [1, 2, 3]
    assert claimed(queue) == ["a", "c", "b"]


def test_a_batch_keeps_its_order_over_all_lines(queue: Queue) -> None:
    fields = {"data": {"source": "digits"}, "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]}}
    batch = [
        {
            "kind": "train",
            **fields,
            "inference": "standard",
            "resources": {"cpus": cpus},
            "name": f"j{number}",
        }
        if number % 3
        else {"kind": "export", "model": "m", "resources": {"cpus": cpus}, "name": f"j{number}"}
        for number, cpus in enumerate([0.1, 1 / 3, 1.0, 0.25] * 5)
    ]
    queue.submit(spec.parse(batch))
    assert claimed(queue) == [f"j{number}" for number in range(20)]


# --- projects --------------------------------------------------------------------------------------------------------


def test_names_keys_and_needs_are_of_a_project(queue: Queue, train: Train) -> None:
    [ours] = queue.submit(train(name="a"), key="k", project="ours")
    [theirs] = queue.submit(train(name="a"), key="k", project="theirs")
    assert ours.id != theirs.id
    assert queue.get("a", frozenset({"ours"})).id == ours.id
    assert queue.get("a", frozenset({"theirs"})).id == queue.get("a").id == theirs.id
    with pytest.raises(SpecError, match="nothing is called"):
        queue.submit(spec.parse({"kind": "export", "model": f"${{{ours.id}.model}}"}), project="theirs")
    assert queue.submit(spec.parse({"kind": "export", "model": f"${{{ours.id}.model}}"}), project="ours")
    for name in ("Upper", "", "a b", "x" * 64):
        with pytest.raises(Conflict, match="no name of a project"):
            queue.submit(train(), project=name)


def test_what_another_project_has_is_not_there(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(name="secret"), project="ours")
    others: frozenset[str] = frozenset({"theirs"})
    for identifier in (job.id, "secret", job.id[:-1], "secrte"):
        for projects in (others, frozenset[str]()):
            for act in (queue.get, queue.cancel, queue.retry, queue.pause, queue.resume, queue.position):
                with pytest.raises(NotFound) as told:
                    act(identifier, projects=projects)
                assert job.id == identifier or job.id not in str(told.value)
                assert "did you mean" not in str(told.value)
            with pytest.raises(NotFound):
                queue.change(identifier, priority=1, projects=projects)
            with pytest.raises(NotFound):
                queue.events(identifier, projects=projects)
            with pytest.raises(NotFound):
                list(queue.follow(identifier, projects=projects))
    assert queue.get(job.id) == job


def test_a_project_runs_no_more_than_its_limit(queue: Queue, train: Train) -> None:
    queue.heartbeat("w", ONE)
    queue.limit("vision", running=2, gpus=None)
    for number in range(4):
        queue.submit(train(name=f"v{number}", priority=90), project="vision")
    queue.submit(train(name="other"), project="text")
    first = run(queue)
    assert claimed(queue) == ["v1", "other"]
    place, reason, unblocked_by = queue.position("v2")
    assert (place, reason) == (1, "project vision runs 2 jobs, of at most 2; it is next")
    assert unblocked_by == "the end of one of them, or a higher limit: closegap projects vision"
    [text, vision] = queue.projects()
    assert (text.name, text.running, text.waiting, text.most_running) == ("text", 1, 0, None)
    assert (vision.running, vision.waiting, vision.jobs, vision.most_running) == (2, 2, 4, 2)
    queue.succeed(first.lease, {})
    assert claimed(queue) == ["v2"]
    queue.limit("vision", running=None, gpus=None)
    assert claimed(queue) == ["v3"]


def test_a_project_holds_no_more_gpus_than_its_limit(queue: Queue, train: Train) -> None:
    large = Capacity(cpus=8, gpus=8)
    queue.heartbeat("w", large)
    queue.limit("vision", running=None, gpus=1.0)
    with pytest.raises(
        Refused, match=r"asks for 2 GPUs, more than project vision may hold; accepted: at most 1"
    ):
        queue.submit(train(resources={"gpus": 2}), project="vision")
    for number in range(12):  # a tenth is no fraction that a computer knows: ten of them are one all the same
        queue.submit(train(name=f"v{number}", resources={"gpus": 0.1}), project="vision")
    queue.submit(train(name="cpu"), project="vision")
    assert claimed(queue, large) == [*(f"v{number}" for number in range(10)), "cpu"]
    assert queue.position("v10").reason == "project vision holds 1 GPUs, of at most 1; it is next"


def test_a_worker_hears_that_a_limit_lets_a_job_run(queue: Queue, train: Train, settings: Settings) -> None:
    queue.limit("vision", running=1, gpus=None)
    for _ in range(2):
        queue.submit(train(), project="vision")
    client = connect(settings)
    other = Queue(client, settings.namespace)
    claim = run(other)
    assert queue.claim("w", ONE, 30.0) is None
    other.succeed(claim.lease, {})
    begun = time.monotonic()
    queue.wait_for_work(5.0)
    assert time.monotonic() - begun < 1.0
    assert queue.claim("w", ONE, 30.0) is not None
    client.close()


def test_a_limit_is_no_negative_number(queue: Queue) -> None:
    for running, gpus in ((-1, None), (None, -0.5), (None, float("nan")), (None, float("inf"))):
        with pytest.raises(Conflict, match="is no limit"):
            queue.limit("vision", running, gpus)


# --- edits -----------------------------------------------------------------------------------------------------------


def test_the_priority_of_a_waiting_job_moves_it(queue: Queue, train: Train) -> None:
    for name in "abc":
        queue.submit(train(name=name))
    queue.change("c", priority=51, actor="anna")
    queue.change("a", priority=49)
    assert [queue.position(name).place for name in "cba"] == [1, 2, 3]
    assert queue.events("c")[-1].data == {"priority": 51, "labels": {}, "actor": "anna"}
    assert claimed(queue) == ["c", "b", "a"]


def test_a_blocked_job_takes_its_new_priority_along(queue: Queue, chain: list[Spec]) -> None:
    queue.submit(chain)
    queue.change("x", priority=60)
    queue.succeed(run(queue).lease, {"model": "m"})
    assert claimed(queue) == ["x", "e"]


def test_a_change_is_made_only_at_the_version_that_was_seen(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(labels={"team": "a"}))
    assert (job.version, job.labels) == (1, {"team": "a"})
    changed = queue.change(job.id, labels={"team": None, "night": "7"}, expected=1)
    assert (changed.version, changed.labels, changed.priority) == (2, {"night": "7"}, 50)
    with pytest.raises(Changed, match="is at version 2, not 1"):
        queue.change(job.id, priority=1, expected=1)
    assert queue.change(job.id, labels={"night": "7"}, priority=50).version == 2  # nothing new
    claim = run(queue)
    seen = queue.get(job.id).version
    queue.report(claim.lease, [{"type": "progress", "done": 1, "unit": "step"}])
    queue.renew(claim.lease, 60.0)
    assert queue.get(job.id).version == seen
    queue.cancel(job.id)
    assert queue.get(job.id).version == seen + 1


def test_what_is_no_priority_or_label_is_not_accepted(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    with pytest.raises(Conflict, match="priority: Input should be less than or equal to 100"):
        queue.change(job.id, priority=101)
    for labels in ({"": "x"}, {"a=b": "x"}, {"a": ""}, {"a": "line\nline"}, {"a": "x" * 101}):
        with pytest.raises(Conflict, match="not accepted"):
            queue.change(job.id, labels=labels)
        with pytest.raises(SpecError, match="labels"):
            spec.parse({"kind": "export", "model": "m", "labels": labels})
    assert queue.get(job.id) == job


def test_a_job_has_no_more_labels_by_many_edits_than_by_its_spec(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(labels={"team": "a"}))
    queue.change(job.id, labels={f"n{number}": "x" for number in range(MOST - 1)})
    with pytest.raises(Conflict, match=f"would have {MOST + 1} labels; accepted: at most {MOST}"):
        queue.change(job.id, labels={"more": "x", "team": "b"}, priority=7)
    assert (queue.get(job.id).labels["team"], queue.get(job.id).priority) == ("a", 50)
    assert len(queue.change(job.id, labels={"more": "x", "team": None}).labels) == MOST


def test_of_a_job_that_is_over_only_labels_change(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    queue.cancel(job.id)
    assert queue.change(job.id, labels={"keep": "yes"}).labels == {"keep": "yes"}
    with pytest.raises(Conflict, match="is over"):
        queue.change(job.id, priority=1)
    [again] = queue.retry(job.id)
    assert again.labels == {"keep": "yes"}


def test_a_request_id_stays_with_the_job(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train(), request_id="r-1")
    assert run(queue).job.request_id == queue.get(job.id).request_id == "r-1"
    queue.cancel(job.id)


# --- when it waits ---------------------------------------------------------------------------------------------------


def test_the_time_of_waiting_is_recorded(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    assert job.queued is not None
    assert abs(job.queued - job.created) < timedelta(seconds=1)
    claim = run(queue)
    assert claim.job.claimed is not None
    assert claim.job.claimed >= job.queued - timedelta(milliseconds=2)
    assert claim.job.state is State.CLAIMED
