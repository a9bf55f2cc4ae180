"""How things look in a notebook: small tables, everything in them escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit


def table(title: str, facts: Mapping[str, object], url: str = "") -> str:
    """A title, which links to `url`, and rows of name and value; values that are None or empty are left out."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "", {}, [], ())
    )
    head = escape(title)
    if urlsplit(url).scheme in ("http", "https"):
        head = f"<a href='{escape(url, quote=True)}' target='_blank' rel='noopener noreferrer'>{head}</a>"
    return f"<table><caption style='text-align:left'>{head}</caption>{rows}</table>"
