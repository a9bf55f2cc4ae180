"""Jobs by HTTP: submit, list, look at, change, and what is answered to what cannot be."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
import yaml

from closegap.api.context import Context
from closegap.job import Capacity

from .conftest import TRAIN, As


def test_a_job_is_recorded_and_found_by_its_location(by: As) -> None:
    client = by("submitter")
    answer = client.post("/v1/jobs", json={**TRAIN, "name": "first", "labels": {"team": "a"}})
    assert answer.status_code == 202, answer.text
    [job] = answer.json()["jobs"]
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.json()["waiting"][job["id"]] == {
        "place": 1,
        "reason": "no worker is alive",
        "unblocked_by": "a worker: `closegap worker`, or `closegap up` for everything",
    }
    found = client.get(answer.headers["location"])
    assert found.json() == job
    assert found.headers["etag"] == '"1"'
    assert job["spec"]["training"]["epochs"] > 0  # normalised
    assert client.get("/v1/jobs/first").json()["id"] == job["id"]
    assert client.get(f"/v1/jobs/{job['id']}/position").json()["place"] == 1
    assert job["submitted_by"].startswith("submitter (token ")
    assert job["request_id"] == answer.headers["x-request-id"]


def test_yaml_and_pipelines_are_accepted(by: As) -> None:
    pipeline = [{**TRAIN, "name": "t"}, {"kind": "evaluate", "name": "e", "model": "${t.model}"}]
    for content in (yaml.safe_dump(pipeline), yaml.safe_dump_all(pipeline)):
        answer = by("submitter").post(
            "/v1/jobs", content=content, headers={"content-type": "application/yaml"}
        )
        assert [job["state"] for job in answer.json()["jobs"]] == ["queued", "blocked"]
    assert answer.json()["waiting"][answer.json()["jobs"][1]["id"]]["reason"].startswith("it waits for t (")


def test_the_same_key_gives_the_same_jobs(by: As) -> None:
    client = by("submitter")
    key = {"Idempotency-Key": "k1"}
    first = client.post("/v1/jobs", json=TRAIN, headers=key).json()["jobs"][0]["id"]
    assert client.post("/v1/jobs", json=TRAIN, headers=key).json()["jobs"][0]["id"] == first
    other = client.post("/v1/jobs", json={**TRAIN, "name": "other"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert first in other.json()["detail"]


def test_every_problem_is_told_with_its_pointer(by: As) -> None:
    wrong = [{**TRAIN, "name": "x", "prioriti": 3}, {**TRAIN, "training": {"epochs": -1}, "model": 7}]
    answer = by("submitter").post("/v1/jobs", json=wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["type"] == "urn:closegap:problem:invalid_spec"
    assert {item["pointer"] for item in said["errors"]} == {"/0/prioriti", "/1/model", "/1/training/epochs"}
    assert "did you mean `priority`" in next(
        item["message"] for item in said["errors"] if item["pointer"] == "/0/prioriti"
    )
    assert said["request_id"] == answer.headers["x-request-id"]
    assert by("viewer").get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b"\xff", "application/json", 400, "malformed_text"),
        (b'{"kind": "train", "kind": "sweep"}', "application/json", 400, "malformed_json"),
        (b"[" * 100_000, "application/json", 400, "malformed_json"),
        (b'{"a": NaN}', "application/json", 400, "malformed_json"),
        (b'{"a": 1e999}', "application/json", 400, "malformed_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json", 400, "malformed_json"),
        (b'{"kind": "train", "name": "\\ud800"}', "application/json", 422, "invalid_spec"),
        (b"null", "application/json", 422, "invalid_spec"),
        (b"[]", "application/json", 422, "invalid_spec"),
        (b"", "application/json", 400, "malformed_json"),
        (b"kind: [", "application/yaml", 422, "invalid_spec"),
        (b"", "application/yaml", 422, "invalid_spec"),
        (b"a: &a [*a]", "application/yaml", 422, "invalid_spec"),
        (b"!!python/object/apply:os.system ['true']", "application/yaml", 422, "invalid_spec"),
        (b"kind: train\nname: 2020-01-01", "application/yaml", 422, "invalid_spec"),
        (b"? [1, 2]\n: x", "application/yaml", 422, "invalid_spec"),
        (b"{}", "text/html", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b" " * (3 << 20), "application/json", 413, "too_large"),
    ],
)
def test_what_cannot_be_a_spec(by: As, content: bytes, media_type: str, status: int, code: str) -> None:
    for path in ("/v1/jobs", "/v1/jobs:validate", "/v1/jobs:plan"):
        answer = by("submitter").post(path, content=content, headers={"content-type": media_type})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_body_without_a_length_is_not_read_for_ever(by: As) -> None:
    def endless() -> Any:
        for _ in range(100):
            yield b" " * (1 << 20)

    answer = by("submitter").post("/v1/jobs", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_pages_are_stable_and_linked(by: As) -> None:
    client = by("submitter")
    for number in range(7):
        client.post("/v1/jobs", json={**TRAIN, "name": f"j{number}"})
    names, cursor = [], None
    while True:
        page = client.get("/v1/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        names += [job["name"] for job in page.json()["jobs"]]
        client.post("/v1/jobs", json=TRAIN)  # newer ones do not move what is to come
        cursor = page.json()["next_cursor"]
        assert (f"cursor={cursor}" in page.headers.get("link", "")) == (cursor is not None)
        if cursor is None:
            break
    assert names == [f"j{number}" for number in reversed(range(7))]
    assert client.get("/v1/jobs", params={"cursor": "c0; drop"}).status_code == 422
    assert client.get("/v1/jobs", params={"limit": 0}).json()["errors"][0]["pointer"] == "?limit"


def test_digits_of_other_scripts_are_none(by: As) -> None:
    """A regular expression may take them for digits; the store does not."""
    client = by("admin")
    job = client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
    three = "\N{ARABIC-INDIC DIGIT THREE}"
    for path, name, value in (
        ("/v1/jobs", "cursor", f"c{three}"),
        ("/v1/audit", "cursor", f"{three}-{three}"),
        (f"/v1/jobs/{job}/events", "after", three),
        (f"/v1/jobs/{job}/events", "before", three),
        (f"/v1/jobs/{job}/logs", "after", three),
    ):
        answer = client.get(path, params={name: value}, headers={"Accept": "application/json"})
        assert answer.status_code == 422, f"{path} {name}: {answer.text}"


def test_filters_must_all_hold(by: As) -> None:
    client = by("submitter")
    client.post("/v1/jobs", json={**TRAIN, "name": "a", "labels": {"team": "x", "run": "1"}})
    client.post("/v1/jobs", json={**TRAIN, "name": "b", "labels": {"team": "x"}})
    client.post("/v1/jobs:cancel", json={"name": "b"})

    def names(**asked: Any) -> list[str]:
        answer = client.get("/v1/jobs", params=asked)
        assert answer.status_code == 200, answer.text
        return [job["name"] for job in answer.json()["jobs"]]

    assert names() == ["b", "a"]
    assert names(label="team=x", state="queued") == ["a"]
    assert names(label=["team=x", "run=1"]) == ["a"]
    assert names(state=["queued", "cancelled"]) == ["b", "a"]
    assert names(kind="encode") == []
    assert names(name="b*") == ["b"]
    assert names(project="elsewhere") == []
    assert names(created_before="2000-01-01T00:00:00Z") == []
    assert client.get("/v1/jobs", params={"label": "team"}).status_code == 422
    assert list(client.get("/v1/jobs", params={"waiting": True}).json()["waiting"]) != []


def test_a_change_is_made_for_a_version(by: As) -> None:
    client = by("submitter")
    job = client.post("/v1/jobs", json={**TRAIN, "labels": {"old": "1"}}).json()["jobs"][0]["id"]
    tag = client.get(f"/v1/jobs/{job}").headers["etag"]
    changed = client.patch(
        f"/v1/jobs/{job}",
        json={"priority": 80, "labels": {"new": "2", "old": None}},
        headers={"If-Match": tag},
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["priority"], changed.json()["labels"]) == (80, {"new": "2"})
    assert changed.headers["etag"] != tag
    stale = client.patch(f"/v1/jobs/{job}", json={"priority": 1}, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed")
    assert (
        client.patch(f"/v1/jobs/{job}", json={"priority": 1}, headers={"If-Match": "W/1"}).status_code == 412
    )
    assert client.patch(f"/v1/jobs/{job}", json={"priority": 1}).json()["priority"] == 1
    for wrong in ({"priority": 101}, {"priority": "5"}, {"state": "running"}, {"labels": {"": "x"}}, []):
        assert client.patch(f"/v1/jobs/{job}", json=wrong).status_code == 422


def test_cancel_retry_pause_resume(by: As) -> None:
    client = by("submitter")
    job = client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
    assert client.post(f"/v1/jobs/{job}:pause").json()["state"] == "paused"
    assert client.post(f"/v1/jobs/{job}:resume").json()["state"] == "queued"
    assert client.post(f"/v1/jobs/{job}:retry").json()["code"] == "conflict"
    assert client.post(f"/v1/jobs/{job}:cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}:pause").status_code == 409
    again = client.post(f"/v1/jobs/{job}:retry")
    assert again.status_code == 202
    assert again.json()["jobs"][0]["retry_of"] == job
    assert again.headers["location"].endswith(again.json()["jobs"][0]["id"])


def test_what_is_nested_too_deeply_is_told(by: As) -> None:
    """Just short of what the reader of JSON refuses by itself, too."""
    client = by("submitter")
    for depth in (101, 950, *range(970, 1000)):
        nested = '{"a": ' * depth + "0" + "}" * depth
        answer = client.post(
            "/v1/jobs",
            content=f'{{"kind": "train", "x": {nested}}}',
            headers={"content-type": "application/json"},
        )
        assert (answer.status_code, answer.json()["code"]) in (
            (422, "invalid_spec"),
            (400, "malformed_json"),
        ), depth


def test_many_are_cancelled_by_what_they_are(by: As) -> None:
    client = by("submitter")
    for number in range(5):
        client.post("/v1/jobs", json={**TRAIN, "labels": {"parity": str(number % 2)}})
    assert client.post("/v1/jobs:cancel", json={}).json()["code"] == "nothing_selected"
    wrong = client.post("/v1/jobs:cancel", json={"kinds": ["trian"]}).json()
    assert [item["pointer"] for item in wrong["errors"]] == ["/kinds/0"]
    odd = client.post("/v1/jobs:cancel", json={"labels": {"parity": "1"}}).json()["jobs"]
    assert sorted(odd.values()) == ["cancelled"] * 2
    assert len(client.post("/v1/jobs:cancel", json={"all": True}).json()["jobs"]) == 3


def test_a_plan_says_what_would_happen_and_records_nothing(by: As, context: Context) -> None:
    client = by("submitter")
    pipeline = [{**TRAIN, "name": "t"}, {"kind": "evaluate", "model": "${t.model}"}]
    first, second = client.post("/v1/jobs:plan", json=pipeline).json()["jobs"]
    assert (first["state"], first["reason"], first["workers"]) == ("queued", "no worker is alive", 0)
    assert (second["state"], second["reason"]) == ("blocked", "it would wait for t")
    assert first["seconds"] is None
    assert first["spec"]["training"]["epochs"] > 0
    context.queue.heartbeat("w", Capacity(cpus=1))
    large = {**TRAIN, "resources": {"workers": 4, "cpus": 64}}
    big = client.post("/v1/jobs:plan", json={**TRAIN, "resources": {"workers": 4, "cpus": 64}}).json()[
        "jobs"
    ][0]
    assert "at most 1 CPUs" in big["refused"]
    assert client.post("/v1/jobs", json=large).json()["code"] == "never_fits"
    unknown = client.post("/v1/jobs:plan", json={"kind": "evaluate", "model": "${nothing.model}"})
    assert unknown.json()["errors"][0]["pointer"] == "/model"
    assert client.get("/v1/jobs").json()["jobs"] == []


def over(context: Context, client: httpx.Client, value: dict[str, Any], **outputs: Any) -> tuple[str, float]:
    """Id and seconds of a job that succeeded."""
    job = client.post("/v1/jobs", json=value).json()["jobs"][0]["id"]
    claim = context.queue.claim("w", Capacity(cpus=1), 30)
    assert claim is not None
    context.queue.start(claim.lease)
    time.sleep(0.02)
    context.queue.succeed(claim.lease, outputs)
    took = context.queue.get(job)
    assert took.finished is not None
    assert took.started is not None
    return job, (took.finished - took.started).total_seconds()


def test_a_plan_knows_how_long_it_took_before_or_says_why_it_does_not(by: As, context: Context) -> None:
    client = by("submitter")

    def plan(value: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = client.post("/v1/jobs:plan", json=value).json()["jobs"][0]
        return found

    job, took = over(context, client, {**TRAIN, "training": {"epochs": 10}})
    again = plan({**TRAIN, "training": {"epochs": 30, "learning_rate": 0.1}, "name": "n"})
    assert (again["seconds"], again["seconds_from"]) == (pytest.approx(3 * took), job)
    assert again["seconds_why"].startswith("30 epochs of ")
    client.post("/v1/jobs", json={**TRAIN, "training": {"epochs": 10}})
    for end in (
        "release",
        "succeed",
    ):  # its second attempt goes on from a checkpoint: it says nothing of the whole
        claim = context.queue.claim("w", Capacity(cpus=1), 30)
        assert claim is not None
        context.queue.start(claim.lease)
        context.queue.release(claim.lease, "drains") if end == "release" else context.queue.succeed(
            claim.lease, {}
        )
    assert plan({**TRAIN, "training": {"epochs": 30}})["seconds_from"] == job
    wider = plan({**TRAIN, "model": {"likelihood": "bernoulli", "levels": [{"latent": 5}]}})
    assert (wider["seconds"], wider["seconds_from"]) == (None, "")
    assert wider["seconds_why"] == (
        "unknown, because no train job with the same model, inference, data and batch size has succeeded in "
        "project default"
    )


def test_a_plan_of_many_asks_the_store_little_more_than_that_of_one(by: As, context: Context) -> None:
    before = context.client.info("stats")["total_commands_processed"]
    assert len(by("viewer").post("/v1/jobs:plan", json=[TRAIN] * 100).json()["jobs"]) == 100
    assert context.client.info("stats")["total_commands_processed"] - before < 100


def test_a_plan_of_an_encoding_knows_rows_and_their_rate(by: As, context: Context) -> None:
    client = by("submitter")
    encode = {"kind": "encode", "model": "m", "data": {"source": "a.npy"}, "resources": {"workers": 0}}
    other = {**encode, "model": "other", "data": {"source": "b.npy"}}

    def plan(value: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = client.post("/v1/jobs:plan", json=value).json()["jobs"][0]
        return found

    assert "no encode job with the same model" in plan(encode)["seconds_why"]
    job, took = over(context, client, encode, rows=100)
    assert plan(encode)["seconds"] == pytest.approx(took)
    unknown = plan({**encode, "data": {"source": "b.npy"}})
    assert unknown["seconds"] is None
    assert unknown["seconds_why"].startswith("unknown, because how many rows b.npy has is not known; at this")
    over(context, client, other, rows=350)
    known = plan({**encode, "data": {"source": "b.npy"}})
    assert (known["seconds"], known["seconds_from"]) == (pytest.approx(3.5 * took), job)
    over(context, client, {**encode, "encode": {"iterations": 5}}, rows=100)
    fewer, more = (
        plan({**encode, "data": {"source": "b.npy"}, "encode": {"iterations": n}})["seconds"] for n in (5, 20)
    )
    assert more == pytest.approx(4 * fewer)


def test_a_plan_says_what_would_let_a_job_run(by: As, context: Context) -> None:
    client, admin = by("submitter"), by("admin")
    context.queue.heartbeat("w", Capacity(cpus=1))
    [free] = client.post("/v1/jobs:plan", json=TRAIN).json()["jobs"]
    assert (free["place"], free["reason"]) == (1, "a worker is about to claim it")
    assert free["unblocked_by"] == "the next claim of an idle worker"
    running = client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
    assert context.queue.claim("w", Capacity(cpus=1), 30) is not None
    client.post("/v1/jobs", json=TRAIN)
    [busy] = client.post("/v1/jobs:plan", json=TRAIN).json()["jobs"]
    assert (busy["place"], busy["ahead"]) == (2, 1)
    assert busy["reason"] == "every worker that could run it is busy; 1 ahead of it"
    assert busy["unblocked_by"] == f"the end of {running}"
    admin.put("/v1/projects/default", json={"running": 1, "gpus": None})
    [bounded] = client.post("/v1/jobs:plan", json=TRAIN).json()["jobs"]
    assert "project default runs 1 job, of at most 1" in bounded["reason"]


def test_an_answer_may_be_held_until_the_job_is_over(by: As, context: Context) -> None:
    client = by("submitter")
    held = client.post("/v1/jobs", json=TRAIN, headers={"Prefer": "wait=1"})
    assert (held.status_code, held.headers["preference-applied"]) == (202, "wait=1")
    key = {"Idempotency-Key": "held"}
    job = client.post("/v1/jobs", json=TRAIN, headers=key).json()["jobs"][0]["id"]
    client.post(f"/v1/jobs/{job}:cancel")
    over = client.post("/v1/jobs", json=TRAIN, headers={"Prefer": "wait=20", **key})
    assert (over.status_code, over.json()["jobs"][0]["state"]) == (200, "cancelled")
    assert context.limits.streams.taken == 0
    caller = client.get("/v1/whoami").json()["token"]
    for _ in range(context.settings.api_streams):
        context.limits.streams.take(caller)
    full = client.post("/v1/jobs", json=TRAIN, headers={"Prefer": "wait=20"})
    assert (full.status_code, "preference-applied" in full.headers) == (202, False)


def test_each_change_is_in_the_audit(by: As) -> None:
    client, admin = by("submitter"), by("admin")
    job = client.post("/v1/jobs", json=TRAIN, headers={"X-Request-Id": "mine-1"}).json()["jobs"][0]["id"]
    client.patch(f"/v1/jobs/{job}", json={"priority": 3})
    client.post(f"/v1/jobs/{job}:cancel")
    entries = admin.get("/v1/audit").json()["entries"]
    assert [entry["action"] for entry in entries] == ["job.cancel", "job.change", "job.submit"]
    assert {entry["target"] for entry in entries} == {job}
    assert entries[-1]["request"] == "mine-1"
    assert entries[0]["project"] == "default"
    page = admin.get("/v1/audit", params={"limit": 2}).json()
    rest = admin.get("/v1/audit", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [entry["id"] for entry in page["entries"] + rest["entries"]] == [entry["id"] for entry in entries]


def test_validate_gives_the_normalised_specs(by: As) -> None:
    answer = by("viewer").post("/v1/jobs:validate", json=TRAIN)
    assert answer.json()["valid"] is True
    assert answer.json()["specs"][0]["priority"] == 50
