"""Services that a user has logged in to, by name: `~/.config/closegap/config.toml`, readable by its owner only.

current = "team"
[contexts.team]
url = "https://closegap.example.org"
token = "cg_…"                            # or token_file = "/run/secrets/closegap"
project = "vision"
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from closegap.errors import NotFound, SettingsError
from closegap.settings import ClientSettings
from closegap.specs.references import PROJECT

LOCAL = "local"
"""As a context: none. This machine's store is meant, whatever the file says."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_OTHERS = 0o077


@final
class Context(BaseModel):
    """How a service is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    token: SecretStr | None = None
    token_file: Path | None = None
    project: Annotated[str, Field(pattern=f"^{PROJECT}$")] | None = None

    def secret(self) -> str | None:
        """The token; None where there is none. Raises SettingsError: its file cannot be read."""
        if self.token is not None:
            return self.token.get_secret_value()
        return None if self.token_file is None else read_token(self.token_file)


@final
class Contexts(BaseModel):
    """All that the file holds. Changed by making another."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    current: str | None = None
    contexts: dict[Annotated[str, Field(pattern=NAME)], Context] = Field(default_factory=dict)

    def get(self, name: str) -> Context:
        """Raises NotFound."""
        if name not in self.contexts:
            known = ", ".join(self.contexts) or "none; `closegap login URL` makes one"
            raise NotFound(f"there is no context `{name}`; there are: {known}")
        return self.contexts[name]

    def with_context(self, name: str, context: Context) -> Contexts:
        """With this one, in use. Raises SettingsError: not a name."""
        if not re.fullmatch(NAME, name) or name == LOCAL:
            accepted = f"accepted: letters, digits, `.`, `_` and `-`, up to 63, and not `{LOCAL}`"
            raise SettingsError(f"`{name}` is no name of a context; {accepted}")
        return Contexts(current=name, contexts={**self.contexts, name: context})

    def without(self, name: str) -> Contexts:
        """Without this one. Raises NotFound."""
        self.get(name)
        kept = {word: context for word, context in self.contexts.items() if word != name}
        return Contexts(current=None if self.current == name else self.current, contexts=kept)

    def using(self, name: str) -> Contexts:
        """With this one in use; `local`: none. Raises NotFound."""
        if name != LOCAL:
            self.get(name)
        return self.model_copy(update={"current": None if name == LOCAL else name})


@final
class Chosen(BaseModel):
    """The context that is meant, and by what name; empty: it is in the environment only."""

    model_config = ConfigDict(frozen=True)
    name: str
    context: Context


def read(file: Path) -> Contexts:
    """What the file holds; nothing where there is none.

    Raises SettingsError (it is not valid, or others can read the tokens in it).
    """
    try:
        content = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    try:
        found = Contexts.model_validate(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise SettingsError("\n".join([f"{file} is not valid:", *lines])) from error
    if mode & _OTHERS and any(context.token for context in found.contexts.values()):
        raise SettingsError(f"{file} holds tokens, and other users can read it: chmod 600 {file}")
    return found


def write(file: Path, contexts: Contexts) -> None:
    """Replace the file, whole or not at all, readable by its owner only. Raises SettingsError."""
    import tomli_w

    text = tomli_w.dumps(_plain(contexts))
    fresh = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from error


def chosen(settings: ClientSettings, name: str | None = None) -> Chosen | None:
    """The service that is meant, the first that is given: `name`, CLOSEGAP_URL, CLOSEGAP_CONTEXT, the file's current.

    None: this machine's store. CLOSEGAP_TOKEN and CLOSEGAP_PROJECT win over what a context has; a context's token never
    goes to the address in CLOSEGAP_URL. Raises NotFound, SettingsError.
    """
    changes: dict[str, Any] = {"project": settings.project} if settings.project else {}
    if settings.token is not None:
        changes |= {"token": settings.token, "token_file": None}
    if name is None and settings.url is not None:
        return Chosen(name="", context=Context(url=settings.url).model_copy(update=changes))
    known = read(settings.contexts_file)
    meant = name or settings.context or known.current
    if meant is None or meant == LOCAL:
        return None
    return Chosen(name=meant, context=known.get(meant).model_copy(update=changes))


def read_token(file: Path) -> str:
    """The token in a file of its own. Raises SettingsError: it cannot be read, or others can."""
    try:
        mode = file.expanduser().stat().st_mode
        if stat.S_ISREG(mode) and mode & _OTHERS:
            raise SettingsError(f"the token file {file} can be read by other users: chmod 600 {file}")
        return checked_token(file.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the token file {file} cannot be read: {error}") from error


def checked_token(text: str) -> str:
    """A token as it was typed or kept, without the space around it. Raises SettingsError, which does not repeat it."""
    token = text.strip()
    if not (0 < len(token) <= 500 and token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("that is no token; accepted: one line, as `closegap token create` shows it")
    return token


def _plain(contexts: Contexts) -> Mapping[str, Any]:
    """As TOML has it: no nulls, secrets in clear."""
    found: dict[str, Any] = {} if contexts.current is None else {"current": contexts.current}
    found["contexts"] = {
        name: context.model_dump(mode="json", exclude_none=True, exclude={"token"})
        | ({} if context.token is None else {"token": context.token.get_secret_value()})
        for name, context in contexts.contexts.items()
    }
    return found
