"""What a worker writes is there once, also when it is heard and the answer is lost: the wire is torn in between."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closegap.errors import Conflict, StoreUnavailable
from closegap.job import Capacity, Claim, State
from closegap.queue.queue import Queue
from closegap.settings import Settings, environment
from closegap.specs import spec
from closegap.storage.artifacts import ArtifactStore
from closegap.store.address import Address
from closegap.store.store import connect
from closegap_workers.conclusion import Conclusion
from closegap_workers.execution import Ended
from closegap_workers.lease import LeaseThread
from tests.api.sealed import sealed_model
from tests.workers.working import TRAIN, until

Tear = Callable[[float], None]


@pytest.fixture
def wire(settings: Settings, tmp_path: Path) -> Iterator[tuple[Queue, Tear]]:
    """The queue behind a wire, and how its answers are lost for some seconds."""
    address, place = Address.read(settings.home), tmp_path / "wire"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.wire", str(place), str(address.socket)],
        stdin=subprocess.PIPE,
        env=environment(),
        cwd=Path(__file__).parents[2],
    )
    try:
        until(place.exists, what="the wire")
        url = f"unix://{place}?password={address.password.get_secret_value()}"
        behind = Settings.load(home=settings.home, redis_url=url, namespace=settings.namespace)
        client = connect(behind, patience=0.0)

        def tear(seconds: float) -> None:
            assert process.stdin is not None
            torn = tmp_path / secrets.token_hex(4)
            process.stdin.write(f"mute {seconds} {torn}\n".encode())
            process.stdin.flush()
            until(torn.exists, what="the wire to be torn", pause=0.005)

        yield Queue(client, settings.namespace, settings.backoff_seconds), tear
        client.close()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def claim(queue: Queue) -> Claim:
    """A job that runs."""
    queue.submit(spec.parse({**TRAIN, "register": "tiny"}))
    found = queue.claim("w", Capacity(cpus=1), 30.0)
    assert found is not None
    queue.start(found.lease)
    return found


def test_events_whose_answer_was_lost_are_there_once(
    wire: tuple[Queue, Tear], queue: Queue, claim: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    behind, tear = wire
    lease = LeaseThread(behind, claim.lease, 30.0)
    for epoch in range(1, 31):
        if epoch == 10:
            tear(0.6)
        lease.hear({"type": "epoch", "epoch": epoch})
        time.sleep(0.05)
    time.sleep(0.6)
    lease.close()
    told = [event.data["epoch"] for event in queue.events(claim.job.id) if event.type == "epoch"]
    assert told == list(range(1, 31))
    assert not lease.lost.is_set()
    assert "goes on without the store" in caplog.text, "no answer was lost"


def test_an_end_whose_answer_was_lost_is_written_once_and_known_to_be(
    wire: tuple[Queue, Tear],
    queue: Queue,
    claim: Claim,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    behind, tear = wire
    store = ArtifactStore(settings.storage)
    (store.work(claim.job.work) / "checkpoints").mkdir()
    outcome = {"type": "outcome", "state": "succeeded", "outputs": {"model": "m"}, "register": None}
    end = Conclusion(behind, store, claim, Ended(outcome, "exit status 0", False, None, ""), 30.0, "")
    with pytest.raises(Conflict):
        behind.stopped(claim.lease)  # the store knows the script from here on: one question, one answer
    succeed = behind.succeed

    def torn(*arguments: object) -> None:
        monkeypatch.setattr(behind, "succeed", succeed)
        tear(0.5)
        succeed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(behind, "succeed", torn)
    with pytest.raises(StoreUnavailable):
        end.write(claim.lease)
    assert queue.get(claim.job.id).state is State.SUCCEEDED
    assert end.write(claim.lease) == "succeeded"
    assert not list(store.work(claim.job.work).iterdir())
    states = [event.data["to"] for event in queue.events(claim.job.id) if event.type == "state"]
    assert states == ["queued", "claimed", "running", "succeeded"]


def test_a_model_that_is_damaged_before_it_has_its_name_fails_the_job_and_not_the_worker(
    queue: Queue, claim: Claim, settings: Settings
) -> None:
    store = ArtifactStore(settings.storage)
    digest = sealed_model(store)
    manifest = store.place(digest) / "manifest.json"
    manifest.unlink()
    manifest.write_text("{}")
    outcome = {"type": "outcome", "state": "succeeded", "outputs": {"model": digest}, "register": "tiny"}
    end = Conclusion(queue, store, claim, Ended(outcome, "exit status 0", False, None, ""), 30.0, "")
    assert str(manifest) in end.write(claim.lease)
    assert queue.get(claim.job.id).state is State.FAILED


def test_a_wish_that_is_withdrawn_at_the_last_moment_gives_the_job_back(
    queue: Queue, claim: Claim, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.pause(claim.job.id)
    ended = Ended({"type": "outcome", "state": "stopped"}, "exit status 0", False, None, "")
    end = Conclusion(queue, ArtifactStore(settings.storage), claim, ended, 30.0, "")
    stopped = queue.stopped

    def resumed(*arguments: object) -> None:
        queue.resume(claim.job.id)
        stopped(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(queue, "stopped", resumed)
    assert end.write(claim.lease) == "given back: the attempt was stopped"
    assert queue.get(claim.job.id).state is State.QUEUED
