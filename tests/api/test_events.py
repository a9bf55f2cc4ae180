"""Events as they happen, over real connections: resumed, shared by many, ended with the job or the token."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from closegap.api.context import Context, opened
from closegap.api.limits import Seats
from closegap.api.problem import Answer
from closegap.job import Capacity, Lease
from closegap.queue.shares import Shares
from closegap.settings import Settings
from closegap_core import bundle
from tests.api.conftest import TRAIN, As


def sse(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Events and comments of a stream."""
    event: dict[str, Any] = {}
    for line in lines:
        if line.startswith(":"):
            yield {"comment": line[1:].strip()}
        elif not line and event:
            if "data" in event:
                yield event
            event = {}
        elif line:
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value


def running(context: Context, client: httpx.Client) -> tuple[str, Lease]:
    job = client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"]
    claim = context.queue.claim("w", Capacity(cpus=1), 60)
    assert claim is not None
    assert claim.job.id == job
    context.queue.start(claim.lease)
    return job, claim.lease


def test_a_stream_tells_everything_in_order_and_ends(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        found = sse(answer.iter_lines())
        first = [next(found) for _ in range(3)]
        assert [event["event"] for event in first] == ["state"] * 3
        assert [event["data"]["data"]["to"] for event in first] == ["queued", "claimed", "running"]
        assert next(found) == {"comment": "beat"}
        context.queue.report(
            lease,
            [
                {"type": "epoch", "epoch": 1, "train": {"elbo": -3.0}},
                {"type": "progress", "done": 1, "total": 2, "unit": "epoch"},
                {"type": "log", "line": "a\nb\r\x1b[31m"},
            ],
        )
        context.queue.succeed(lease, {})
        rest = [event for event in found if "comment" not in event]
    assert [event["event"] for event in rest] == ["metric", "progress", "log", "state", "end"]
    assert rest[-1]["data"]["data"] == {"state": "succeeded"}
    assert [event["id"] for event in rest] == [event["data"]["id"] for event in rest]


def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    seen: list[str] = []
    for number in range(10):
        context.queue.report(lease, [{"type": "epoch", "epoch": number}])
        headers = {"Last-Event-ID": seen[-1]} if seen else {}
        with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            for event in sse(answer.iter_lines()):
                if "id" in event:
                    seen.append(event["id"])
                    if event["data"]["type"] == "epoch":
                        break
    context.queue.succeed(lease, {})
    assert len(seen) == len(set(seen)) == 13
    last = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": seen[-1]})
    rest = [event["event"] for event in sse(iter(last.text.splitlines()))]
    assert rest == ["state", "end"]
    over = client.get(
        f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last.text.split("id: ")[-1].split("\n")[0]}
    )
    assert over.status_code == 204  # so a browser does not come back
    for wrong in ("x", "1-2-3", "99999999999999999999999999"):
        bad = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": wrong})
        assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "@last-event-id")


def test_only_some_types(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    context.queue.report(lease, [{"type": "epoch", "epoch": 1}, {"type": "log", "line": "x"}])
    context.queue.succeed(lease, {})
    answer = client.get(f"/v1/jobs/{job}/events", params={"type": ["metric"]})
    assert [event["event"] for event in sse(iter(answer.text.splitlines()))] == ["metric", "end"]
    assert client.get(f"/v1/jobs/{job}/events", params={"type": "nothing"}).status_code == 422


def test_as_pages_of_json(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    path, accept = f"/v1/jobs/{job}/events", {"Accept": "application/json"}
    page = client.get(path, headers=accept).json()
    assert ([event["type"] for event in page["events"]], page["over"]) == (["state"] * 3, False)
    assert client.get(path, params={"after": page["next"]}, headers=accept).json()["events"] == []
    later = threading.Timer(0.3, lambda: context.queue.succeed(lease, {}))
    later.start()
    began = time.monotonic()
    waited = client.get(path, params={"after": page["next"], "wait": 20}, headers=accept).json()
    assert waited["events"][0]["data"]["to"] == "succeeded"
    assert time.monotonic() - began < 10
    later.join()
    last = client.get(path, params={"after": waited["next"]}, headers=accept).json()
    assert ([event["type"] for event in last["events"]], last["over"]) == (["end"], True)


def test_fifty_watchers_share_one_connection(by: As, context: Context, url: str) -> None:
    client = by("submitter")
    jobs = [client.post("/v1/jobs", json=TRAIN).json()["jobs"][0]["id"] for _ in range(5)]
    connections = len(context.client.client_list())
    heard: dict[int, list[str]] = {}
    ready = threading.Barrier(51)

    def watch(number: int) -> None:
        headers = dict(client.headers)
        with httpx.stream(
            "GET", f"{url}/v1/jobs/{jobs[number % 5]}/events", headers=headers, timeout=60
        ) as answer:
            found = sse(answer.iter_lines())
            next(found)
            ready.wait(60)
            heard[number] = [event["data"]["data"].get("to", "over") for event in found if "id" in event]

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    ready.wait(60)
    assert len(context.client.client_list()) <= connections + 16 + 9  # threads and the feed, not 50 each
    assert context.limits.streams.taken == 50
    assert client.post("/v1/jobs:cancel", json={"all": True}).status_code == 200
    for thread in threads:
        thread.join(60)
    assert heard == {number: ["cancelled", "over"] for number in range(50)}
    while context.limits.streams.taken or context.feed.watchers:
        time.sleep(0.01)


def test_places_are_given_back_by_clients_that_vanish(by: As, context: Context) -> None:
    client = by("submitter")
    job, _ = running(context, client)
    for _ in range(5):
        with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
            next(sse(answer.iter_lines()))
    while context.limits.streams.taken or context.feed.watchers:
        time.sleep(0.01)


def test_too_many_streams_are_told_when_to_come_back(by: As, context: Context, settings: Settings) -> None:
    """They are counted in the store: another process of the API has taken half of them."""
    client = by("submitter")
    job, _ = running(context, client)
    caller = client.get("/v1/whoami").json()["token"]
    other = opened(settings).limits.streams
    seats = [(other if n % 2 else context.limits.streams).take(caller) for n in range(settings.api_streams)]
    for streams in (other, context.limits.streams):
        streams.keep(seats[0])
    answer = client.get(f"/v1/jobs/{job}/events")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many")
    assert int(answer.headers["retry-after"]) >= 1
    other.leave(seats[1])
    with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
        assert stream.status_code == 200
    with pytest.raises(Answer):
        Seats(Shares(context.client, "another"), each=5, here=0).take(caller)


def test_a_seat_whose_process_died_is_free_again(context: Context, settings: Settings) -> None:
    seats = Seats(Shares(context.client, settings.namespace), each=2, here=10)
    dead, kept = seats.take("a"), seats.take("a")
    with pytest.raises(Answer):
        seats.take("a")
    room = f"{{{settings.namespace}}}:seats:a"
    assert 50_000 < context.client.pttl(room) <= 60_000
    context.client.zadd(room, {dead.name: 1, kept.name: 1})
    seats.keep(kept)
    seats.take("a")
    with pytest.raises(Answer):
        seats.take("a")


def test_a_revoked_token_ends_its_streams(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        found = sse(answer.iter_lines())
        next(found)
        context.tokens.revoke(client.get("/v1/whoami").json()["token"])
        kinds = [event.get("event", "beat") for event in found]
    assert "end" not in kinds
    context.queue.succeed(lease, {})


def test_a_burst_longer_than_the_buffer_is_told_whole(
    by: As, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closegap.api.feed.BUFFER", 5)
    client = by("submitter")
    job, lease = running(context, client)
    numbers: list[int] = []
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        found = sse(answer.iter_lines())
        for _ in range(4):
            next(found)
        for first in range(0, 400, 100):
            context.queue.report(lease, [{"type": "epoch", "epoch": first + n} for n in range(100)])
        context.queue.succeed(lease, {})
        numbers = [event["data"]["data"]["epoch"] for event in found if event.get("event") == "metric"]
    assert numbers == list(range(400))


def test_logs_are_lines_of_text_that_steer_no_terminal(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    context.queue.report(lease, [{"type": "log", "line": f"line {n}"} for n in range(5)])
    context.queue.report(lease, [{"type": "log", "line": "\x1b[2Jgone\r\nid: 1\u2028x"}])
    answer = client.get(f"/v1/jobs/{job}/logs")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:5]] == [f"line {n}" for n in range(5)]
    assert lines[5].endswith(r"\x1b[2Jgone\x0d\x0aid: 1\x2028x")
    assert len(lines) == 6
    assert client.get(f"/v1/jobs/{job}/logs", params={"tail": 2}).text.splitlines() == lines[-2:]
    assert client.get(f"/v1/jobs/{job}/logs", params={"tail": 0}).text == ""
    with client.stream("GET", f"/v1/jobs/{job}/logs", params={"tail": 1, "follow": True}) as stream:
        found = stream.iter_lines()
        assert next(found) == lines[-1]
        context.queue.report(lease, [{"type": "log", "line": "later"}])
        assert next(found).endswith(" later")
        context.queue.succeed(lease, {})
        assert list(found) == []


def test_logs_are_chosen_by_what_they_have(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    trace = "Traceback\n  File x\nKeyError: 1"
    said = [
        {"type": "log", "line": "begins", "level": "info", "attempt": 1},
        {"type": "log", "line": "slow", "level": "warning", "attempt": 1, "rank": 1},
        {"type": "log", "line": "broke", "level": "error", "attempt": 1, "trial": 3, "exception": trace},
    ]
    context.queue.report(lease, said)

    def lines(accept: str = "text/plain", **wanted: str | int) -> list[str]:
        answer = client.get(f"/v1/jobs/{job}/logs", params=wanted, headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(accept)
        return answer.text.splitlines()

    shown = [line.split(" ", 1)[1] for line in lines(level="warning")]
    assert shown == [
        "[rank 1] WARNING slow",
        "[trial 3] ERROR broke",
        "   Traceback",
        "     File x",
        "   KeyError: 1",
    ]
    assert [line[-4:] for line in lines(rank=1)] == ["slow"]
    assert lines(rank=0) == lines(attempt=2) == lines(text="none such") == []
    assert lines(trial=3) == lines(text="keyerror") == lines(level="error")
    found = [json.loads(line) for line in lines("application/x-ndjson")]
    assert [{name: one[name] for name in one if name != "time"} for one in found] == [
        {name: value for name, value in one.items() if name != "type"} for one in said
    ]
    assert client.get(f"/v1/jobs/{job}/logs", params={"level": "loud"}).status_code == 422


def test_metrics_are_series(by: As, context: Context) -> None:
    client = by("submitter")
    job, lease = running(context, client)
    reported = [
        {
            "type": "epoch",
            "epoch": n,
            "train": {"elbo": -100.0 / n, "kl": 1.0},
            "valid": {"elbo": float("nan") if n == 3 else -float(n)},
        }
        for n in range(1, 21)
    ]  # fmt: skip
    context.queue.report(lease, reported)
    context.queue.report(lease, [{"type": "epoch", "epoch": 20, "train": {"elbo": -1.0}}])
    series = {item["name"]: item for item in client.get(f"/v1/jobs/{job}/metrics").json()["series"]}
    assert set(series) == {"train.elbo", "train.kl", "valid.elbo"}
    assert series["train.elbo"]["x"] == "epoch"
    assert series["train.elbo"]["points"][0] == [1, -100.0]
    assert series["train.elbo"]["points"][-1] == [20, -1.0]  # said again after a restart: the last holds
    assert series["valid.elbo"]["points"][2] == [3, None]
    few = client.get(f"/v1/jobs/{job}/metrics", params={"points": 6, "name": "valid.elbo"}).json()["series"]
    assert [item["name"] for item in few] == ["valid.elbo"]
    assert (len(few[0]["points"]), few[0]["count"]) == (6, 20)
    assert few[0]["points"][0] == [1, -1.0]
    assert few[0]["points"][-1] == [20, -20.0]


SWEEP = {
    "kind": "sweep",
    "train": {name: TRAIN[name] for name in ("data", "model", "inference")},
    "space": {"training.learning_rate": {"choice": [0.1, 0.01]}},
}


def trial(number: int, state: str = "completed", value: float | None = 0.0) -> dict[str, Any]:
    """As its attempt records it."""
    made = {"id": number, "params": {"x": number}, "epochs": 2, "epoch": 1, "value": value, "state": state}
    return {**made, "failure": None}


def test_trials_of_a_sweep_are_live_and_then_those_of_its_bundle(by: As, context: Context) -> None:
    client = by("submitter")
    assert client.get(f"/v1/jobs/{running(context, client)[0]}/trials").status_code == 404
    job = client.post("/v1/jobs", json=SWEEP).json()["jobs"][0]["id"]
    path = f"/v1/jobs/{job}/trials"
    empty = {"trials": [], "best": None, "count": 0, "next_cursor": None}
    assert client.get(path).json() == empty
    claim = context.queue.claim("w", Capacity(cpus=1), 60)
    assert claim is not None
    context.queue.start(claim.lease)
    folder = context.artifacts.work(claim.job.work) / "held-000000000000001" / "trials"
    (folder / "trial-00007").mkdir(parents=True)  # begun, and no epoch over
    (folder / "checkpoint").mkdir()
    assert client.get(path).json() == empty
    rows = [
        trial(0, "completed", -2.0),
        trial(1, "running", -1.0),
        trial(2, "failed", None),
        trial(3, value=-2.5),
    ]
    for row in reversed(rows):
        (folder / f"trial-{row['id']:05d}").mkdir()
        (folder / f"trial-{row['id']:05d}" / "trial.json").write_text(json.dumps(row))
    answer = client.get(path).json()
    assert answer == {"trials": rows, "best": rows[0], "count": 4, "next_cursor": None}
    (folder / "trial-00007" / "trial.json").symlink_to("/etc/passwd")
    assert client.get(path).status_code == 409
    with context.artifacts.staged(job, 1) as stage:
        (stage / "trials.json").write_text(json.dumps(rows[:1]))
        bundle.write(stage, "sweep", {})
        digest = context.artifacts.publish(stage)
    context.queue.succeed(claim.lease, {"sweep": digest})
    shutil.rmtree(folder)
    assert client.get(path).json()["trials"] == rows[:1]


def test_all_trials_of_a_large_sweep_are_there_page_by_page(by: As, context: Context) -> None:
    client = by("submitter")
    job = client.post("/v1/jobs", json=SWEEP).json()["jobs"][0]
    folder = context.artifacts.work(job["work"]) / "held-000000000000001" / "trials"
    for number in range(2000):
        (folder / f"trial-{number:05d}").mkdir(parents=True)
        row = json.dumps(trial(number, value=-abs(number - 1234.0)))
        (folder / f"trial-{number:05d}" / "trial.json").write_text(row)
    path, found, cursor = f"/v1/jobs/{job['id']}/trials", [], None
    while True:
        page = client.get(path, params={"limit": 300, **({"cursor": cursor} if cursor else {})}).json()
        assert (page["best"]["id"], page["count"]) == (1234, 2000)
        found += [row["id"] for row in page["trials"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == list(range(2000))
    assert len(client.get(path).json()["trials"]) == 2000
    for cursor in ("x", "t", "t-1", "t1x", "1"):
        assert client.get(path, params={"cursor": cursor}).status_code == 422, cursor


def test_points_are_thinned_by_their_extremes() -> None:
    from closegap.api.series import thinned

    points = [(float(n), float(n % 97)) for n in range(10_000)]
    kept = thinned(points, 100)
    assert len(kept) <= 100
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert max(y or 0 for _, y in kept) == 96
    assert kept == sorted(kept)
    assert thinned(points[:50], 100) == points[:50]
    for most in (2, 3):
        kept = thinned(points, most)
        assert len(kept) == most
        assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(thinned([(float(n), None) for n in range(50)], 7)) <= 7
