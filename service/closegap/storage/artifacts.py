"""The artifact store: sealed bundles by digest, and the folders that jobs work in.

<root>/bundles/<sha256>/     a bundle, there whole or not at all, never changed
<root>/staging/<job>-<attempt>-<random>/   what an attempt is writing; renamed once, or removed
<root>/work/<job>/           checkpoints, trials, ledgers, in a folder that is the current attempt's: survives attempts
<root>/registry/             names and versions (`closegap.storage.registry`)
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit

from closegap.errors import NotFound, StorageError, StorageFull
from closegap_core.bundle import Bundle, open_bundle
from closegap_core.durable import flush_folder
from closegap_core.errors import BundleError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HELD = re.compile(r"held-([0-9]{15})")
"""Within a work folder, what the attempt of this fence works in; each attempt takes over what the one before left."""
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@final
class ArtifactStore:
    """A storage root by URL. Only `file://` for now; the shape lets other schemes come later."""

    def __init__(self, url: str) -> None:
        """Raises StorageError for any other URL."""
        self.url = url
        self.root = _local_root(url)

    @contextmanager
    def staged(self, job: str, attempt: int) -> Iterator[Path]:
        """A fresh folder for what an attempt makes; whatever happens, it is gone at the end unless published.

        Raises StorageFull in place of an OSError that says that no space is left.
        """
        folder = self.staging(job, attempt)
        try:
            with space_for(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def staging(self, job: str, attempt: int) -> Path:
        """A fresh folder; those that earlier attempts of the job left behind are removed."""
        parent = self.root / "staging"
        ours = re.compile(rf"{_plain(job)}-([0-9]+)-[0-9a-f]{{8}}")
        with space_for(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for old in parent.iterdir():
                found = ours.fullmatch(old.name)
                if found and int(found.group(1)) < attempt:
                    shutil.rmtree(old, ignore_errors=True)
            folder = parent / f"{job}-{attempt}-{secrets.token_hex(4)}"
            folder.mkdir()
        return folder

    def publish(self, folder: Path) -> str:
        """Move a sealed staging folder to its place, by one rename, durably; its digest.

        Publishing what is there already is no error. Raises BundleError (not sealed, altered since), StorageError,
        StorageFull.
        """
        if folder.parent != self.root / "staging":
            raise StorageError(f"{folder} cannot be published: it is no folder of {self.root / 'staging'}")
        bundle = open_bundle(folder)
        target = self.place(bundle.digest)
        with space_for(target):
            for name in bundle.files:
                (folder / name).chmod(0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            flush_folder(self.root)
            if not self._whole(target):
                _rename_once(folder, target)
            flush_folder(target.parent)
        shutil.rmtree(folder, ignore_errors=True)
        return bundle.digest

    def open(self, digest: str, verify: bool = True) -> Bundle:
        """A published bundle. `verify` reads every file against its digest.

        Raises NotFound, StorageError (not a digest), BundleError (altered or damaged).
        """
        path = self.place(digest)
        if not path.is_dir():
            raise NotFound(f"there is no artefact {digest} in {self.url}")
        bundle = open_bundle(path, verify)
        if bundle.digest != digest:
            raise BundleError(f"{path} was altered: its manifest gives {bundle.digest}")
        return bundle

    def digests(self) -> list[str]:
        """Of every published bundle."""
        folder = self.root / "bundles"
        if not folder.is_dir():
            return []
        found = sorted(f"sha256:{path.name}" for path in folder.iterdir())
        return [digest for digest in found if _DIGEST.fullmatch(digest)]

    def work(self, job: str) -> Path:
        """The folder that a job's attempts share, and that a retry goes on with (`Job.work` names whose)."""
        folder = self.root / "work" / _plain(job)
        with space_for(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def held(self, job: str) -> Path | None:
        """What the newest attempt works in, within the work folder of a job; None where none has begun."""
        folder = self.root / "work" / _plain(job)
        try:
            newest = max((name for name in os.listdir(folder) if HELD.fullmatch(name)), default=None)
        except FileNotFoundError:
            return None
        return None if newest is None else folder / newest

    def place(self, digest: str) -> Path:
        """Where a bundle is, or would be. Raises StorageError (not a digest)."""
        if not _DIGEST.fullmatch(digest):
            raise StorageError(f"`{digest}` is no digest; accepted: sha256: and 64 hex digits")
        return self.root / "bundles" / digest.removeprefix("sha256:")

    def _whole(self, target: Path) -> bool:
        """Whether a good bundle is at `target`. A damaged one is set aside: this publication heals it."""
        if not target.exists():
            return False
        try:
            open_bundle(target)
            os.utime(
                target
            )  # lately written: a collection of what nobody refers to spares it until somebody does
        except BundleError:
            target.rename(target.with_name(f"{target.name}.damaged-{secrets.token_hex(4)}"))
            return False
        return True


def _rename_once(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        # Another attempt published the same content in between: a rename never replaces a folder with files in it.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


@contextmanager
def space_for(place: Path) -> Iterator[None]:
    """Raise StorageFull in place of an OSError that says that no space is left."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"no space is left for {place} ({os.strerror(error.errno)}); nothing was kept"
            ) from error
        raise


def _plain(name: str) -> str:
    if not _FOLDER.fullmatch(name):
        raise StorageError(f"`{name}` names no folder; accepted: letters, digits, `_` and `-`")
    return name


def _local_root(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file":
        scheme = f"`{parts.scheme}://`" if parts.scheme else f"`{url}`, which has no scheme,"
        raise StorageError(f"storage on {scheme} is not supported; accepted: file:///absolute/path")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise StorageError(f"`{url}` is no local storage root; accepted: file:///absolute/path")
    return Path(path)
