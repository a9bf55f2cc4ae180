"""One entry of the audit stream; light, for the client reads it too."""

from __future__ import annotations

from datetime import datetime
from typing import final

from closegap.job import Record


@final
class Entry(Record):
    """One change."""

    id: str
    time: datetime
    actor: str
    token: str = ""
    """Id of the token; empty on the command line."""
    action: str
    project: str = ""
    target: str = ""
    request: str = ""
