"""What a command is given when it is given specs: a file, how it is overridden, and what is looked at before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from closegap.cli import completion

if TYPE_CHECKING:
    from closegap.cli.specfile import SpecFile
    from closegap.errors import Problem
    from closegap.specs.spec import Spec

Source = Annotated[
    str, typer.Argument(metavar="SPEC", help="YAML file with one spec or a pipeline; - is standard input.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a field; NAME:PATH=VALUE in a pipeline, scale.WORD=VALUE of a scale. Repeatable.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(help="Which of the file's scales, such as small; absent: full, where there are scales."),
]
SkipData = Annotated[
    bool, typer.Option("--skip-data-check", help="Do not look at the data: it is only where the workers are.")
]
InProject = Annotated[
    str | None,
    typer.Option(
        help="Project of the jobs; absent: the context's, or default.", autocompletion=completion.projects
    ),
]


def checked(file: SpecFile, problems: Callable[[Sequence[Spec]], Sequence[Problem]] | None) -> list[Spec]:
    """The specs of a file, also asked for further `problems`. Raises InvalidSpec, UsageError."""
    specs = file.parse()
    found = problems(specs) if problems else ()
    if found:
        raise file.invalid(tuple(found))
    return specs
