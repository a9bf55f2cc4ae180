"""What is sent again, how often, and what a failure is called; against a little real server that fails n times."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from closegap import Client, ClientError, Retry
from closegap.client.connection import checked
from closegap.client.errors import (
    NoService,
    NotFound,
    ServerFault,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from closegap.client.retry import asked_seconds
from closegap.errors import StoreUnavailable

from .conftest import QUICK, spec
from .little import Asked, Little, Says, problem

WHOAMI = {"token": "t", "name": "n", "role": "viewer", "projects": None, "expires": None, "new": "field"}
INFO = {"version": "9", "api": "v1", "kinds": [], "limits": {}}
JOBS = {"jobs": [], "waiting": {}, "next_cursor": None}


def failing(times: int, how: Says, then: Says) -> Little:
    return Little(lambda number, asked: how if number <= times else then)


@pytest.mark.parametrize(
    "how", [Says(0), problem(503, "store_unavailable"), problem(429, "too_many"), Says(502, b"<html>")]
)
def test_what_may_be_asked_twice_is_asked_again(how: Says) -> None:
    with failing(3, how, Says(200, WHOAMI)) as little, Client(little.url, retry=QUICK) as client:
        assert client.whoami().name == "n"
        assert len(little.asked) == 4


@pytest.mark.parametrize("how", [Says(0), problem(503, "store_unavailable")])
def test_a_submission_is_sent_again_with_the_same_key_and_body(how: Says) -> None:
    from closegap.api.documents import EXAMPLE_JOBS

    with failing(2, how, Says(202, EXAMPLE_JOBS)) as little, Client(little.url, retry=QUICK) as client:
        assert client.submit(spec()).id == EXAMPLE_JOBS["jobs"][0]["id"]
        client.submit(spec())
        keys = [asked.headers["Idempotency-Key"] for asked in little.asked]
        assert len({asked.body for asked in little.asked[:3]}) == 1
        assert len(set(keys[:3])) == 1, "one key for all attempts of one submission"
        assert keys[3] != keys[0], "another submission has another one"


@pytest.mark.parametrize("how", [Says(0), problem(503, "store_unavailable"), problem(429, "too_many")])
def test_what_does_more_when_it_is_done_twice_is_sent_once(how: Says) -> None:
    from closegap.api.documents import EXAMPLE_JOB

    with failing(1, Says(200, EXAMPLE_JOB), how) as little, Client(little.url, retry=QUICK) as client:
        job = client.job("train-7f3a91c2")
        with pytest.raises((Unreachable, Unavailable, TooManyRequests)):
            job.retry()
        with pytest.raises((Unreachable, Unavailable, TooManyRequests)):
            client.models.remove_alias("m", "best")
        assert len(little.asked) == 3


def test_there_is_an_end_to_it() -> None:
    with Little(lambda number, asked: problem(503, "store_unavailable")) as little:
        with Client(little.url, retry=QUICK) as client, pytest.raises(Unavailable) as caught:
            client.whoami()
        assert len(little.asked) == QUICK.attempts
        assert isinstance(caught.value, StoreUnavailable)
        assert (caught.value.code, caught.value.request_id) == ("store_unavailable", "r1")


def test_the_service_says_when_to_come_back() -> None:
    with failing(1, problem(429, "too_many", **{"Retry-After": "1"}), Says(200, WHOAMI)) as little:
        begun = time.monotonic()
        with Client(little.url, retry=QUICK) as client:
            client.whoami()
        assert 1.0 <= time.monotonic() - begun < 2.0


def test_a_later_time_than_the_deadline_is_not_waited_for() -> None:
    with failing(1, problem(429, "too_many", **{"Retry-After": "3600"}), Says(200, WHOAMI)) as little:
        begun = time.monotonic()
        with Client(little.url, retry=QUICK) as client, pytest.raises(TooManyRequests):
            client.whoami()
        assert time.monotonic() - begun < 1.0
        assert len(little.asked) == 1


def test_an_answer_that_does_not_come_costs_the_deadline_at_most() -> None:
    def slow(number: int, asked: Asked) -> Says:
        time.sleep(0.6)
        return Says(200, WHOAMI)

    retry = QUICK._replace(deadline_seconds=0.5)
    with Little(slow) as little, Client(little.url, timeout=0.2, retry=retry) as client:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer in time"):
            client.whoami()
        assert time.monotonic() - begun < 1.0
        assert 2 <= len(little.asked) <= 3


def test_nobody_there_says_how_to_start_one() -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
        with Client(url, retry=QUICK) as client, pytest.raises(Unreachable) as caught:
            client.whoami()
    assert url in str(caught.value)
    assert "closegap up" in str(caught.value)


def test_errors_are_what_they_mean() -> None:
    answers = {
        1: (problem(404, "not_found"), NotFound),
        2: (problem(401, "unauthorized"), Unauthorized),
        3: (problem(500, "internal"), ServerFault),
        4: (Says(200, b"<html>", {"Content-Type": "text/html"}), NoService),
        5: (Says(302, b"", {"Location": "http://elsewhere"}), NoService),
        6: (Says(200, ["not", "this"]), NoService),
        7: (Says(418, b"tea"), NoService),
    }
    with Little(lambda number, asked: answers[number][0]) as little:
        with Client(little.url, retry=QUICK) as client:
            for _, kind in answers.values():
                with pytest.raises(kind) as caught:
                    client.whoami()
                assert type(caught.value) is kind
        assert len(little.asked) == len(answers), "none of these is tried again"


def test_the_token_goes_with_each_request_and_is_never_shown() -> None:
    with Little(lambda number, asked: Says(200, INFO)) as little, Client(little.url, "cg_secret") as client:
        assert client.info().version == "9"
        assert little.asked[0].headers["Authorization"] == "Bearer cg_secret"
        assert little.asked[0].headers["User-Agent"].startswith("closegap/")
        assert "cg_secret" not in repr(client) + repr(vars(client)) + repr(vars(client.connection))


@pytest.mark.parametrize(
    "url", ["localhost:8421", "ftp://x", "http://", "http://[::1", "http://u:p@x", "http://x?q=1"]
)
def test_an_address_is_checked_and_no_password_repeated(url: str) -> None:
    with pytest.raises(ClientError) as caught:
        Client(url)
    assert "u:p" not in str(caught.value)


def test_addresses_may_have_a_path() -> None:
    assert checked("https://host/closegap/") == "https://host/closegap"
    with Little(lambda number, asked: Says(200, INFO)) as little, Client(f"{little.url}/below/") as client:
        client.info()
        assert little.asked[0].path == "/below/v1/info"


def test_waits_grow_and_are_spread() -> None:
    retry = Retry(attempts=10, first_seconds=1.0, longest_seconds=8.0)
    for attempt, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0)):
        waits = [retry.wait(attempt, None, 100.0) for _ in range(200)]
        known = [wait for wait in waits if wait is not None]
        assert len(known) == 200
        assert 0 <= min(known) < 0.2 * bound
        assert 0.8 * bound < max(known) <= bound
    assert retry.wait(10, None, 100.0) is None
    assert retry.wait(1, 3.0, 2.0) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    assert asked_seconds("7") == 7.0
    assert asked_seconds(None) is None
    assert asked_seconds("soon") is None
    later = asked_seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert later is not None
    assert 28 < later <= 30
