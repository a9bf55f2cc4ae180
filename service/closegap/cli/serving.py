"""The API as `up` starts it: a process on a socket that `up` keeps, so that it can be started again unnoticed."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, final

from closegap.cli import output
from closegap.cli.processes import Child
from closegap.errors import SettingsError

if TYPE_CHECKING:
    from closegap.settings import Settings

_STOP_SECONDS = 15.0


@final
class Api:
    """A running API."""

    def __init__(
        self, place: socket.socket, url: str, environment: Mapping[str, str], log: IO[bytes] | None
    ) -> None:
        self.url = url
        self._place, self._environment, self._log = place, environment, log
        self._child = self._start()

    def check(self) -> None:
        """Start it again if it has ended; who connects meanwhile waits."""
        if self._child.ended():
            output.say("[yellow]the API has ended by itself and is started again[/]")
            self._child = self._start()

    def answers(self) -> bool:
        """Whether it is ready for requests; its token is in its file then."""
        host, port = self._place.getsockname()[:2]
        connection = http.client.HTTPConnection(host, port, timeout=5.0)
        try:
            connection.request("GET", "/readyz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Let it finish what it answers, then end it."""
        self._child.stop(_STOP_SECONDS)

    def _start(self) -> Child:
        number = self._place.fileno()
        return Child(
            ["--descriptor", str(number)],
            self._environment,
            self._log,
            module="closegap.api",
            descriptors=[number],
        )


@contextmanager
def served(settings: Settings, environment: Mapping[str, str], log: IO[bytes] | None) -> Iterator[Api]:
    """The API for as long as the block lasts. Raises SettingsError (it cannot listen there)."""
    from closegap.api.server import url

    with _listening(settings) as place:
        api = Api(place, url(place), environment, log)
        try:
            yield api
        finally:
            api.stop()


def _listening(settings: Settings) -> socket.socket:
    """At the port of the settings; where that is taken and nobody has asked for it, at any free one."""
    from closegap.api.server import listening

    try:
        return listening(settings.api_host, settings.api_port)
    except SettingsError:
        if "api_port" in settings.model_fields_set:
            raise
    place = listening(settings.api_host, 0)
    output.say(f"[yellow]port {settings.api_port} is taken; the API listens at {place.getsockname()[1]}[/]")
    return place
