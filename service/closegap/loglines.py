"""Lines of attempts' logs as `log` events hold them: which are meant, and how people are shown them.

Data of such an event: `line`, and where they are known `level`, `logger`, `attempt`, `rank`, `trial`, `exception`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = get_args(Level)


@final
@dataclass(frozen=True)
class Filter:
    """Which lines are meant; None and empty are all."""

    level: Level | None = None
    """The least that is told."""
    attempt: int | None = None
    rank: int | None = None
    trial: int | None = None
    text: str = ""
    """In the line or its traceback, whatever its case."""

    def __bool__(self) -> bool:
        return self != Filter()

    def __call__(self, data: Mapping[str, Any]) -> bool:
        """Whether a line is meant. One without a rank is no rank's, and so with trials."""
        wanted = {"attempt": self.attempt, "rank": self.rank, "trial": self.trial}
        if any(value is not None and data.get(name) != value for name, value in wanted.items()):
            return False
        if self.level is not None and _weight(data.get("level")) < LEVELS.index(self.level):
            return False
        searched = f"{data.get('line', '')}\n{data.get('exception', '')}".casefold()
        return self.text.casefold() in searched


def text_of(data: Mapping[str, Any]) -> str:
    """A line for people: who says it where there are several, how bad it is, and its traceback below.

    Whatever moves a terminal's cursor or colours it is shown, not done.
    """
    whose = " ".join(f"{name} {data[name]}" for name in ("trial", "rank") if data.get(name) is not None)
    level = str(data.get("level", "info"))
    parts = [
        f"[{whose}]" if whose else "",
        level.upper() if _weight(level) > LEVELS.index("info") else "",
        _shown(str(data.get("line", ""))),
    ]
    head = " ".join(part for part in parts if part)
    trace = str(data.get("exception", "")).splitlines()
    return "\n".join([head, *(_shown(line) for line in trace)])


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _weight(level: Any) -> int:
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")
