"""What a collection removes, and above all what it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closegap.errors import NotFound, StorageError
from closegap.job import Job, State
from closegap.queue.queue import Queue
from closegap.queue.selector import Selector
from closegap.specs import spec
from closegap.specs.spec import Spec
from closegap.storage import retention
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from tests.service.claims import ONE, run

Train = Callable[..., list[Spec]]
Sealed = Callable[..., str]


def late() -> datetime:
    """A time before which everything has been."""
    return datetime.now(UTC) + timedelta(minutes=1)


@pytest.fixture
def done(queue: Queue, train: Train) -> Callable[..., Job]:
    """A job that has succeeded with outputs."""

    def make(model: str = "", **fields: object) -> Job:
        queue.submit(train(**fields))
        claim = run(queue)
        queue.succeed(claim.lease, {"model": model} if model else {})
        return queue.get(claim.job.id)

    return make


def test_what_is_new_stays(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed, done: Callable[..., Job]
) -> None:
    done(sealed(artifacts))
    sealed(artifacts, "nobody's")
    artifacts.work("run-1")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    found = retention.collect(queue, artifacts, hour_ago)
    assert (found.jobs, found.bundles, found.folders, found.bytes) == ((), (), (), 0)


def test_what_has_been_over_for_long_goes_with_all_its_traces(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed, done: Callable[..., Job]
) -> None:
    job = done(sealed(artifacts), name="old", labels={"team": "a"})
    (artifacts.work(job.work) / "log").write_text("text")
    client, root = queue._client, queue._root
    planned = retention.find(queue, artifacts, late())
    assert queue.get(job.id) == job
    found = retention.collect(queue, artifacts, late())
    assert found == planned
    assert (found.jobs, len(found.bundles), len(found.folders)) == ((job.id,), 1, 1)
    assert found.bytes > 0
    with pytest.raises(NotFound):
        queue.get("old")
    assert artifacts.digests() == []
    assert not (artifacts.root / "work" / job.work).exists()
    left = sorted(str(key).removeprefix(f"{root}:") for key in client.scan_iter(f"{root}:*"))
    # Nothing names the job any more; keys that this submission and its claim were made safe by go by themselves.
    assert [key for key in left if not key.startswith(("key:default:generated-", "claim:"))] == [
        "audit",
        "counts",
        "doorbell",
        "fence",
        "projects",
        "seq",
        "stamp",
    ]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.PAUSED, State.BLOCKED])
def test_a_job_that_is_not_over_stays_with_its_whole_pipeline_and_what_that_needs(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed, done: Callable[..., Job], state: State
) -> None:
    first = done(sealed(artifacts))
    pair = queue.submit(
        spec.parse(
            [
                {"kind": "export", "name": "x", "model": f"${{{first.id}.model}}"},
                {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}},
            ]
        )
    )
    if state is State.RUNNING:
        run(queue)
    elif state is State.PAUSED:
        queue.pause("x")
    elif state is State.BLOCKED:
        queue.succeed(run(queue).lease, {"model": sealed(artifacts, "exported")})
        queue.pause("c")
    gone = done(sealed(artifacts, "unneeded"), priority=100)
    found = retention.collect(queue, artifacts, late())
    assert found.jobs == (gone.id,)
    assert len(found.bundles) == 1
    assert {job.id for job in queue.jobs(limit=10).jobs} == {first.id, *(job.id for job in pair)}
    artifacts.open(first.outputs["model"])
    queue.cancel_all(Selector())


def test_a_registered_model_and_all_it_came_from_stay(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed
) -> None:
    grandparent = sealed(artifacts, "a")
    parent = sealed(artifacts, "b", parent=grandparent)
    model = sealed(artifacts, "c", parent=parent)
    other = sealed(artifacts, "d")
    Registry(artifacts, "vision").register("best", model, "train-1", 1)
    meant = sealed(artifacts, "e", register="lost")  # from which a lost registry is rebuilt
    found = retention.collect(queue, artifacts, late())
    assert found.bundles == (other,)
    assert set(artifacts.digests()) == {grandparent, parent, model, meant}


def test_a_bundle_that_a_waiting_job_names_stays(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed
) -> None:
    whole, begun, other = (sealed(artifacts, content) for content in "abc")
    for reference in (whole, begun[:20]):
        queue.submit(spec.parse({"kind": "export", "model": reference}))
    assert retention.collect(queue, artifacts, late()).bundles == (other,)


def test_a_bundle_that_is_published_again_is_new(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed
) -> None:
    """An attempt has published it and not yet said so: nothing but its age tells that somebody needs it."""
    digest = sealed(artifacts)
    long_ago = (datetime.now(UTC) - timedelta(days=90)).timestamp()
    for path in (artifacts.place(digest), *artifacts.place(digest).iterdir()):
        os.utime(path, (long_ago, long_ago))
    before = datetime.now(UTC) - timedelta(days=30)
    assert retention.find(queue, artifacts, before).bundles == (digest,)
    assert sealed(artifacts) == digest
    assert retention.collect(queue, artifacts, before).bundles == ()


def test_folders_of_attempts_that_are_over_go_and_those_of_running_ones_stay(
    queue: Queue, artifacts: ArtifactStore, train: Train
) -> None:
    queue.submit(train())
    claim = queue.claim("w", ONE, 0.001)
    assert claim is not None
    old = artifacts.staging(claim.job.id, 1)
    work = artifacts.work(claim.job.work)
    queue.reap()
    again = run(queue)
    current = artifacts.root / "staging" / f"{claim.job.id}-2-00000000"
    current.mkdir()
    unknown = artifacts.staging("run-0123", 1)
    (artifacts.root / "bundles").mkdir()
    damaged = artifacts.root / "bundles" / f"{'0' * 64}.damaged-01234567"
    damaged.mkdir()
    assert again.attempt == 2
    hour_ago = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    for path in (old, current):
        os.utime(path, (hour_ago, hour_ago))
    found = retention.collect(queue, artifacts, late())
    assert set(found.folders) == {old, unknown, damaged}
    assert [path.is_dir() for path in (old, unknown, damaged, current, work)] == [False] * 3 + [True] * 2
    queue.succeed(again.lease, {})


def test_a_key_whose_jobs_are_gone_makes_new_ones(
    queue: Queue, artifacts: ArtifactStore, train: Train
) -> None:
    [first] = queue.submit(train(name="a"), key="k")
    queue.cancel(first.id)
    [other] = queue.submit(train(name="a"))
    assert retention.collect(queue, artifacts, late()).jobs == (first.id,)
    assert queue.get("a").id == other.id
    [again] = queue.submit(train(name="a"), key="k")
    assert again.id not in (first.id, other.id)


def test_an_older_job_is_found_by_a_name_whose_newest_is_gone(
    queue: Queue, artifacts: ArtifactStore, train: Train
) -> None:
    [old] = queue.submit(train(name="a"))
    [new] = queue.submit(train(name="a"))
    queue.cancel(new.id)
    assert retention.collect(queue, artifacts, late()).jobs == (new.id,)
    assert queue.get("a").id == old.id
    assert [job.id for job in queue.jobs(Selector(name="a")).jobs] == [old.id]


def test_a_retry_keeps_the_work_folder_of_the_first(
    queue: Queue, artifacts: ArtifactStore, train: Train
) -> None:
    [first] = queue.submit(train())
    (artifacts.work(first.work) / "step-1").write_text("weights")
    queue.cancel(first.id)
    queue.retry(first.id)
    found = retention.collect(queue, artifacts, late())
    assert (found.jobs, found.folders) == ((), ())


def test_a_registry_that_cannot_be_read_stops_the_collection(
    queue: Queue, artifacts: ArtifactStore, sealed: Sealed
) -> None:
    Registry(artifacts).register("best", sealed(artifacts), "train-1", 1)
    (artifacts.root / "registry" / "default" / "best" / "1.json").write_text("{")
    with pytest.raises(StorageError, match="registry"):
        retention.collect(queue, artifacts, late())
    assert len(artifacts.digests()) == 1


def test_links_are_not_followed(queue: Queue, artifacts: ArtifactStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("text")
    (artifacts.work("run-1") / "link").symlink_to(precious)
    (artifacts.root / "work" / "run-2").symlink_to(precious)
    found = retention.collect(queue, artifacts, late())
    assert found.folders == (artifacts.root / "work" / "run-1",)
    assert (precious / "file").read_text() == "text"


def test_workers_that_were_not_heard_of_for_a_day_are_forgotten(
    queue: Queue, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.heartbeat("w", ONE)
    assert retention.collect(queue, artifacts, late()).workers == ()
    monkeypatch.setattr("closegap.storage.retention.REMEMBERED", timedelta(0))
    assert retention.collect(queue, artifacts, late()).workers == ("w",)
    assert queue.workers() == []
