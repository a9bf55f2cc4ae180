"""Which service the commands ask, and as whom: `login`, `logout`, `whoami`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from closegap.cli import completion, output
from closegap.cli.command import AsJson, add
from closegap.cli.connection import chosen
from closegap.cli.errors import UsageError
from closegap.cli.parts import actor

if TYPE_CHECKING:
    from closegap.access.contexts import Context
    from closegap.client.documents import Whoami


def login(
    url: Annotated[str, typer.Argument(help="Of the service, as `closegap up` prints it: http://HOST:PORT.")],
    name: Annotated[
        str | None, typer.Option(help="Of the context that is made, or made anew; absent: from the address.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token (0600); it is read each time. Absent: standard input, or asked for."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="The service runs without authentication.")
    ] = False,
    project: Annotated[
        str | None,
        typer.Option(help="Where jobs go and models are looked up; absent: the token's, or default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a service and a token for it as a context, and use it from now on. The token is tried first.

    A token is never an argument, which other users could see: it is typed without echo, piped in, or in a file.
    """
    from closegap.access import contexts
    from closegap.client.client import Client
    from closegap.client.connection import checked
    from closegap.settings import ClientSettings

    if no_token and token_file is not None:
        raise UsageError("login: give either --token-file or --no-token")
    address = checked(url)
    context = _context(address, token_file, no_token, project)
    with Client.of(context) as client:
        found = client.whoami()
    kept = ClientSettings.load().contexts_file
    word = name or _word(address)
    contexts.write(kept, contexts.read(kept).with_context(word, context))
    if as_json:
        output.document(_document(word, context, found))
    else:
        output.line(word)
        output.say(f"{_who(found)}; kept in {escape(str(kept))} and used from now on")
        _say_next(address)


def logout(
    name: Annotated[
        str | None,
        typer.Argument(help="A context; absent: the one in use.", autocompletion=completion.contexts),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forget the token of a context; the address stays, for the next login. It does not end the token: revoke it."""
    from closegap.access import contexts
    from closegap.settings import ClientSettings

    kept = ClientSettings.load().contexts_file
    known = contexts.read(kept)
    word = name or known.current
    if word is None:
        raise UsageError("logout: no context is in use; `closegap context list` shows all")
    bare = known.get(word).model_copy(update={"token": None, "token_file": None})
    contexts.write(kept, known.model_copy(update={"contexts": {**known.contexts, word: bare}}))
    if as_json:
        output.document({"context": word, "url": bare.url})
    else:
        output.line(f"{word}: the token is forgotten here")


def whoami(as_json: AsJson = False) -> None:
    """Which service is asked, and who it takes you for."""
    from closegap.client.client import Client

    found = chosen()
    if found is None:
        if as_json:
            output.document({"context": "local", "url": None, "name": actor()})
        else:
            output.line(f"{actor()}, at this machine's store")
            output.say("no service is in use: closegap login URL")
        return
    with Client.of(found.context) as client:
        who = client.whoami()
    if as_json:
        output.document(_document(found.name, found.context, who))
    else:
        output.line(f"{_who(who)}\n{found.context.url}" + (f"  (context {found.name})" if found.name else ""))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "login", login,
        "closegap login https://closegap.example.org --name team",
        "closegap login http://127.0.0.1:8421 --token-file closegap-data/api-token",
        "closegap login https://closegap.example.org --project vision --token-file ~/.closegap-token",
    )  # fmt: skip
    add(app, "logout", logout, "closegap logout", "closegap logout team")
    add(app, "whoami", whoami, "closegap whoami", "closegap --context team whoami --json")


def _context(address: str, token_file: Path | None, no_token: bool, project: str | None) -> Context:
    """As the options say; where they name no token it is asked for. Raises UsageError, SettingsError."""
    from pydantic import SecretStr, ValidationError

    from closegap.access import contexts
    from closegap.access.contexts import Context

    file = None if token_file is None else token_file.expanduser().absolute()
    token = None if no_token or file is not None else SecretStr(contexts.checked_token(_given(address)))
    try:
        return Context(url=address, token=token, token_file=file, project=project)
    except ValidationError as error:
        raise UsageError(f"--project {project}: {error.errors()[0]['msg']}") from error


def _say_next(address: str) -> None:
    from closegap.client.connection import loopback

    if address.startswith("http:") and not loopback(address):
        output.say("[yellow]the token goes over the network in clear: the service should be at https://[/]")
    output.next_commands([("closegap ps", "its queue"), ("closegap context list", "all that are kept")])


def _given(address: str) -> str:
    """The token, from a terminal without echo, or from what is piped in. Raises UsageError."""
    import getpass

    if sys.stdin.isatty():
        return getpass.getpass(f"token for {address}: ", stream=sys.stderr)
    text = sys.stdin.readline(1000)
    if not text.strip():
        raise UsageError("login: there is no token on standard input; pipe one in, or give --token-file")
    return text


def _word(address: str) -> str:
    """A name for an address: `team.example.org`, `127.0.0.1-8421`."""
    import re

    place = address.partition("://")[2].partition("/")[0]
    return re.sub(r"[^A-Za-z0-9.]+", "-", place).strip("-.")[:63] or "service"


def _who(found: Whoami) -> str:
    projects = "all projects" if found.projects is None else ", ".join(found.projects)
    until = f" until {found.expires:%Y-%m-%d %H:%M} UTC" if found.expires else ""
    return escape(f"{found.name}, {found.role} of {projects}{until}")


def _document(name: str, context: Context, found: Whoami) -> dict[str, Any]:
    return {"context": name or None, "url": context.url, **found.model_dump(mode="json")}
