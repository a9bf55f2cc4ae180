"""Starting the service on this machine: `up`, `worker`."""

from __future__ import annotations

import time
from pathlib import Path

import typer
from rich.markup import escape

from closegap.cli import output
from closegap.cli.command import AsJsonLines, add
from closegap.cli.connection import refuse_context
from closegap.cli.exits import ExitCode

_LOOK_SECONDS = 0.5


def up(as_json: AsJsonLines = False) -> ExitCode:
    """Start store, Ray, a worker and the HTTP API here, in the foreground, until Ctrl-C; twice stops hard.

    CLOSEGAP_REDIS_URL and RAY_ADDRESS name a store and a cluster of your own instead of the embedded ones.
    """
    from closegap.access import local_url
    from closegap.access.local_token import file_of
    from closegap.cli.page import local as page_link
    from closegap.cli.page import say as say_page
    from closegap.cli.stack import running
    from closegap.settings import Settings, environment

    refuse_context("up")
    settings = Settings.load()
    try:
        with running(settings, environment(), serve=True) as stack:
            _say_where(settings.home, settings.storage, settings.redis_url is None, settings.ray_address)
            stack.ready()
            assert stack.api is not None  # serve=True
            local_url.keep(settings.home, stack.api.url)
            page = page_link(settings, stack.api.url)
            if as_json:
                facts = {
                    "home": str(settings.home),
                    "storage": settings.storage,
                    "url": stack.api.url,
                    "page": page,
                }
                output.json_line({"ready": True, **facts, "token_file": str(file_of(settings.home))})
            say_page(page)
            output.say(f"api      {stack.api.url}, token in {escape(str(file_of(settings.home)))}")
            output.say("[green]ready[/]  (Ctrl-C stops)")
            _say_next(stack.api.url, file_of(settings.home))
            try:
                while True:
                    stack.check()
                    time.sleep(_LOOK_SECONDS)
            except KeyboardInterrupt:
                output.say("stopping: the worker gives its jobs back, then Ray and the store stop")
    except KeyboardInterrupt:
        output.say("stopping")
    output.say("stopped; waiting jobs are kept")
    return ExitCode.SUCCEEDED


def worker() -> None:
    """Start only a worker, for the store and the cluster that the settings name. SIGTERM or Ctrl-C drains it."""
    import os
    import sys

    from closegap.cli.parts import open_queue
    from closegap.cli.processes import require_workers
    from closegap.settings import environment

    refuse_context("worker")
    require_workers()
    open_queue()  # an unreachable store is told here, in one line
    os.execve(sys.executable, [sys.executable, "-m", "closegap_workers", "worker"], environment())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "up", up,
        "closegap up",
        "CLOSEGAP_HOME=/data/closegap closegap up",
        "CLOSEGAP_REDIS_URL=rediss://queue.example.org:6379/0 closegap up",
    )  # fmt: skip
    add(
        app, "worker", worker,
        "closegap worker",
        "CLOSEGAP_REDIS_URL=rediss://queue.example.org:6379/0 RAY_ADDRESS=10.0.0.5:6379 closegap worker",
    )  # fmt: skip


def _say_where(home: object, storage: str, embedded: bool, ray_address: str | None) -> None:
    output.say(f"store    {f'embedded, in {home}' if embedded else 'as CLOSEGAP_REDIS_URL says'}")
    output.say(f"results  {escape(storage)}")
    output.say(f"ray      {escape(ray_address) if ray_address else 'embedded; starting'}")


def _say_next(url: str, token: Path) -> None:
    output.next_commands(
        [
            ("closegap example train > train.yaml", "a spec to begin with"),
            ("closegap submit train.yaml --wait", "in another terminal"),
            ("closegap ps --watch", "the queue, live"),
            (f"closegap login {url} --token-file {token}", "to use it from anywhere, also from Python"),
            ("closegap doctor", "is everything as it should be?"),
        ]
    )
