"""Serving the HTTP API: `api`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.markup import escape

from closegap.cli import output
from closegap.cli.command import AsJsonLines, add
from closegap.cli.connection import refuse_context
from closegap.cli.exits import ExitCode


def api(
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; absent: CLOSEGAP_API_HOST, or 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Absent: CLOSEGAP_API_PORT, or 8421; 0 is any free one."),
    ] = None,
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="Whoever reaches the address may do everything.")
    ] = False,
    as_json: AsJsonLines = False,
) -> ExitCode:
    """Serve the HTTP API for the store that the settings name, in the foreground, until Ctrl-C.

    Every request needs a token; the home folder gets an admin's, readable by its owner only.
    """
    from closegap import journal
    from closegap.access import local_url
    from closegap.access.local_token import file_of
    from closegap.api.identity import loopback
    from closegap.api.server import listening, ready, url
    from closegap.cli.page import local as page_link
    from closegap.cli.processes import interruptible
    from closegap.settings import Settings

    refuse_context("api")
    settings = Settings.load(api_host=host, api_port=port)
    try:
        with interruptible(), listening(settings.api_host, settings.api_port) as place:
            server = ready(settings, auth=not insecure_no_auth)
            local_url.keep(settings.home, url(place))
            token = None if insecure_no_auth else str(file_of(settings.home))
            page = url(place) if insecure_no_auth else page_link(settings, url(place))
            if as_json:
                output.json_line({"url": url(place), "page": page, "token_file": token})
            _say_where(url(place), page, token, loopback(settings.api_host))
            journal.begin(settings, level=logging.WARNING)
            server.run(sockets=[place])
    except KeyboardInterrupt:
        output.say("stopped")
    return ExitCode.SUCCEEDED


def _say_where(url: str, page: str, token: str | None, local: bool) -> None:
    from closegap.cli.page import say as say_page

    if token is None:
        output.say(f"page     {escape(page)}")
    else:
        say_page(page)
    output.say(f"API      {url}")
    if token is None:
        output.say("[bold red]no authentication[/]: every request is an admin's")
    else:
        output.say(f"token    in {escape(token)}")
    if not local:
        output.say("[yellow]other machines reach this address: put TLS in front of it[/]")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "api", api,
        "closegap api",
        "closegap api --port 0 --json",
        "CLOSEGAP_REDIS_URL=rediss://queue.example.org:6379/0 closegap api --host 0.0.0.0",
    )  # fmt: skip
