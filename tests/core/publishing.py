"""Small files of the real formats in the place of published data sets."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap_core.config import DataConfig
from closegap_core.data import Dataset, load, source
from closegap_core.data.publication import File, Publication


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def publish(
    monkeypatch: pytest.MonkeyPatch,
    publication: Publication,
    read: Any,
    contents: dict[str, tuple[int, bytes]],
) -> None:
    """Put other files in the place of the published ones: their names, rows and checksums."""
    files = tuple(
        File(name, rows, f"md5:{hashlib.md5(content).hexdigest()}")
        for name, (rows, content) in contents.items()
    )
    entries = tuple(
        (replace(publication, files=files), read) if known.source == publication.source else (known, other)
        for known, other in source.PUBLISHED
    )
    monkeypatch.setattr(source, "PUBLISHED", entries)


def place(folder: Path, contents: dict[str, tuple[int, bytes]], packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, content) in contents.items():
        (folder / (name + ".gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )


def read(root: Path, name: str, likelihood: str = "bernoulli", **fields: Any) -> Dataset:
    return load(DataConfig.model_validate({"source": name, **fields}), likelihood, [root])
