"""What `closegap doctor` looks at where a service is asked: each check asks it once and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version

from closegap.access.contexts import Chosen
from closegap.cli.checks import Check
from closegap.client.client import Client
from closegap.client.documents import Alive, Workers
from closegap.client.errors import ClientError, Unreachable
from closegap.client.retry import Retry

_SKEW_SECONDS = 30.0
_SOON = timedelta(days=7)
_RETRY = Retry(attempts=2, deadline_seconds=10.0)


def checks(chosen: Chosen) -> Iterator[Check]:
    """In the order in which one depends on the other; where nobody answers that is the only one."""
    with Client.of(chosen.context, retry=_RETRY, timeout=5.0) as client:
        try:
            yield clock(client)
        except Unreachable as error:
            yield Check("service", "fail", str(error), "start it, or `closegap context use` another")
            return
        except ClientError as error:
            yield Check("service", "fail", str(error), _REMEDIES["service"])
            return
        for check in (service, token, store, workers):
            try:
                yield check(client)
            except ClientError as error:
                yield Check(check.__name__, "fail", str(error), _REMEDIES.get(check.__name__, ""))


_REMEDIES = {
    "service": "is the address that of a closegap service? `closegap context show`",
    "token": "log in again: closegap login URL",
    "store": "the service runs, but not its store: look at its log",
}


def clock(client: Client) -> Check:
    """The time there against the time here. Raises Unreachable."""
    began = time.time()
    answer = client.connection.send("GET", "/healthz", repeatable=True)
    middle = (began + time.time()) / 2
    header = answer.headers.get("Date")
    if header is None:
        return Check("clock", "warn", "the service does not say what time it is")
    skew = parsedate_to_datetime(header).timestamp() + 0.5 - middle  # the header has whole seconds
    shown = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
    if abs(skew) > _SKEW_SECONDS:
        return Check("clock", "warn", f"the service is {shown}", "set both by NTP: ages and expiry are off")
    return Check("clock", "ok", "agrees with this machine's to a second or so" if abs(skew) < 2 else shown)


def service(client: Client) -> Check:
    """Its address, version, and how long an answer takes."""
    began = time.monotonic()
    found = client.info()
    took = 1000 * (time.monotonic() - began)
    detail = f"{client.connection.url}, version {found.version}, answers in {took:.0f} ms"
    if found.version != version("closegap"):
        return Check("service", "warn", detail, f"this is version {version('closegap')}; install the same")
    return Check("service", "ok", detail)


def token(client: Client) -> Check:
    """Whose it is, what it may, and until when."""
    found = client.whoami()
    projects = "all projects" if found.projects is None else ", ".join(found.projects)
    detail = f"{found.name}, {found.role} of {projects}"
    if not found.token:
        return Check("token", "warn", "the service runs without authentication", "restart it without that")
    if found.expires is not None and found.expires - datetime.now(UTC) < _SOON:
        return Check(
            "token", "warn", f"{detail}, ends {found.expires:%Y-%m-%d %H:%M} UTC", "ask for a new one"
        )
    return Check("token", "ok", detail)


def store(client: Client) -> Check:
    """Whether the service reaches its store."""
    client.connection.get(Alive, "/readyz")
    return Check("store", "ok", "the service reaches it")


def workers(client: Client) -> Check:
    """Whether a worker is alive."""
    alive = [worker for worker in client.connection.get(Workers, "/v1/workers").workers if worker.alive]
    if not alive:
        return Check("workers", "warn", "none is alive", "jobs wait until one is started: closegap worker")
    cpus = sum(worker.capacity.cpus for worker in alive)
    gpus = sum(worker.capacity.gpus for worker in alive)
    return Check("workers", "ok", f"{len(alive)} alive with {cpus:g} CPUs and {gpus:g} GPUs")
