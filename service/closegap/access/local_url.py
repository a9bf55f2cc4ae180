"""Where the service of this machine answers: whoever starts it writes it into the home folder."""

from __future__ import annotations

import secrets
from pathlib import Path

from closegap.errors import SettingsError


def keep(home: Path, url: str) -> None:
    """Remember it. Raises SettingsError."""
    fresh = home / f".api-url-{secrets.token_hex(4)}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_text(f"{url}\n", encoding="utf-8")
        fresh.replace(_file(home))
    except OSError as error:
        raise SettingsError(f"{_file(home)} cannot be written: {error.strerror}") from error


def read(home: Path) -> str | None:
    """Where it answered last; None where none was started. Raises SettingsError."""
    try:
        return _file(home).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_file(home)} cannot be read: {error}") from error


def _file(home: Path) -> Path:
    return home / "api-url"
