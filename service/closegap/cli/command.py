"""A command of the command line: its examples in the help, its errors told in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

import typer

from closegap.cli import failures
from closegap.cli.exits import ExitCode

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output instead of text.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="JSON lines on standard output instead of text.")]
Body = Callable[..., ExitCode | None]


def add(app: typer.Typer, name: str, body: Body, *examples: str, hidden: bool = False) -> None:
    """Give `app` the command `name`; `examples` (command, or `command  # what it does`) end its help."""
    epilog = "\n\n".join(["Examples:", *examples])
    app.command(name, epilog=epilog, hidden=hidden)(_told(body))


def _told(body: Body) -> Callable[..., None]:
    """`body` with its errors turned into text and an exit code, and its result into the exit code."""

    @functools.wraps(body)
    def call(**options: Any) -> None:
        try:
            code = body(**options) or ExitCode.SUCCEEDED
        except (Exception, KeyboardInterrupt) as error:
            if failures.passes(error):
                raise
            code = failures.tell(error, as_json=bool(options.get("as_json")))
        raise typer.Exit(int(code))

    call.__annotations__ = dict(body.__annotations__) | {"return": None}
    return call
