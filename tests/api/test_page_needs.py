"""What the page asks of the API beside what others do: counts, lists without specs, events backwards, lines, room."""

from __future__ import annotations

from closegap.api.context import Context
from closegap.job import Capacity, State
from closegap.queue.selector import Selector
from closegap.specs import spec
from tests.api.conftest import TRAIN, As

JSON = {"Accept": "application/json"}


def test_jobs_are_counted_by_state_as_the_caller_may_know(by: As, context: Context) -> None:
    queue = context.queue
    for project in ("ours", "ours", "theirs"):
        queue.submit(spec.parse(TRAIN), project=project)
    queue.cancel_all(Selector(projects=frozenset({"theirs"})))
    everywhere, ours = by("viewer"), by("viewer", "ours")
    assert everywhere.get("/v1/jobs:count").json()["states"] == _states(queued=2, cancelled=1)
    assert ours.get("/v1/jobs:count").json()["states"] == _states(queued=2)
    assert ours.get("/v1/jobs:count", params={"project": "theirs"}).json()["states"] == _states()
    assert everywhere.get("/v1/jobs:count", params={"project": "theirs"}).json()["states"] == _states(
        cancelled=1
    )


def _states(**counted: int) -> dict[str, int]:
    return {state.value: counted.get(state.value, 0) for state in State}


def test_a_list_that_has_not_changed_is_not_sent_again(by: As, context: Context) -> None:
    client = by()
    job = context.queue.submit(spec.parse(TRAIN))[0]
    first = client.get("/v1/jobs", params={"specs": False})
    assert first.json()["jobs"][0]["spec"] == {}
    assert client.get("/v1/jobs").json()["jobs"][0]["spec"]["kind"] == "train"
    known = {"If-None-Match": first.headers["etag"]}
    again = client.get("/v1/jobs", params={"specs": False}, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/jobs", headers=known).status_code == 200
    context.queue.change(job.id, priority=80)
    changed = client.get("/v1/jobs", params={"specs": False}, headers=known)
    assert (changed.status_code, changed.json()["jobs"][0]["priority"]) == (200, 80)


def test_events_are_read_backwards_and_from_now_on(by: As, context: Context) -> None:
    queue, client = context.queue, by()
    queue.heartbeat("w", Capacity(cpus=4))
    queue.submit(spec.parse(TRAIN))
    claim = queue.claim("w", Capacity(cpus=4), 60)
    assert claim is not None
    queue.start(claim.lease)
    reported = [{"type": "log", "line": str(i)} for i in range(1300)]
    queue.report(claim.lease, [part for one in reported for part in (one, {"type": "metric", "x": 1})])
    path = f"/v1/jobs/{claim.job.id}/events"
    found: list[str] = []
    before: str | None = "latest"
    asked = 0
    while before is not None:
        params: dict[str, str | int] = {"before": before, "type": "log", "limit": 400}
        page = client.get(path, params=params, headers=JSON).json()
        found = [event["data"]["line"] for event in page["events"]] + found
        before, asked = page["previous"], asked + 1
    assert found == [str(i) for i in range(1300)]
    assert asked in (4, 5)
    assert client.get(path, params={"after": "latest"}, headers=JSON).json()["events"] == []
    with client.stream("GET", path, params={"after": "latest"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        queue.report(claim.lease, [{"type": "log", "line": "new"}])
        data = next(line for line in lines if line.startswith("data: "))
        assert '"line":"new"' in data
    assert client.get(path, params={"before": "now"}, headers=JSON).status_code == 422


def test_lines_and_what_workers_hold(by: As, context: Context) -> None:
    queue = context.queue
    queue.heartbeat("w", Capacity(cpus=4, gpus=1))
    for project, cpus in (("ours", 1), ("ours", 1), ("theirs", 2)):
        queue.submit(spec.parse({**TRAIN, "resources": {"workers": 0, "cpus": cpus}}), project=project)
    every, ours = by("viewer"), by("viewer", "ours")
    lines = {line["project"]: line for line in every.get("/v1/lines").json()["lines"]}
    assert (lines["ours"]["waiting"], lines["ours"]["cpus"], lines["theirs"]["cpus"]) == (2, 1.0, 2.0)
    assert [line["project"] for line in ours.get("/v1/lines").json()["lines"]] == ["ours"]
    claim = queue.claim("w", Capacity(cpus=4), 60)
    assert claim is not None
    assert every.get("/v1/workers").json()["taken"] == {"w": {"cpus": 1.0, "gpus": 0.0}}
