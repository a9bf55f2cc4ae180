"""Latencies of the HTTP API: a real server on the real embedded store, clients in another process."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.figure import Figure, Mark
from benchmarks.queue import SPEC, durable_write, percentile
from closegap.access import local_token
from closegap.api.server import listening
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings, environment
from closegap.specs import spec
from closegap.store.store import EmbeddedStore, connect

RATE, REQUESTS = 100, 1000
WATCHERS, EVENTS = 50, 100
CONNECTIONS = 16
SUBMIT_MARKS = {50: Mark("value", "<", 10.0), 99: Mark("value", "<", 50.0)}
JOBS, LIST_MARK = 10_000, Mark("value", "<", 100.0)
EVENT_MARK = Mark("value", "<", 250.0)


class Address(NamedTuple):
    """Where the API answers, and to whom."""

    port: int
    token: str

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request as it is sent."""
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
        return f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


def figures(requests: int = REQUESTS, events: int = EVENTS) -> Iterator[Figure]:
    """Submits at 100 a second, a list among 10,000 jobs, an event to its last watchers: milliseconds of wall time."""
    gc.collect()
    gc.freeze()  # what other parts left here: a look through all of it takes 200 ms, which are not the server's
    with served() as (settings, address):
        with connect(settings) as client:
            floor = durable_write(client)
        asyncio.run(_submitted(address, 50))  # the first requests of a process import and compile
        taken = asyncio.run(_submitted(address, requests))
        for percent, mark in SUBMIT_MARKS.items():
            value = percentile(taken, percent)
            name = f"HTTP submit at {RATE}/s, p{percent}"
            yield Figure(name, value, "ms", floor, "one durable write", floor / value, mark)
        fill(settings)
        value = percentile(asyncio.run(_listed(address)), 50)
        name = f"HTTP list of 50 of {JOBS:,} jobs, p50"
        yield Figure(name, value, "ms", floor, "one durable write", floor / value, LIST_MARK)
        value = percentile(asyncio.run(_watched(settings, address, events)), 95)
        name = f"HTTP event, {WATCHERS} watchers, p95"
        yield Figure(name, value, "ms", floor, "one durable write", floor / value, EVENT_MARK)


@contextmanager
def served() -> Iterator[tuple[Settings, Address]]:
    """A store and an API of their own, for as long as the block lasts."""
    with TemporaryDirectory(prefix="closegap-bench-") as place:
        settings = Settings.load(home=Path(place), api_rate=100_000.0)
        with EmbeddedStore(settings.home), _api(settings) as address:
            yield settings, address


@contextmanager
def _api(settings: Settings) -> Iterator[Address]:
    """A server in a process of its own, once it answers."""
    changes = {"CLOSEGAP_HOME": str(settings.home), "CLOSEGAP_API_RATE": str(settings.api_rate)}
    with listening("127.0.0.1", 0) as place, (settings.home / "api.log").open("wb") as log:
        number = place.fileno()
        command = [sys.executable, "-m", "closegap.api", "--descriptor", str(number)]
        process = subprocess.Popen(command, pass_fds=[number], env=environment(**changes), stderr=log)
        try:
            while (token := local_token.read(settings.home)) is None:
                if process.poll() is not None:
                    raise RuntimeError(f"the API ended with status {process.returncode}")
                time.sleep(0.05)
            yield Address(place.getsockname()[1], token)
        finally:
            process.terminate()
            process.wait(30)


async def _submitted(address: Address, requests: int) -> list[float]:
    """Milliseconds of each submit, counted from when it was due: what waits for a connection counts, too."""
    body = json.dumps({**SPEC, "resources": {"workers": 0}}).encode()
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", address.port))
    begin, taken = time.perf_counter() + 0.05, []

    async def submit(number: int) -> None:
        due = begin + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await idle.get()
        reader, writer = connection
        writer.write(address.request("POST", "/v1/jobs", body))
        status, _ = await _answer(reader)
        if status != 202:
            raise RuntimeError(f"a submit was answered with {status}")
        taken.append(1e3 * (time.perf_counter() - due))
        idle.put_nowait(connection)

    await asyncio.gather(*(submit(number) for number in range(requests)))
    while not idle.empty():
        _, writer = idle.get_nowait()
        writer.close()
    return taken


def fill(settings: Settings) -> None:
    """Many jobs wait."""
    with connect(settings) as client:
        queue, specs = Queue(client, settings.namespace), spec.parse(SPEC)
        for _ in range(JOBS // 1000):
            queue.submit(specs * 1000)


async def _listed(address: Address) -> list[float]:
    """Milliseconds of a first page of the jobs that wait, with why each does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    taken = []
    for _ in range(50):
        begin = time.perf_counter()
        writer.write(address.request("GET", "/v1/jobs?state=queued&limit=50&waiting=true"))
        status, _ = await _answer(reader)
        if status != 200:
            raise RuntimeError(f"a list was answered with {status}")
        taken.append(1e3 * (time.perf_counter() - begin))
    writer.close()
    return taken


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = int(head.split(" ", 2)[1])
    lengths = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length:")]
    return status, await reader.readexactly(int(lengths[0])) if lengths else b""


async def _watched(settings: Settings, address: Address, events: int) -> list[float]:
    """Milliseconds from just before an event is reported to when each watcher has read it."""
    queue = Queue(connect(settings), settings.namespace)
    claim = await asyncio.to_thread(queue.claim, "bench", Capacity(cpus=1), 600.0)
    if claim is None:
        raise RuntimeError("there is no job to watch")
    await asyncio.to_thread(queue.start, claim.lease)
    taken: list[float] = []
    ready = asyncio.Semaphore(0)

    async def watch() -> None:
        async with _stream(address, claim.job.id) as lines:
            ready.release()
            async for line in lines:
                if line.startswith(b"data: ") and b'"sent":' in line:
                    event = json.loads(line[6:])
                    taken.append(1e3 * (time.time() - event["data"]["sent"]))
                elif line.startswith(b"event: end"):
                    return

    watchers = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    for _ in watchers:
        await ready.acquire()
    await asyncio.sleep(0.5)
    for _ in range(events):
        await asyncio.to_thread(queue.report, claim.lease, [{"type": "metric", "sent": time.time()}])
        await asyncio.sleep(0.05)
    await asyncio.to_thread(queue.succeed, claim.lease, {})
    await asyncio.gather(*watchers)
    if len(taken) != WATCHERS * events:
        raise RuntimeError(f"{len(taken)} events arrived, {WATCHERS * events} were sent")
    return taken


@asynccontextmanager
async def _stream(address: Address, job: str) -> AsyncIterator[AsyncIterator[bytes]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    writer.write(address.request("GET", f"/v1/jobs/{job}/events"))
    await reader.readuntil(b"\r\n\r\n")

    async def lines() -> AsyncIterator[bytes]:
        while line := await reader.readline():
            yield line

    try:
        yield lines()
    finally:
        writer.close()
