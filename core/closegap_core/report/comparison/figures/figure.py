"""What every kind of picture is: a function of the entries, as panels and a sentence on how to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from closegap_core.config.comparison import ComparisonConfig
from closegap_core.report.comparison.inputs import Entry
from closegap_core.report.comparison.panel import Panel


class Drawn(NamedTuple):
    """A picture: panels side by side, in lines of `columns`, and how to read them."""

    panels: tuple[Panel, ...]
    reading: str
    columns: int = 2
    published: bool = False
    """Whether published figures are drawn too."""


Kind = Callable[[Any, ComparisonConfig, Sequence[Entry]], Drawn]
"""Of the figure's own configuration, the comparison's, and the entries."""
