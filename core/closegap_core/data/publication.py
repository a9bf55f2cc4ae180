"""Published data sets: which files, from where, in which folder; each file read whole and held to its checksum."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from closegap_core.data.roots import listed, locate, open_file, unreadable
from closegap_core.errors import DataError

LARGEST = 1 << 32
"""Bytes of a file read whole."""


@final
@dataclass(frozen=True)
class File:
    """A file as its publisher names it, with the rows that it holds.

    digest: `md5:…` or `sha256:…` (hex) of the content, decompressed where it may be gzipped; None: none is known.
    """

    name: str
    rows: int
    digest: str | None = None


@final
@dataclass(frozen=True)
class Publication:
    """A published data set. source: its name in a spec; archives: folders that its archives unpack to."""

    source: str
    url: str
    files: tuple[File, ...]
    archives: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """What to do when files are missing."""
        names = ", ".join(file.name for file in self.files)
        return (
            f"download it from {self.url} and put {names} into the folder {self.source!r} under an allowed data root, "
            "or name their folder in data.path"
        )

    def folder(self, path: str | None, roots: Sequence[Path]) -> Folder:
        """The folder that `path` names, by default one called as the source. Raises DataError when there is none."""
        found = locate(path or self.source, roots)
        if found is None or not found.is_dir():
            raise DataError(
                f"data source {self.source!r}: there is no folder {path or self.source!r} under the allowed data "
                f"roots: {listed(roots)}; {self.advice}"
            )
        unpacked = (found / name for name in self.archives if (found / name).is_dir())
        return Folder(next(unpacked, found), tuple(roots), self)


@final
@dataclass(frozen=True)
class Folder:
    """Where the files of a publication lie."""

    path: Path
    roots: tuple[Path, ...]
    publication: Publication

    def find(self, *names: str) -> Path | None:
        """The first of `names` that is there."""
        return next((path for name in names if (path := locate(str(self.path / name), self.roots))), None)

    def content(self, file: File, most: int = LARGEST) -> bytes:
        """The whole content of a file, decompressed if it is there as .gz only, of at most `most` bytes.

        Raises DataError: absent, unreadable, too long, or not what was published.
        """
        place = f"data source {self.publication.source!r}: {file.name}"
        path = self.find(file.name, file.name + ".gz")
        if path is None:
            raise DataError(f"{place} is not in {self.path}; {self.publication.advice}")
        try:
            with open_file(path, str(path)) as stream:
                packed = path.suffix == ".gz" and not file.name.endswith(".gz")
                content = gzip.GzipFile(fileobj=stream).read(most + 1) if packed else stream.read(most + 1)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{place}.gz is damaged: {error}") from error
        except OSError as error:
            raise unreadable(str(path), error) from error
        if len(content) > most:
            raise DataError(f"{place} is longer than the {most} bytes that {file.rows} rows take")
        _verify(content, file, place)
        return content


def _verify(content: bytes, file: File, place: str) -> None:
    if file.digest is None:
        return
    algorithm, _, published = file.digest.partition(":")
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != published:
        raise DataError(
            f"{place} is not the published file: its {algorithm} is {found} ({len(content)} bytes), "
            f"published is {published}; download it again"
        )
