"""Submitting, looking, changing: the client in one process with the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closegap import Client, ClientError, SpecProblems
from closegap.client.errors import Changed, Conflict, Forbidden, InvalidRequest, KeyReused, NotFound
from closegap.errors import SpecError
from closegap.specs import spec as specs
from closegap_core.config import TrainConfig

from .conftest import QUICK, InProcess, Made, Worker, spec


def test_one_spec_is_a_job_and_a_pipeline_is_a_list(client: Client) -> None:
    job = client.submit(spec(name="one"))
    assert (job.kind, job.name, job.state) == ("train", "one", "queued")
    made = client.submit([spec(name="t"), {"kind": "evaluate", "name": "e", "model": "${t.model}"}])
    assert [item.kind for item in made] == ["train", "evaluate"]
    assert made[1].state == "blocked"
    assert made[1].record.needs == {"t": made[0].id}
    assert client.job("one").id == job.id == client.job(job.id[:-2]).id
    assert repr(job) == f"<Job {job.id} train queued>"


def test_a_file_keeps_its_comments_and_scales(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "scaled.yaml"
    scaled = {
        "title": "two scales",
        "scales": {"full": {"epochs": 500}, "small": {"epochs": 2}},
        "pipeline": [spec(name="s", training={"epochs": "${scale.epochs}"})],
    }
    file.write_text(f"# a comment\n{json.dumps(scaled)}")
    [job] = client.submit(file, scale="small")
    assert job.spec["training"]["epochs"] == 2
    [job] = client.submit(str(file))
    assert job.spec["training"]["epochs"] == 500
    with pytest.raises(ClientError, match=r"missing\.yaml cannot be read: No such file"):
        client.submit(tmp_path / "missing.yaml")


def test_specs_are_mappings_configuration_objects_or_fields(client: Client) -> None:
    [whole] = specs.parse(spec(name="whole"))
    assert client.submit(whole).spec == specs.dump(whole)
    config = TrainConfig.model_validate({name: spec()[name] for name in ("data", "model", "inference")})
    job = client.train(config, name="by-config", training={"epochs": 3})
    assert (job.name, job.spec["training"]["epochs"]) == ("by-config", 3)
    by_fields = client.train(data={"source": "digits"}, model=config.model, inference="standard")
    assert by_fields.spec["model"] == job.spec["model"]
    assert client.evaluate(model="sha256:" + "0" * 64).kind == "evaluate"
    with pytest.raises(ClientError, match="spec of kind `sweep`, not `train`"):
        client.train({"kind": "sweep"})
    with pytest.raises(ClientError, match="JSON does not have"):
        client.train(spec(training={"learning_rate": float("nan")}))


def test_the_same_key_gives_the_same_job(client: Client) -> None:
    first = client.submit(spec(), key="night-7")
    assert client.submit(spec(), key="night-7").id == first.id
    assert client.submit(spec()).id != first.id
    with pytest.raises(KeyReused) as caught:
        client.submit(spec(name="other"), key="night-7")
    assert caught.value.status == 422
    assert caught.value.request_id


def test_all_problems_are_told_at_once_with_pointers(client: Client) -> None:
    wrong = spec(training={"epochs": 0, "batch_sise": 3}, model={"likelihood": "bernouli", "levels": []})
    for ask in (client.validate, client.plan, client.submit):
        with pytest.raises(SpecProblems) as caught:
            ask(wrong)
        pointers = {problem.pointer for problem in caught.value.problems}
        assert {"/training/epochs", "/training/batch_sise", "/model/likelihood"} <= pointers
        assert isinstance(caught.value, SpecError)
        assert "/training/epochs: " in str(caught.value)
        assert next(p for p in caught.value.problems if p.pointer == "/training/epochs").path == (
            "training.epochs"
        )
    [normalised] = client.validate(spec())
    assert normalised["training"]["epochs"] > 0


def test_a_plan_says_what_would_happen_and_records_nothing(client: Client, worker: Worker) -> None:
    [planned] = client.plan(spec(name="p")).jobs
    assert (planned.state, planned.reason, planned.needs) == ("queued", "no worker is alive", ())
    assert planned.spec["name"] == "p"
    assert not list(client.jobs())


def test_jobs_are_listed_over_pages_by_what_is_meant(client: Client) -> None:
    for number in range(7):
        client.submit(spec(name=f"j{number}", labels={"odd": str(number % 2)}))
    assert [job.name for job in client.jobs()] == [f"j{number}" for number in reversed(range(7))]
    pages = [[job.name for job in page.jobs] for page in client.pages(size=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {job.name for job in client.jobs(label={"odd": "1"})} == {"j1", "j3", "j5"}
    assert [job.name for job in client.jobs(name="j3*")] == ["j3"]
    assert not list(client.jobs(state="running"))
    assert len(list(client.jobs(state=["queued", "running"], kind="train", project="default"))) == 7
    assert not list(client.jobs(created_before=datetime.now(UTC) - timedelta(hours=1)))
    [page] = client.pages(waiting=True, name="j0")
    assert page.waiting[page.jobs[0].id].reason
    assert client.job("j0").position().reason == page.waiting[page.jobs[0].id].reason
    with pytest.raises(ClientError, match="`state` is a choice among nothing"):
        list(client.jobs(state=[]))


def test_bulk_cancellation_needs_a_choice(client: Client) -> None:
    made = [client.submit(spec(labels={"night": str(number)})) for number in (1, 1, 2)]
    with pytest.raises(InvalidRequest, match=r"nothing|empty"):
        client.cancel_all()
    after = client.cancel_all(label={"night": "1"}, project=["default", "other"])
    assert after == {made[1].id: "cancelled", made[0].id: "cancelled"}
    assert made[2].refresh().state == "queued"
    assert client.cancel_all(every=True) == {made[2].id: "cancelled"}


def test_changes_are_made_for_the_version_that_was_seen(client: Client) -> None:
    job = client.submit(spec(labels={"a": "1"}))
    other = client.job(job.id)
    assert job.set_priority(80).record.priority == 80
    assert job.set_labels(b="2", a=None).record.labels == {"b": "2"}
    with pytest.raises(Changed):
        other.change(priority=3, if_unchanged=True)
    assert other.record.version == job.record.version, "it has been read again"
    assert other.change(priority=3, if_unchanged=True).record.priority == 3
    assert job.set_priority(90).record.priority == 90, "read and changed again"
    with pytest.raises(InvalidRequest) as caught:
        job.set_priority(900)
    assert [problem.pointer for problem in caught.value.problems] == ["/priority"]


def test_pause_resume_cancel_retry(client: Client, worker: Worker) -> None:
    job = client.submit(spec(name="once"))
    assert job.pause().state == "paused"
    assert job.resume().state == "queued"
    claim = worker.starts()
    assert job.cancel().record.wish is not None
    worker.queue.stopped(claim.lease)
    assert job.refresh().state == "cancelled"
    again = job.retry()
    assert again.record.retry_of == job.id
    with pytest.raises(Conflict, match="already retried"):
        job.retry()
    with pytest.raises(Conflict, match="is over"):
        job.pause()


def test_what_is_not_there_or_not_allowed(
    client: Client, within: InProcess, secret: Callable[..., str]
) -> None:
    with pytest.raises(NotFound, match="there is no job `nothing`"):
        client.job("nothing")
    with pytest.raises(NotFound, match="accepted: an id"):
        client.job("../tokens")
    job = client.submit(spec())
    viewer = Client("http://localhost", secret("viewer"), transport=within)
    with pytest.raises(Forbidden, match="needs the role submitter"):
        viewer.job(job.id).cancel()
    stranger = Client("http://localhost", secret("submitter", "other"), transport=within)
    with pytest.raises(NotFound):
        stranger.job(job.id)
    assert stranger.submit(spec()).record.project == "other"
    chosen = Client("http://localhost", secret("admin"), "third", transport=within)
    assert chosen.submit(spec()).record.project == "third"


def test_in_a_notebook_everything_is_escaped(client: Client, worker: Worker) -> None:
    job = client.submit(spec(name="shown", labels={"a": "<script>alert(1)</script>"}))
    shown = job._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert f"href='{job.url}'" in shown


def test_a_real_server_says_who_asks_and_what_it_is(remote: Made) -> None:
    found = remote("viewer", "vision").whoami()
    assert (found.role, found.projects) == ("viewer", ("vision",))
    assert remote().info().limits["encode_rows"] == 4096
    assert QUICK.attempts == 5
