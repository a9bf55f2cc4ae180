"""Which jobs are meant: filters, pages, and cancelling by filter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from closegap.errors import NotFound
from closegap.job import Capacity, Job, State
from closegap.queue.queue import Queue
from closegap.queue.selector import ALL, Selector
from closegap.specs import spec
from closegap.specs.spec import Spec

Train = Callable[..., list[Spec]]


def of(*values: str) -> frozenset[str]:
    return frozenset(values)


def every(queue: Queue, selector: Selector, limit: int = 7) -> list[str]:
    """Ids, page by page."""

    def pages() -> Iterator[Job]:
        cursor = None
        while True:
            page = queue.jobs(selector, limit, cursor)
            yield from page.jobs
            assert len(page.jobs) == limit or page.cursor is None
            if (cursor := page.cursor) is None:
                return

    return [job.id for job in pages()]


@pytest.fixture
def jobs(queue: Queue, train: Train) -> list[Job]:
    """Forty jobs of all sorts, oldest first."""
    draw = random.Random(0)
    made = []
    for number in range(40):
        name, project = (
            draw.choice(("mnist-a", "mnist-b", "cifar-1", "cifarx1")),
            draw.choice(("p", "q", "r")),
        )
        labels = {"team": draw.choice("ab")} | ({"night": "7"} if number % 5 == 0 else {})
        fields = {"name": name, "labels": labels, "priority": draw.randrange(100)}
        specs = (
            train(**fields) if draw.random() < 0.5 else spec.parse({"kind": "export", "model": "m", **fields})
        )
        made += queue.submit(specs, project=project)
    for job in draw.sample(made, 10):
        queue.cancel(job.id)
    for job in draw.sample(made, 5):
        queue.change(job.id, labels={"team": "c"})
    return [queue.get(job.id) for job in made]


FILTERS: dict[str, tuple[Selector, Callable[[Job], bool]]] = {
    "all": (ALL, lambda job: True),
    "project": (Selector(projects=of("p")), lambda job: job.project == "p"),
    "projects": (Selector(projects=of("p", "q")), lambda job: job.project in "pq"),
    "no project": (Selector(projects=of()), lambda job: False),
    "unknown project": (Selector(projects=of("z")), lambda job: False),
    "state": (Selector(states=frozenset({State.CANCELLED})), lambda job: job.state is State.CANCELLED),
    "kind": (Selector(kinds=of("export")), lambda job: job.kind == "export"),
    "label": (Selector(labels={"team": "a"}), lambda job: job.labels["team"] == "a"),
    "edited label": (Selector(labels={"team": "c"}), lambda job: job.labels["team"] == "c"),
    "labels": (
        Selector(labels={"team": "a", "night": "7"}),
        lambda job: job.labels == {"team": "a", "night": "7"},
    ),
    "name": (Selector(name="cifar-1"), lambda job: job.name == "cifar-1"),
    "names": (Selector(name="mnist*"), lambda job: job.name.startswith("mnist")),
    "names that end so": (Selector(name="*-1"), lambda job: job.name.endswith("-1")),
    "names with parts": (Selector(name="m*i*-*"), lambda job: job.name.startswith("mnist")),
    "names too short for their parts": (Selector(name="mnist-a*a"), lambda job: False),
    "any name": (Selector(name="**"), lambda job: True),
    "no pattern of Lua's": (Selector(name="%a+"), lambda job: False),
    "nor one with a star": (Selector(name="%a*.*"), lambda job: False),
    "everything": (
        Selector(
            projects=of("p", "r"),
            states=frozenset({State.QUEUED}),
            kinds=of("train"),
            labels={"team": "b"},
            name="*i*",
        ),
        lambda job: (job.project, job.state, job.kind, job.labels["team"]) in {
            ("p", "queued", "train", "b"),
            ("r", "queued", "train", "b"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_filters_find_what_they_say_newest_first(queue: Queue, jobs: list[Job], name: str) -> None:
    selector, holds = FILTERS[name]
    expected = [job.id for job in reversed(jobs) if holds(job)]
    for limit in (1, 3, 7, 100):
        assert every(queue, selector, limit) == expected


def test_pipelines_and_times(queue: Queue, jobs: list[Job], chain: list[Spec]) -> None:
    made = queue.submit(chain)
    assert every(queue, Selector(pipeline=made[0].pipeline)) == [job.id for job in reversed(made)]
    for start, end in ((0, 40), (5, 20), (39, 40)):
        after, before = jobs[start].created, jobs[end - 1].created + timedelta(milliseconds=1)
        found = every(queue, Selector(created_after=after, created_before=before))
        assert found == [job.id for job in reversed(jobs) if after <= job.created < before]
    assert every(queue, Selector(created_after=made[0].created + timedelta(days=1))) == []


def test_a_pattern_of_many_stars_takes_no_longer(queue: Queue, train: Train) -> None:
    """By backtracking this would be longer than anybody lives, in the one thread of the store."""
    queue.submit(train(name="a" * 63))
    assert queue.jobs(Selector(name="*a" * 40 + "*b")).jobs == []
    assert len(queue.jobs(Selector(name="*a" * 63 + "*")).jobs) == 1


def test_a_time_without_a_zone_is_in_utc(queue: Queue, train: Train) -> None:
    [job] = queue.submit(train())
    assert queue.jobs(Selector(created_after=job.created.replace(tzinfo=None))).jobs == [job]
    assert queue.jobs(Selector(created_before=job.created.replace(tzinfo=None))).jobs == []
    assert queue.jobs(Selector(created_after=datetime.min, created_before=datetime.max)).jobs == [job]


def test_a_rare_job_is_found_among_many_however_few_are_looked_at_in_a_call(
    queue: Queue, train: Train
) -> None:
    [first] = queue.submit(train(name="rare"))
    for _ in range(6):
        queue.submit(train() * 1000)
    assert [job.id for job in queue.jobs(Selector(name="rare"), limit=1).jobs] == [first.id]


def test_a_cursor_is_none_of_the_users_business(queue: Queue) -> None:
    for cursor in ("x", "-1", "1e3", "1" * 40):
        with pytest.raises(NotFound, match="no cursor"):
            queue.jobs(cursor=cursor)


def test_all_that_are_meant_are_cancelled(queue: Queue, jobs: list[Job], train: Train) -> None:
    queue.submit(train(name="mnist-r", labels={"team": "a"}, priority=100), project="p")
    claim = queue.claim("w", Capacity(cpus=1), 30.0)
    assert claim is not None
    open_before = [job for job in [*jobs, queue.get("mnist-r")] if not queue.get(job.id).state.terminal]
    meant = Selector(projects=of("p"), labels={"team": "a"})
    after = queue.cancel_all(meant, actor="anna")
    expected = [job.id for job in reversed(open_before) if job.project == "p" and job.labels["team"] == "a"]
    assert [job.id for job in after] == expected
    assert len(expected) > 2
    states = {job.id: job.state for job in after}
    assert states.pop(claim.job.id) is State.CLAIMED
    assert set(states.values()) == {State.CANCELLED}
    wish = queue.renew(claim.lease, 30.0)
    assert wish is not None
    assert wish.to is State.CANCELLED
    untouched = [job.id for job in open_before if job.id not in expected]
    assert {queue.get(job).state for job in untouched} == {State.QUEUED}
    assert queue.cancel_all(Selector(projects=of()), actor="anna") == []


def test_more_than_one_script_may_cancel_are_cancelled(queue: Queue, train: Train) -> None:
    made = queue.submit(train() * 1000)
    late = queue.submit(spec.parse({"kind": "evaluate", "model": f"${{{made[0].id}.model}}"}))
    assert len(queue.cancel_all(Selector(kinds=of("train", "evaluate")))) == 1001
    assert queue.get(late[0].id).state is State.CANCELLED
    assert queue.claim("w", Capacity(cpus=1), 30.0) is None
