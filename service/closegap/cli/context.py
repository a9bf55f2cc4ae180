"""The services that are kept: `context list`, `context show`, `context use`, `context remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import completion, output
from closegap.cli.command import AsJson, Commands, add
from closegap.cli.connection import chosen

if TYPE_CHECKING:
    from pathlib import Path

    from closegap.access.contexts import Context, Contexts

Name = Annotated[
    str,
    typer.Argument(help="Of a context, as `context list` shows it.", autocompletion=completion.contexts),
]


def list_contexts(as_json: AsJson = False) -> None:
    """Every context: its address, its project, and where its token is. A star marks the one in use."""
    _, known = _kept()
    if as_json:
        kept = [{"name": name, **_facts(context)} for name, context in known.contexts.items()]
        output.document({"current": known.current, "contexts": kept})
        return
    if not known.contexts:
        output.line("no contexts")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "NAME", "URL", "PROJECT", "TOKEN"):
        table.add_column(column, overflow="fold")
    for name, context in known.contexts.items():
        facts = _facts(context)
        cells = (name, context.url, context.project or "", str(facts["token"]))
        table.add_row("*" if name == known.current else "", *map(escape, cells))
    output.data().print(table)


def show(as_json: AsJson = False) -> None:
    """The one that commands ask now, with --context and the environment taken into account."""
    found = chosen()
    if found is None:
        facts: dict[str, Any] = {"name": "local", "url": None, "project": None, "token": "none"}
    else:
        facts = {"name": found.name or None, **_facts(found.context)}
    if as_json:
        output.document(facts)
    elif found is None:
        output.line("local: this machine's store")
    else:
        for name, value in facts.items():
            output.line(f"{name:<8} {'–' if value is None else value}")


def use(
    name: Annotated[
        str,
        typer.Argument(help="Of a context; local: this machine's store.", autocompletion=completion.contexts),
    ],
    as_json: AsJson = False,
) -> None:
    """Let the commands ask this service from now on."""
    from closegap.access import contexts

    file, known = _kept()
    after = known.using(name)
    contexts.write(file, after)
    if as_json:
        output.document({"current": after.current})
    else:
        output.line(after.current or "local: this machine's store")


def remove(name: Name, as_json: AsJson = False) -> None:
    """Forget a context, address and token. It does not end the token: revoke it."""
    from closegap.access import contexts

    file, known = _kept()
    after = known.without(name)
    contexts.write(file, after)
    if as_json:
        output.document({"removed": name, "current": after.current})
    else:
        output.line(f"{name} is forgotten")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(cls=Commands, no_args_is_help=True, help="The services that you have logged in to.")
    add(group, "list", list_contexts, "closegap context list", "closegap context list --json")
    add(group, "show", show, "closegap context show", "closegap --context team context show")
    add(group, "use", use, "closegap context use team", "closegap context use local")
    add(group, "remove", remove, "closegap context remove team")
    app.add_typer(group, name="context")


def _kept() -> tuple[Path, Contexts]:
    from closegap.access import contexts
    from closegap.settings import ClientSettings

    file = ClientSettings.load().contexts_file
    return file, contexts.read(file)


def _facts(context: Context) -> dict[str, Any]:
    """What may be shown; never a token."""
    kept = f"in {context.token_file}" if context.token_file else "kept" if context.token else "none"
    return {"url": context.url, "project": context.project, "token": kept}
