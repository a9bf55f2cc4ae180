"""A command of the command line: its examples in the help, its errors told in one place."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup

from closegap.cli import connection, failures
from closegap.cli.exits import ExitCode

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output instead of text.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="JSON lines on standard output instead of text.")]
Body = Callable[..., ExitCode | None]


@final
class Commands(TyperGroup):
    """All commands; under --json wrong options, too, are told as a JSON document."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As the library's, which ends the process where `standalone_mode`."""
        told = standalone_mode and "--json" in (sys.argv[1:] if args is None else args)
        alone = standalone_mode and not told
        try:
            code = super().main(args, prog_name, complete_var, alone, windows_expand_args, **extra)
        except failures.WrongOptions as error:
            if not told:
                raise
            code = failures.tell(error, as_json=True)
        if told:
            sys.exit(int(code or ExitCode.SUCCEEDED))
        return code


def add(app: typer.Typer, name: str, body: Body, *examples: str, hidden: bool = False) -> None:
    """Give `app` the command `name`; `examples` (command, or `command  # what it does`) end its help."""
    epilog = "\n\n".join(["Examples:", *examples])
    app.command(name, epilog=epilog, hidden=hidden)(_told(body))


def _told(body: Body) -> Callable[..., None]:
    """`body` with its errors turned into text and an exit code, and its result into the exit code."""

    @functools.wraps(body)
    def call(**options: Any) -> None:
        try:
            with connection.invocation():
                code = body(**options) or ExitCode.SUCCEEDED
        except (Exception, KeyboardInterrupt) as error:
            if failures.passes(error):
                raise
            code = failures.tell(error, as_json=bool(options.get("as_json")))
        raise typer.Exit(int(code))

    call.__annotations__ = dict(body.__annotations__) | {"return": None}
    return call
