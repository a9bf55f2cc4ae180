"""A link to the page that signs a browser in: `page`, and what `up` and `api` say when they are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from closegap.cli import output
from closegap.cli.command import AsJson, add
from closegap.cli.connection import chosen
from closegap.cli.exits import ExitCode
from closegap.errors import NotFound

if TYPE_CHECKING:
    from closegap.settings import Settings


def page(
    show: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    as_json: AsJson = False,
) -> ExitCode:
    """Print a link to the page that signs a browser in as your token: once, and within five minutes.

    What follows its # is in no server's log; the page takes it out of the address before it uses it.
    """
    from closegap.settings import Settings

    found = chosen()
    if found is None:
        settings = Settings.load()
        address = local(settings)
    else:
        from closegap.client.client import Client

        with Client.of(found.context) as client:
            address = client.page()
    if as_json:
        output.document({"url": address})
    else:
        output.line(address)
    if show:
        typer.launch(address)
    return ExitCode.SUCCEEDED


def local(settings: Settings, url: str | None = None) -> str:
    """A link to the page of this machine's service (`url` where it is known), for the token of its home folder.

    Raises NotFound (none was started), SettingsError, StoreUnavailable.
    """
    from closegap.access import local_token, local_url
    from closegap.access.session import Sessions
    from closegap.access.tokens import Tokens
    from closegap.store.store import connect

    where = url or local_url.read(settings.home)
    presented = local_token.read(settings.home)
    with connect(settings) as client:
        token = Tokens(client, settings.namespace).find(presented) if presented else None
        if where is None or token is None:
            raise NotFound(
                f"no service was started with the home folder {settings.home}: start it with `closegap up`"
            )
        return f"{where}/login#{Sessions(client, settings.namespace).offer(token.id)}"


def say(address: str) -> None:
    """Tell a person where the page is."""
    output.say(f"page     [bold]{escape(address)}[/]")
    output.say("         (signs you in, once, within 5 minutes; `closegap page` prints another)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "page", page,
        "closegap page",
        "closegap page --open",
    )  # fmt: skip
