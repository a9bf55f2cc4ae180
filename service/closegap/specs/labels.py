"""Labels: words that users put on jobs, to find them by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$"
LONGEST = 100
MOST = 64
Labels = TypeVar("Labels", bound=Mapping[str, str | None])


def checked(labels: Labels) -> Labels:
    """Labels as they are; a value of None, in an edit, removes one. Raises ValueError, for the first that is wrong."""
    if len(labels) > MOST:
        raise ValueError(f"{len(labels)} labels; accepted: at most {MOST}")
    for name, value in labels.items():
        if not re.fullmatch(NAME, name):
            raise ValueError(
                f"a label is called `{name[:80]}`; accepted: up to 63 letters, digits, `.`, `_`, `/` and `-`, the "
                "first no sign"
            )
        if value is not None and not (0 < len(value) <= LONGEST and value.isprintable()):
            raise ValueError(
                f"label `{name}` is `{value[:LONGEST]}`; accepted: 1 to {LONGEST} printable characters"
            )
    return labels
