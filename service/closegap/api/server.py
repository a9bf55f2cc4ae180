"""The HTTP server: one process, one event loop, the application on it."""

from __future__ import annotations

import socket
from typing import final

import uvicorn

from closegap.access import local_token
from closegap.api.app import build
from closegap.api.context import Context, opened
from closegap.errors import SettingsError
from closegap.settings import Settings

GRACE_SECONDS = 10
"""What requests that are being answered are given when the server stops."""
_BACKLOG = 2048


@final
class Server(uvicorn.Server):
    """Uvicorn, which lets go of event streams when it stops: they would never end by themselves."""

    def __init__(self, context: Context) -> None:
        config = uvicorn.Config(
            build(context),
            log_config=None,  # ours is set by the command
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=65,
            h11_max_incomplete_event_size=64 << 10,
            ws="none",
            http="h11",
        )
        super().__init__(config)
        self._feed = context.feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        self._feed.end()
        await super().shutdown(sockets)


def ready(settings: Settings, auth: bool) -> Server:
    """A server whose `run(sockets=[…])` answers until SIGTERM or Ctrl-C, which raises KeyboardInterrupt.

    With `auth` the home folder has an admin's token. Raises StoreUnavailable, StorageError, SettingsError.
    """
    context = opened(settings, auth)
    if auth:
        local_token.keep(context.tokens, settings.home)
    return Server(context)


def listening(host: str, port: int) -> socket.socket:
    """A socket that clients may connect to already. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"the API cannot listen at {host} port {port}: {error.strerror or error}; "
            "set CLOSEGAP_API_HOST, CLOSEGAP_API_PORT"
        ) from error


def url(place: socket.socket) -> str:
    """Where it is reached from this machine."""
    host, port = place.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
