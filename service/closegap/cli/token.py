"""Access tokens of the HTTP API: `token create`, `token list`, `token revoke`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import output, words
from closegap.cli.command import AsJson, Commands, add
from closegap.cli.connection import open_service
from closegap.cli.errors import UsageError
from closegap.cli.exits import ExitCode

if TYPE_CHECKING:
    from closegap.access.token import Token

_NEVER = "never"


def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    role: Annotated[
        Literal["viewer", "submitter", "admin"],
        typer.Option(help="viewer reads, submitter also submits and changes jobs, admin may do everything."),
    ] = "submitter",
    project: Annotated[
        list[str] | None, typer.Option(help="Only for this project. Repeatable; absent: all of them.")
    ] = None,
    expires: Annotated[str, typer.Option(help="From now: 90d, 12h, …; or never.")] = "30d",
    as_json: AsJson = False,
) -> ExitCode:
    """Make a token. It is shown this once; the store keeps only its digest."""
    from closegap.access.token import Role

    made = open_service().create_token(name, Role(role), project or None, _ends(expires))
    if as_json:
        output.document({"token": made.token.model_dump(mode="json"), "secret": made.secret})
        return ExitCode.SUCCEEDED
    output.line(made.secret)
    output.say(
        f"token {made.token.id}, {made.token.role} of {_projects(made.token)}, until {_end(made.token)}"
    )
    output.say("it is not shown again; send it as `Authorization: Bearer …`")
    return ExitCode.SUCCEEDED


def list_tokens(as_json: AsJson = False) -> ExitCode:
    """Every token, without its secret, oldest first."""
    tokens = open_service().tokens()
    if as_json:
        output.document({"tokens": [token.model_dump(mode="json") for token in tokens]})
        return ExitCode.SUCCEEDED
    if not tokens:
        output.line("no tokens")
        return ExitCode.SUCCEEDED
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ID", "NAME", "ROLE", "PROJECTS", "EXPIRES", "USED", ""):
        table.add_column(column, no_wrap=column != "PROJECTS")
    now = datetime.now(UTC)
    for token in tokens:
        used = f"{words.duration((now - token.used).total_seconds())} ago" if token.used else "–"
        state = "[red]revoked[/]" if token.revoked else "" if token.usable(now) else "[red]over[/]"
        table.add_row(token.id, escape(token.name), token.role, _projects(token), _end(token), used, state)
    output.data().print(table)
    return ExitCode.SUCCEEDED


def revoke(
    token: Annotated[str, typer.Argument(help="Its id, as `token list` shows it.")], as_json: AsJson = False
) -> ExitCode:
    """End a token now."""
    found = open_service().revoke_token(token)
    if as_json:
        output.document(found.model_dump(mode="json"))
    else:
        output.line(f"{found.id} ({found.name}) is revoked")
    return ExitCode.SUCCEEDED


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(cls=Commands, no_args_is_help=True, help="Access tokens of the HTTP API.")
    add(
        group, "create", create,
        "closegap token create alice",
        "closegap token create ci --role submitter --project vision --expires 90d",
    )  # fmt: skip
    add(group, "list", list_tokens, "closegap token list", "closegap token list --json")
    add(group, "revoke", revoke, "closegap token revoke 5c1e0a7b93d2")
    app.add_typer(group, name="token")


def _ends(expires: str) -> timedelta | None:
    if expires == _NEVER:
        return None
    try:
        return timedelta(seconds=words.seconds_of(expires))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--expires {expires} is no time; accepted: 90d, 12h, … or {_NEVER}") from error


def _end(token: Token) -> str:
    return f"{token.expires:%Y-%m-%d %H:%M} UTC" if token.expires else _NEVER


def _projects(token: Token) -> str:
    return "all projects" if token.projects is None else ", ".join(sorted(token.projects))
