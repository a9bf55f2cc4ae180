"""The model registry: names with versions, as files beside the bundles they point to. Needs no store."""

from __future__ import annotations

import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, final

from pydantic import ValidationError

from closegap import references
from closegap.artifacts import ArtifactStore, space_for
from closegap.errors import Conflict, NotFound, StorageError
from closegap.job import Record
from closegap.problems import meant
from closegap_core.bundle import MANIFEST, Bundle
from closegap_core.durable import flush_folder
from closegap_core.errors import BundleError

LINEAGE = "register"
"""Field of a bundle's lineage with the name it is registered under, from which the registry is rebuilt."""

_NAME = re.compile(references.NAME)
_REFERENCE = re.compile(rf"({references.NAME})(?:/([1-9][0-9]*))?")


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
class Rebuilt(NamedTuple):
    """What a rebuilt registry has more than before, and what is wrong with bundles that were left out."""

    added: tuple[Version, ...]
    damaged: tuple[str, ...]


@final
class Registry:
    """`<root>/registry/<name>/<version>.json`, each created once and exclusively."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._root = artifacts.root / "registry"

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
        """The bundle of `name` (newest version), `name/3`, `sha256:…`, or the beginning of a digest.

        Raises NotFound, Conflict (several digests begin so), BundleError (altered).
        """
        return self._artifacts.open(self.digest(reference), verify)

    def digest(self, reference: str) -> str:
        """The digest that a reference stands for. Raises NotFound, Conflict."""
        match = _REFERENCE.fullmatch(reference)
        versions = self.versions(match.group(1)) if match else []
        if match and versions:
            number = int(match.group(2) or versions[-1].version)
            found = [version.digest for version in versions if version.version == number]
            if not found:
                have = ", ".join(str(version.version) for version in versions)
                raise NotFound(f"`{match.group(1)}` has no version {number}; it has {have}")
            return found[0]
        return self._by_beginning(reference)

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
        found = [_read(file) for file in files if file.stem.isdecimal()]
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

    def _by_beginning(self, reference: str) -> str:
        digits = reference.removeprefix("sha256:")
        digests = self._artifacts.digests() if re.fullmatch(r"[0-9a-f]{6,64}", digits) else []
        found = [digest for digest in digests if digest.startswith(f"sha256:{digits}")]
        if len(found) > 1:
            raise Conflict(f"several models begin with `{reference}`: {', '.join(found)}")
        if not found:
            names = self.names()
            known = f"; registered: {', '.join(names)}" if names else "; no model is registered yet"
            raise NotFound(
                f"there is no model `{reference}`{meant(reference.partition('/')[0], names)}{known}"
            )
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


def _read(file: Path) -> Version:
    try:
        return Version.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
        raise StorageError(
            f"{file} is no version of a model: {problems}; remove it, then `closegap models --rebuild`"
        ) from error


def _created(bundle: Bundle) -> str:
    manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    return str(manifest["created"])
