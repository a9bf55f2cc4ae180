"""What stands behind a command: the service of a context, or this machine's own parts. Imports what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from closegap.cli.errors import UsageError

if TYPE_CHECKING:
    from closegap.access.contexts import Chosen
    from closegap.cli.service import Service

_ASKED: ContextVar[str | None] = ContextVar("context", default=None)
"""What `--context` says in this invocation."""


_OPENED: ContextVar[ExitStack] = ContextVar("opened")
"""What is let go of when the command is over."""


@contextmanager
def invocation() -> Iterator[None]:
    """One command: whatever service it opens is closed at its end."""
    with ExitStack() as opened:
        before = _OPENED.set(opened)
        try:
            yield
        finally:
            _OPENED.reset(before)


def ask(context: str | None) -> None:
    """Let the commands of this invocation use a context. The option of the whole command line calls it, always."""
    _ASKED.set(context)


def chosen() -> Chosen | None:
    """The service that is meant; None: this machine's store. Raises NotFound, SettingsError."""
    from closegap.access import contexts
    from closegap.settings import ClientSettings

    return contexts.chosen(ClientSettings.load(), _ASKED.get())


def open_service() -> Service:
    """What the commands ask: the service of the context that is meant, else this machine's store.

    Raises NotFound, SettingsError, ClientError.
    """
    from closegap.settings import ClientSettings, Settings

    found = chosen()
    if found is not None:
        from closegap.cli.remote import RemoteService
        from closegap.client.client import Client

        return RemoteService(_OPENED.get().enter_context(Client.of(found.context)))
    from closegap.cli.store import StoreService

    return StoreService(Settings.load(), ClientSettings.load().project)


def refuse_context(command: str, instead: str = "") -> None:
    """For what starts something on this machine: it heeds no context. Raises UsageError where one was asked for."""
    if _ASKED.get() not in (None, "local"):
        raise UsageError(_only_here(command, f"context {_ASKED.get()}", instead))


def refuse_service(command: str, instead: str = "") -> None:
    """For what changes this machine's store itself. Raises UsageError where any service is meant."""
    found = chosen()
    if found is not None:
        raise UsageError(_only_here(command, found.context.url, instead))


def _only_here(command: str, where: str, instead: str) -> str:
    return (
        f"`{command}` works on this machine, not through {where}: "
        f"{instead or f'`closegap --context local {command}` means the one of this machine'}"
    )
