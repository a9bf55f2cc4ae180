"""What the shell completes after a TAB: jobs, models, contexts, projects, workers, and words of a list.

Whoever presses TAB has asked nothing yet, so here alone what fails is passed over: a message in the middle of the line
that is being typed would do harm, and the command itself will say what is wrong. Answers that take long do not come.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from closegap.access.contexts import Chosen, Context
    from closegap.queue.queue import Queue

SECONDS = 0.5
"""For an answer."""
MOST = 100
Found = list[tuple[str, str]]
"""Words, and what some shells show beside each."""
Complete = Callable[[typer.Context, str], Found]


def of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Words of a list."""
    words = tuple(known)

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _silent(find: Callable[[typer.Context], Iterable[tuple[str, str]]]) -> Complete:
    """Those of the found that begin as what was typed; none where anything fails."""

    @functools.wraps(find)
    def complete(ctx: typer.Context, incomplete: str) -> Found:
        try:
            return [(word, beside) for word, beside in find(ctx) if word.startswith(incomplete)]
        except Exception:
            return []

    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str, "return": Found}
    del complete.__wrapped__  # else it is asked for the signature of `find`
    return complete


@_silent
def contexts(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of contexts."""
    from closegap.access import contexts
    from closegap.settings import ClientSettings

    kept = contexts.read(ClientSettings.load().contexts_file).contexts
    return [*((name, context.url) for name, context in kept.items()), ("local", "this machine's store")]


@_silent
def jobs(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Ids of the newest jobs, then names."""
    found = _chosen(ctx)
    if found is None:
        records = [
            job.model_dump(include={"id", "name", "kind", "state"}) for job in _queue().jobs(limit=MOST).jobs
        ]
    else:
        records = _answer(found.context, f"/v1/jobs?limit={MOST}")["jobs"]
    named = {job["name"]: f"{job['kind']} {job['state']}" for job in reversed(records) if job["name"]}
    return [*((job["id"], f"{job['name']} {job['state']}") for job in records), *named.items()]


@_silent
def models(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Registered names, and each with its aliases."""
    found = _chosen(ctx)
    if found is None:
        from closegap.cli.parts import open_artifacts
        from closegap.storage.registry import Registry

        registry = Registry(open_artifacts())
        known = [(name, [alias.alias for alias in registry.aliases(name)]) for name in registry.names()]
    else:
        summaries = _answer(found.context, "/v1/models")["models"]
        known = [(one["name"], [alias["alias"] for alias in one["aliases"]]) for one in summaries]
    return [(word, "") for name, aliases in known for word in (name, *(f"{name}@{a}" for a in aliases))]


@_silent
def projects(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of projects."""
    found = _chosen(ctx)
    if found is None:
        return [(project.name, "") for project in _queue().projects()]
    return [(project["name"], "") for project in _answer(found.context, "/v1/projects")["projects"]]


@_silent
def workers(ctx: typer.Context) -> Iterable[tuple[str, str]]:
    """Names of workers."""
    found = _chosen(ctx)
    if found is None:
        return [(worker.id, "") for worker in _queue().workers()]
    return [(worker["id"], "") for worker in _answer(found.context, "/v1/workers")["workers"]]


def _chosen(ctx: typer.Context) -> Chosen | None:
    """By `--context` as far as it was typed, else as always."""
    from closegap.access import contexts
    from closegap.settings import ClientSettings

    return contexts.chosen(ClientSettings.load(), ctx.find_root().params.get("context"))


def _queue() -> Queue:
    """Of this machine's store, which must answer at once."""
    from closegap.queue.queue import Queue
    from closegap.settings import Settings
    from closegap.store.store import connect

    settings = Settings.load()
    return Queue(connect(settings, SECONDS), settings.namespace)


def _answer(context: Context, path: str) -> Any:
    """By the standard library: the client takes longer to load than the answer takes to come."""
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(context.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    secret = context.secret()
    connection = kind(parts.netloc, timeout=SECONDS)
    try:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        connection.request("GET", f"{parts.path}{path}", headers=headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
