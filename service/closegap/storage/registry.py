"""The model registry of a project: names with versions and aliases, as files beside the bundles. Needs no store."""

from __future__ import annotations

import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar, final

from pydantic import ValidationError

from closegap.errors import Conflict, NotFound, StorageError
from closegap.job import Record
from closegap.specs import references
from closegap.specs.problems import meant
from closegap.storage.artifacts import ArtifactStore, space_for
from closegap_core.bundle import MANIFEST, Bundle
from closegap_core.durable import flush_folder, write_bytes
from closegap_core.errors import BundleError

LINEAGE = "register"
"""Field of a bundle's lineage with the name it is registered under, from which the registry is rebuilt."""

_NAME = re.compile(references.NAME)
_PROJECT = re.compile(references.PROJECT)
_REFERENCE = re.compile(rf"({references.NAME})(?:/([1-9][0-9]{{0,17}})|@({references.NAME}))?")

_Read = TypeVar("_Read", bound=Record)


@final
class Version(Record):
    """One version of a name; never changed."""

    name: str
    version: int
    digest: str
    job: str
    attempt: int
    created: datetime


@final
class Alias(Record):
    """A word that stands for one version of a name, until it is set again."""

    alias: str
    version: int
    actor: str
    updated: datetime


@final
class Rebuilt(NamedTuple):
    """What a rebuilt registry has more than before, and what is wrong with bundles that were left out."""

    added: tuple[Version, ...]
    damaged: tuple[str, ...]


@final
class Registry:
    """`<root>/registry/<project>/<name>/<version>.json`, each created once and exclusively, and `aliases/<alias>.json`.

    What a project has registered, no other project's names stand for.
    """

    def __init__(self, artifacts: ArtifactStore, project: str = references.DEFAULT_PROJECT) -> None:
        """Raises StorageError: not a project."""
        if not _PROJECT.fullmatch(project):
            raise StorageError(f"`{project}` is no name of a project; accepted: {references.PROJECT_WORDS}")
        self._artifacts = artifacts
        self.project = project
        self._root = artifacts.root / "registry" / project

    @classmethod
    def all(cls, artifacts: ArtifactStore) -> list[Registry]:
        """The registries of every project that has one."""
        root = artifacts.root / "registry"
        found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        return [cls(artifacts, name) for name in found if _PROJECT.fullmatch(name)]

    def register(self, name: str, digest: str, job: str, attempt: int) -> Version:
        """The next version of a name. Registering again for the same job, or what is newest already, changes nothing.

        Raises StorageError (not a name), StorageFull, NotFound (no such bundle).
        """
        self._artifacts.open(digest, verify=False)
        while True:
            known = self.versions(name)
            for version in known:
                if version.digest == digest and (version.job == job or version is known[-1]):
                    return version
            number = known[-1].version + 1 if known else 1
            fresh = Version(
                name=name, version=number, digest=digest, job=job, attempt=attempt, created=datetime.now(UTC)
            )
            file = self._folder(name) / f"{number}.json"
            with space_for(file):
                if _create(file, fresh.model_dump_json()):
                    return fresh

    def resolve(self, reference: str, verify: bool = True) -> Bundle:
        """The bundle of `name` (newest version), `name/3`, `name@alias`, `sha256:…`, or the beginning of a digest.

        Raises NotFound, Conflict (several digests begin so), BundleError (altered).
        """
        return self._artifacts.open(self.digest(reference), verify)

    def digest(self, reference: str) -> str:
        """The digest that a reference stands for. Raises NotFound, Conflict."""
        match = _REFERENCE.fullmatch(reference)
        if match and self.versions(match.group(1)):
            return self._version(*match.groups()).digest
        return self._by_beginning(reference)

    def version(self, reference: str) -> Version:
        """The version that `name`, `name/3` or `name@alias` stands for. Raises NotFound."""
        match = _REFERENCE.fullmatch(reference)
        if not match or not self.versions(match.group(1)):
            raise self._unknown(reference)
        return self._version(*match.groups())

    def _version(self, name: str, number: str | None, alias: str | None) -> Version:
        versions = self.versions(name)
        wanted = self.alias(name, alias).version if alias else int(number or versions[-1].version)
        for version in versions:
            if version.version == wanted:
                return version
        have = ", ".join(str(version.version) for version in versions)
        raise NotFound(f"`{name}` has no version {wanted}; it has {have}")

    def aliases(self, name: str) -> list[Alias]:
        """The aliases of a name, by word. Raises StorageError."""
        files = (self._folder(name) / "aliases").glob("*.json")
        return [_read(file, Alias) for file in sorted(files) if _NAME.fullmatch(file.stem)]

    def alias(self, name: str, alias: str) -> Alias:
        """Raises NotFound, StorageError."""
        known = self.aliases(name)
        for found in known:
            if found.alias == alias:
                return found
        words = [found.alias for found in known]
        have = f"; it has {', '.join(words)}" if words else "; it has none"
        raise NotFound(f"`{name}` has no alias `{alias}`{meant(alias, words)}{have}")

    def set_alias(self, name: str, alias: str, version: int, actor: str) -> Alias:
        """Let a word stand for a version, whatever it stood for. Raises NotFound, StorageError, StorageFull."""
        self.version(f"{name}/{version}")
        fresh = Alias(alias=alias, version=version, actor=actor, updated=datetime.now(UTC))
        file = self._alias_file(name, alias)
        with space_for(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, fresh.model_dump_json().encode())
        return fresh

    def remove_alias(self, name: str, alias: str) -> None:
        """Raises NotFound, StorageError."""
        self.alias(name, alias)
        self._alias_file(name, alias).unlink(missing_ok=True)
        flush_folder(self._alias_file(name, alias).parent)

    def names(self) -> list[str]:
        """Every name that has a version."""
        if not self._root.is_dir():
            return []
        return sorted(
            path.name
            for path in self._root.iterdir()
            if _NAME.fullmatch(path.name) and any(path.glob("*.json"))
        )

    def versions(self, name: str) -> list[Version]:
        """The versions of a name, oldest first; none for a name that is not registered. Raises StorageError."""
        files = self._folder(name).glob("*.json")
        found = [_read(file, Version) for file in files if file.stem.isdecimal()]
        return sorted(found, key=lambda version: version.version)

    def list(self) -> list[Version]:
        """Every version of every name."""
        return [version for name in self.names() for version in self.versions(name)]

    def rebuild(self) -> Rebuilt:
        """Register every bundle whose lineage has a name but which no version points to; a damaged one is left out.

        Oldest bundle first, so that a registry that was lost whole gets its version numbers back.
        """
        named: list[tuple[str, Bundle]] = []
        damaged: list[str] = []
        for digest in self._artifacts.digests():
            try:
                bundle = self._artifacts.open(digest, verify=False)
                if bundle.lineage.get(LINEAGE):
                    named.append((_created(bundle), bundle))
            except BundleError as error:
                damaged.append(str(error))
        named.sort(key=lambda entry: (entry[0], entry[1].digest))
        known = {(version.name, version.digest) for version in self.list()}
        added = tuple(
            self.register(str(bundle.lineage[LINEAGE]), bundle.digest, str(bundle.lineage.get("job", "")), 0)
            for _, bundle in named
            if (bundle.lineage[LINEAGE], bundle.digest) not in known
        )
        return Rebuilt(added, tuple(damaged))

    def _folder(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StorageError(
                f"`{name}` is no name of a model; accepted: letters, digits, `_` and `-`, at most 63"
            )
        return self._root / name

    def _alias_file(self, name: str, alias: str) -> Path:
        if not _NAME.fullmatch(alias):
            raise StorageError(f"`{alias}` is no alias; accepted: letters, digits, `_` and `-`, at most 63")
        return self._folder(name) / "aliases" / f"{alias}.json"

    def _unknown(self, reference: str) -> NotFound:
        names = self.names()
        known = f"; registered: {', '.join(names)}" if names else "; no model is registered yet"
        near = meant(re.split("[/@]", reference)[0], names)
        return NotFound(f"there is no model `{reference}`{near}{known}")

    def _by_beginning(self, reference: str) -> str:
        digits = reference.removeprefix("sha256:")
        digests = self._artifacts.digests() if re.fullmatch(r"[0-9a-f]{6,64}", digits) else []
        found = [digest for digest in digests if digest.startswith(f"sha256:{digits}")]
        if len(found) > 1:
            raise Conflict(f"several models begin with `{reference}`: {', '.join(found)}")
        if not found:
            raise self._unknown(reference)
        return found[0]


def _create(file: Path, text: str) -> bool:
    """Make a file with this content, whole, unless it exists: a link, unlike a rename, never replaces."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{secrets.token_hex(8)}")
    try:
        with fresh.open("x", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.link(fresh, file)
    except FileExistsError:
        return False
    finally:
        fresh.unlink(missing_ok=True)
    flush_folder(file.parent)
    flush_folder(file.parent.parent)
    return True


def _read(file: Path, kind: type[_Read]) -> _Read:
    try:
        return kind.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
        raise StorageError(
            f"{file} is not as the registry wrote it: {problems}; remove it, then `closegap models --rebuild`"
        ) from error


def _created(bundle: Bundle) -> str:
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    return str(manifest["created"])
