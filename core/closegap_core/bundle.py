"""A sealed folder: a result on disk with a manifest that names and digests each file.

    manifest.json = {"format": 1, "kind": …, "files": {name: {"sha256", "bytes"}}, "lineage": {…},
                     "digest": "sha256:…", "created": ISO 8601 time}

The digest is over format, kind, files and lineage without `job`: equal results have equal digests,
whoever made them and when.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from closegap_core.config import canonical
from closegap_core.durable import file_digest, flush_folder, write_bytes
from closegap_core.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
KINDS = ("model", "evaluation", "encoding", "sweep", "comparison")
_UNIDENTIFYING = ("job", "created")
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class FileFacts(BaseModel):
    """Digest and size of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    kind: Literal["model", "evaluation", "encoding", "sweep", "comparison"]
    files: dict[str, FileFacts]
    lineage: dict[str, Any]
    digest: str = Field(pattern=_DIGEST)
    created: str


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. digest: `sha256:` and 64 hex digits; files: by name relative to `path`."""

    path: Path
    kind: str
    digest: str
    files: dict[str, FileFacts]
    lineage: dict[str, Any]

    def file(self, name: str) -> Path:
        """The path of a file that the manifest names. Raises BundleError when it names no such file."""
        if name not in self.files:
            raise BundleError(
                f"bundle {self.digest} ({self.kind}) has no {name}; it has {', '.join(self.files)}"
            )
        return self.path / name


def write(folder: Path, kind: str, lineage: dict[str, Any]) -> str:
    """Seal a staged folder: flush and digest each file, write the manifest last; returns the bundle's digest.

    Raises BundleError: unknown kind, an empty folder, or anything but plain files and folders in it.
    """
    if kind not in KINDS:
        raise BundleError(f"unknown kind of bundle {kind!r}; accepted: {', '.join(KINDS)}")
    files = {
        name: {"sha256": file_digest(path, flush=True), "bytes": path.stat().st_size}
        for name, path in _walk(folder)
        if name != MANIFEST
    }
    if not files:
        raise BundleError(f"nothing to seal: {folder} holds no file")
    for place in {path.parent for _, path in _walk(folder)} | {folder}:
        flush_folder(place)
    digest = _digest(kind, files, lineage)
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "files": files,
        "lineage": lineage,
        "digest": digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_bytes(folder / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return digest


def open_bundle(path: Path, verify: bool = True) -> Bundle:
    """Open a sealed folder. verify: also read every file and compare it with its digest.

    Raises BundleError, naming the file: manifest absent, malformed, of an unknown format or altered; a file
    absent, linked, unnamed, of another size or digest.
    """
    manifest = _read_manifest(path)
    files = {name: facts.model_dump() for name, facts in manifest.files.items()}
    actual = _digest(manifest.kind, files, manifest.lineage)
    if actual != manifest.digest:
        raise BundleError(
            f"{path / MANIFEST} was altered: it says {manifest.digest}, its content gives {actual}"
        )
    present = dict(_walk(path))
    for name, facts in manifest.files.items():
        _check_name(path, name)
        if name not in present:
            raise BundleError(f"bundle {path} is not whole: {name} is missing")
        size = present[name].stat().st_size
        if size != facts.bytes:
            raise BundleError(
                f"bundle {path} is not whole: {name} has {size} bytes, the manifest says {facts.bytes}"
            )
        if verify and (found := file_digest(present[name])) != facts.sha256:
            raise BundleError(
                f"{path / name} was altered: the manifest says sha256 {facts.sha256}, it has {found}"
            )
    unnamed = sorted(set(present) - set(manifest.files) - {MANIFEST})
    if unnamed:
        raise BundleError(f"bundle {path} holds files that its manifest does not name: {', '.join(unnamed)}")
    return Bundle(path, manifest.kind, manifest.digest, dict(manifest.files), dict(manifest.lineage))


def _digest(kind: str, files: dict[str, Any], lineage: dict[str, Any]) -> str:
    origin = {name: value for name, value in lineage.items() if name not in _UNIDENTIFYING}
    identity = {"format": FORMAT, "kind": kind, "files": files, "lineage": origin}
    return "sha256:" + hashlib.sha256(canonical(identity).encode()).hexdigest()


def _read_manifest(path: Path) -> _Manifest:
    file = path / MANIFEST
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise BundleError(f"{file} is not a regular file")
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} is no bundle: {MANIFEST}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise BundleError(f"{file} has format {found!r}; this version of closegap reads format {FORMAT}")
    try:
        return _Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{file} is malformed at {where}: {first['msg']}, got {first['input']!r}"
        ) from error


def _check_name(path: Path, name: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != name or "\\" in name or "\0" in name:
        raise BundleError(f"{path / MANIFEST} names {name!r}, which is not a plain path inside the bundle")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file below `folder`, by name; only plain files and folders may be there."""
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            yield path.relative_to(folder).as_posix(), path
        elif not stat.S_ISDIR(mode):
            raise BundleError(f"bundle {folder} holds {path.relative_to(folder)}, which is no plain file")
