"""Clients: they submit over HTTP until they are answered, and meddle with what they have submitted."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, final

import httpx

from tests.chaos.history import Answer, Asked, Looked, Submission
from tests.chaos.stack import Stack
from tests.chaos.workload import Wanted, wanted

CANCELLED = 9
"""One job in so many may be cancelled."""


@final
class Load:
    """Threads that submit, and one that meddles, until told to end. Everything that they are told is kept."""

    def __init__(self, stack: Stack, seed: int, submissions: int, data: Path, backlog: int) -> None:
        """`backlog`: jobs that always wait, so that faults find work."""
        self._stack, self._seed, self._all, self._data = stack, seed, submissions, data
        self._least = backlog
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()
        self._next = 0
        self._share, self._given_up = 0.0, False
        self._also: dict[int, str] = {}
        self._ids: list[str] = []
        self._submissions: list[Submission] = []
        self._asked: list[Asked] = []
        self._looked: list[Looked] = []
        self._done = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"load-{number}")
            for number, work in enumerate((self._submit, self._submit, self._meddle))
        ]
        for thread in self._threads:
            thread.start()

    def busy(self, api: int) -> int:
        """Requests that an API is answering."""
        return self._busy[api]

    def pace(self, share: float) -> None:
        """How much of the plan is done: as much of the work is submitted by then, and nothing more after the end."""
        self._share = share

    def also(self, kind: str | None, reason: int) -> None:
        """Submit one of a kind soon, if any; once for each reason."""
        if kind is not None:
            with self._lock:
                self._also.setdefault(reason, kind)

    def submitted(self) -> int:
        """Submissions that are settled."""
        return len(self._submissions)

    def finished(self) -> bool:
        """Whether nothing more is submitted, and all that was paused is resumed; after `pace(1.0)` this comes."""
        if self._errors:
            raise self._errors[0]
        if not any(thread.is_alive() for thread in self._threads[:-1]):
            self._done.set()
        return not any(thread.is_alive() for thread in self._threads)

    def give_up(self) -> None:
        """End at once, whatever is left."""
        self._given_up = True
        self._done.set()
        for thread in self._threads:
            thread.join()

    def told(self) -> tuple[tuple[Submission, ...], tuple[Asked, ...], tuple[Looked, ...]]:
        """Everything."""
        return tuple(self._submissions), tuple(self._asked), tuple(self._looked)

    # --- HTTP -----------------------------------------------------------------------------------------------

    def _guarded(self, work: Any) -> None:
        try:
            with httpx.Client(timeout=8.0) as client:
                work(client)
        except BaseException as error:
            self._errors.append(error)

    def _send(
        self, client: httpx.Client, api: int, method: str, path: str, **more: Any
    ) -> httpx.Response | None:
        """One try at one API; None where no answer came."""
        headers = {"Authorization": f"Bearer {self._stack.token()}", **more.pop("headers", {})}
        with self._lock:
            self._busy[api] += 1
        try:
            return client.request(method, self._stack.urls[api] + path, headers=headers, **more)
        except httpx.HTTPError:
            return None
        finally:
            with self._lock:
                self._busy[api] -= 1

    def _settled(
        self, client: httpx.Client, draw: random.Random, method: str, path: str, **more: Any
    ) -> list[Answer]:
        """Tries, at any API, until one answers for good; everything that was heard."""
        heard: list[Answer] = []
        while not self._given_up:
            found = self._send(client, draw.randrange(len(self._stack.apis)), method, path, **more)
            if found is None or found.status_code in (408, 429) or found.status_code >= 500:
                heard.append(Answer(time.time(), found.status_code if found else 0))
                time.sleep(draw.uniform(0.05, 0.3))
                continue
            ids: tuple[str, ...] = ()
            if found.status_code < 300:
                ids = tuple(job["id"] for job in found.json()["jobs"])
            return [*heard, Answer(time.time(), found.status_code, ids)]
        return [*heard, Answer(time.time(), 0)]

    # --- submitting -----------------------------------------------------------------------------------------

    def _submit(self, client: httpx.Client) -> None:
        draw = random.Random(f"{self._seed} {threading.current_thread().name}")
        while (number := self._due()) is not None and not self._given_up:
            if number == 0:
                time.sleep(0.05)
                continue
            job = wanted(self._seed, number, self._data, self._extra())
            answers = self._post(client, draw, job)
            self._keep(job, job.expected, answers)
            if job.expected != "accepted":
                continue
            for identifier in answers[-1].ids[:1] if job.cancelled else ():
                while not self._given_up and not self._ask(client, draw, identifier, "cancel"):
                    time.sleep(0.2)
            if draw.random() < 0.15:
                # Sent twice, as by a client that does not know whether it was heard.
                self._keep(job, "accepted", self._post(client, draw, job))
            if job.conflict:
                self._keep(job, "conflict", self._post(client, draw, job, other=True))

    def _due(self) -> int | None:
        """The next number; 0 where it is too early for it, None where all are out."""
        waiting = self._backlog()
        with self._lock:
            if any(self._also.values()):
                self._next += 1
                return self._next
            if self._share >= 1.0:
                return None
            early = self._next >= max(1, self._share * self._all)
            if waiting >= (self._least if early else 4 * self._least):
                return 0
            self._next += 1
            return self._next

    def _extra(self) -> str | None:
        """The kind that was asked for beside the others."""
        with self._lock:
            for reason, kind in self._also.items():
                if kind:
                    self._also[reason] = ""
                    return kind
        return None

    def _backlog(self) -> int:
        try:
            return int(self._stack.client().zcard("{chaos}:in:state:queued"))
        except Exception:  # the store is away: that is what all this is for
            return 4 * self._least

    def _post(
        self, client: httpx.Client, draw: random.Random, job: Wanted, other: bool = False
    ) -> list[Answer]:
        body = job.body(other)
        headers = {"Idempotency-Key": job.key}
        return self._settled(client, draw, "POST", "/v1/jobs", json=body, headers=headers)

    def _keep(self, job: Wanted, expected: str, answers: list[Answer]) -> None:
        mark = f"{job.mark}-other" if expected == "conflict" else job.mark
        with self._lock:
            self._submissions.append(Submission(job.key, mark, len(job.specs), expected, tuple(answers)))
            # Nobody meddles with a Ray job: a fault waits for it.
            self._ids += () if job.on_ray else answers[-1].ids

    # --- meddling -------------------------------------------------------------------------------------------

    def _meddle(self, client: httpx.Client) -> None:
        draw = random.Random(f"{self._seed} meddler")
        paused: list[tuple[float, str]] = []
        while not self._done.wait(draw.uniform(0.05, 0.5)):
            for due in [entry for entry in paused if entry[0] < time.monotonic()]:
                if self._ask(client, draw, due[1], "resume"):
                    paused.remove(due)
            with self._lock:
                count = len(self._ids)
            if not count:
                continue
            number = draw.randrange(max(0, count - 40), count)
            job, what = (
                self._ids[number],
                draw.choices(["look", "end", "pause", "change"], [60, 15, 10, 15])[0],
            )
            if what == "end":
                # By its number, so that it is a share of the jobs, however long they are there.
                what = "cancel" if number % CANCELLED == 2 else "look"
            if what == "look":
                self._look(client, draw, job)
            elif self._ask(client, draw, job, what) and what == "pause":
                paused.append((time.monotonic() + draw.uniform(0.5, 4.0), job))
        for _, job in paused:
            while not self._given_up and not self._ask(client, draw, job, "resume"):
                time.sleep(0.2)

    def _ask(self, client: httpx.Client, draw: random.Random, job: str, what: str) -> bool:
        """Ask something of a job once; whether there was an answer."""
        api = draw.randrange(len(self._stack.apis))
        if what == "change":
            found = self._send(
                client, api, "PATCH", f"/v1/jobs/{job}", json={"priority": draw.randrange(101)}
            )
        else:
            found = self._send(client, api, "POST", f"/v1/jobs/{job}:{what}")
        if found is None or found.status_code >= 500:
            return False
        state = found.json()["state"] if found.status_code == 200 else ""
        self._asked.append(Asked(job, what, time.time(), found.status_code, state))
        return True

    def _look(self, client: httpx.Client, draw: random.Random, job: str) -> None:
        api = draw.randrange(len(self._stack.apis))
        found = [self._send(client, api, "GET", f"/v1/jobs/{job}{part}") for part in ("", "/position", "")]
        if any(one is None or one.status_code != 200 for one in found):
            return
        before, said, after = (one.json() for one in found if one is not None)
        self._looked.append(
            Looked(job, before["state"], after["state"], said["place"], said["reason"], said["unblocked_by"])
        )
