"""The token of whoever runs the service here: an admin's, in a private file of the home folder."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from closegap.access.token import Role
from closegap.access.tokens import Tokens
from closegap.errors import SettingsError

NAME = "local"


def file_of(home: Path) -> Path:
    """Where it is."""
    return home / "api-token"


def keep(tokens: Tokens, home: Path) -> Path:
    """The file, with a token that opens this store: the one of last time, or a fresh one.

    Raises SettingsError (the file cannot be read, or others can read it), StoreUnavailable.
    """
    file = file_of(home)
    kept = read(home)
    found = tokens.find(kept) if kept else None
    if found is not None and found.role is Role.ADMIN and found.projects is None:
        return file
    secret = tokens.create(NAME, Role.ADMIN, created_by="closegap api").secret
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f".api-token-{secrets.token_hex(4)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{secret}\n")
        fresh.replace(file)
    except OSError as error:
        raise SettingsError(f"the token file {file} cannot be written: {error.strerror}") from error
    return file


def read(home: Path) -> str | None:
    """The token's secret; None where there is no file. Raises SettingsError."""
    file = file_of(home)
    try:
        mode = file.lstat().st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise SettingsError(
                f"{file} can be read by other users, or is no plain file: chmod 600, or remove it"
            )
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the token file {file} cannot be read: {error}") from error
