"""Options that say which jobs are meant, the same for every command that takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from closegap.cli import completion
from closegap.cli.errors import UsageError
from closegap.specs.references import KINDS

if TYPE_CHECKING:
    from closegap.queue.selector import Selector

STATES = ("blocked", "queued", "claimed", "running", "paused", "succeeded", "failed", "cancelled")

States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        help=f"Only jobs in this state: {', '.join(STATES)}. Repeatable.",
        autocompletion=completion.of(STATES),
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only jobs of this kind. Repeatable.", autocompletion=completion.of(KINDS)),
]
Projects = Annotated[
    list[str] | None,
    typer.Option(
        "--project", help="Only jobs of this project. Repeatable.", autocompletion=completion.projects
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only jobs with this label. Repeatable."),
]


def selector(
    states: list[str] | None, kinds: list[str] | None, projects: list[str] | None, texts: list[str] | None
) -> Selector:
    """The jobs for which each option that was given holds. Raises UsageError."""
    from closegap.job import State
    from closegap.queue.selector import Selector

    for option, given, accepted in (("--state", states, STATES), ("--kind", kinds, KINDS)):
        for word in given or ():
            if word not in accepted:
                raise UsageError(f"{option} {word}: accepted is one of {', '.join(accepted)}")
    return Selector(
        states=frozenset(State(word) for word in states) if states else None,
        kinds=frozenset(kinds) if kinds else None,
        projects=frozenset(projects) if projects else None,
        labels=dict(label(text) for text in texts or ()),
    )


def label(text: str) -> tuple[str, str]:
    """`key=value`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--label {text}: accepted is KEY=VALUE")
    return name, value
