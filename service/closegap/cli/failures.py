"""The one place where an error becomes text and an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from closegap.cli import output
from closegap.cli.errors import InvalidSpec, NotFinished, ProcessFailed, UsageError
from closegap.cli.exits import ExitCode
from closegap.client.errors import Forbidden, InvalidRequest, ServerFault, Unauthorized
from closegap.errors import (
    Conflict,
    NotFound,
    Problem,
    Refused,
    ServiceError,
    SettingsError,
    SpecError,
    StorageError,
    StoreUnavailable,
    TokenError,
)
from closegap_core.errors import ConfigError, CoreError, DataError, EncodeError

WrongOptions: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
"""What the command line library raises for arguments that it cannot read; only this one of them has a public name."""

CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (Unauthorized, ExitCode.DENIED),
    (Forbidden, ExitCode.DENIED),
    (InvalidSpec, ExitCode.USAGE),
    (SpecError, ExitCode.USAGE),
    (UsageError, ExitCode.USAGE),
    (WrongOptions, ExitCode.USAGE),
    (SettingsError, ExitCode.USAGE),
    (Refused, ExitCode.USAGE),
    (TokenError, ExitCode.USAGE),
    (Conflict, ExitCode.USAGE),
    (DataError, ExitCode.USAGE),
    (ConfigError, ExitCode.USAGE),
    (EncodeError, ExitCode.USAGE),
    (NotFound, ExitCode.NOT_FOUND),
    (StoreUnavailable, ExitCode.UNREACHABLE),
    (NotFinished, ExitCode.NOT_FINISHED),
    (KeyboardInterrupt, ExitCode.NOT_FINISHED),
    (InvalidRequest, ExitCode.USAGE),
    (ServerFault, ExitCode.ERROR),
    (ProcessFailed, ExitCode.FAILED),
    (StorageError, ExitCode.FAILED),
    (ServiceError, ExitCode.FAILED),
    (CoreError, ExitCode.FAILED),
    (OSError, ExitCode.FAILED),
)
"""First match wins. What is not here is a fault of closegap: exit code 1."""


@dataclass(frozen=True)
class Told:
    """An error as it is told."""

    code: ExitCode
    message: str
    problems: tuple[dict[str, Any], ...] = field(default=())


def passes(error: BaseException) -> bool:
    """Whether the error belongs to the command line library: its own exits, usage errors, and a closed pipe."""
    return isinstance(error, typer.Exit | typer.Abort | typer.BadParameter | BrokenPipeError)


def explain(error: BaseException) -> Told:
    """The exit code and text of an error."""
    code = next((code for kind, code in CODES if isinstance(error, kind)), ExitCode.ERROR)
    if isinstance(error, KeyboardInterrupt):
        return Told(code, "interrupted")
    if isinstance(error, WrongOptions):
        return Told(code, error.format_message())
    if isinstance(error, InvalidSpec):
        problems = tuple(
            problem.to_dict() | {"file": error.name, "line": line} for problem, line in error.problems
        )
        return Told(code, _headline(error.name, len(problems)), problems)
    if isinstance(error, SpecError):
        return Told(
            code, _headline("the spec", len(error.problems)), tuple(p.to_dict() for p in error.problems)
        )
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return Told(code, f"{error.strerror or error}{place}")
    if code is ExitCode.ERROR:
        return Told(code, f"unexpected {type(error).__name__}: {error}")
    return Told(code, str(error) or type(error).__name__)


def tell(error: BaseException, as_json: bool) -> ExitCode:
    """Say what went wrong on standard error; under `--json` also as the document on standard output."""
    told = explain(error)
    console = output.talk()
    console.print(f"[bold red]error:[/] {escape(told.message)}", soft_wrap=True)
    for problem in told.problems:
        _tell_problem(console, problem)
    if told.code is ExitCode.ERROR:
        _tell_fault(console, error)
    if as_json:
        # On one line, which is a document as well as a line of a stream.
        output.json_line(
            {"error": {"code": int(told.code), "message": told.message, "problems": told.problems}}
        )
    return told.code


def _headline(name: str, count: int) -> str:
    return f"{name} is not valid: {count} problem{'' if count == 1 else 's'}"


def _tell_problem(console: Console, problem: dict[str, Any]) -> None:
    known = Problem(**{name: problem[name] for name in ("path", "pointer", "value", "message", "accepted")})
    place = f"{problem['file']}:{problem['line']}: " if problem.get("line") else ""
    console.print(
        f"  {escape(place)}[bold]{escape(known.path or 'spec')}[/]: {escape(known.message)}", soft_wrap=True
    )
    if known.accepted:
        console.print(f"    accepted: {escape(known.accepted)}", soft_wrap=True)


def _tell_fault(console: Console, error: BaseException) -> None:
    from closegap.settings import Settings

    try:
        debug = Settings.load().debug
    except SettingsError:
        debug = False
    if debug:
        from rich.traceback import Traceback

        console.print(Traceback.from_exception(type(error), error, error.__traceback__))
    else:
        console.print(
            "This is a fault of closegap. Set CLOSEGAP_DEBUG=1 to see where it happened.", soft_wrap=True
        )
