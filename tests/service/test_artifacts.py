"""An artefact appears whole or not at all: crash windows, full disks, tampering, names that lead elsewhere."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from closegap.errors import NotFound, StorageError, StorageFull
from closegap.storage.artifacts import ArtifactStore
from closegap_core import bundle
from closegap_core.errors import BundleError

Sealed = Callable[..., str]


def test_published_and_opened(artifacts: ArtifactStore, sealed: Sealed) -> None:
    digest = sealed(artifacts, data_digest="d")
    opened = artifacts.open(digest)
    assert (opened.digest, opened.kind, opened.lineage) == (digest, "model", {"data_digest": "d"})
    assert opened.file("weights.safetensors").read_text() == "weights"
    assert stat.S_IMODE(opened.file("weights.safetensors").stat().st_mode) == 0o444
    assert artifacts.digests() == [digest]
    assert list((artifacts.root / "staging").iterdir()) == []


def test_publishing_the_same_content_again_is_no_error(artifacts: ArtifactStore, sealed: Sealed) -> None:
    assert sealed(artifacts, job="a") == sealed(artifacts, job="b")
    assert artifacts.digests() == [sealed(artifacts)]


def test_an_unsealed_folder_is_not_published(artifacts: ArtifactStore) -> None:
    with artifacts.staged("train-1", 1) as folder:
        (folder / "weights.safetensors").write_text("half")
        with pytest.raises(BundleError):
            artifacts.publish(folder)
    assert artifacts.digests() == []


def test_a_folder_that_changed_after_it_was_sealed_is_not_published(artifacts: ArtifactStore) -> None:
    with artifacts.staged("train-1", 1) as folder:
        (folder / "weights.safetensors").write_text("weights")
        bundle.write(folder, "model", {})
        (folder / "weights.safetensors").write_text("Weights")
        with pytest.raises(BundleError):
            artifacts.publish(folder)
    assert artifacts.digests() == []


def test_a_folder_from_elsewhere_is_not_published(artifacts: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("weights")
    with pytest.raises(StorageError, match="cannot be published"):
        artifacts.publish(tmp_path)


CRASHES = {
    "before sealing": "os.kill(os.getpid(), 9)",
    "before the rename": "bundle.write(folder, 'model', {}); os.kill(os.getpid(), 9)",
    "at the rename": """
bundle.write(folder, 'model', {})
import pathlib
pathlib.Path.rename = lambda *_: os.kill(os.getpid(), 9)
store.publish(folder)
""",
    "after the rename": """
bundle.write(folder, 'model', {})
import shutil
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), 9)
store.publish(folder)
""",
}


@pytest.mark.parametrize("window", CRASHES)
def test_kill_9_in_any_window_leaves_all_or_nothing(
    window: str, artifacts: ArtifactStore, sealed: Sealed
) -> None:
    lines = f"""
import os
from closegap.storage.artifacts import ArtifactStore
from closegap_core import bundle
store = ArtifactStore({artifacts.url!r})
folder = store.staging("train-1", 1)
(folder / "weights.safetensors").write_text("weights")
{CRASHES[window]}
"""
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == -9
    assert len(artifacts.digests()) == (window == "after the rename")
    for digest in artifacts.digests():
        artifacts.open(digest)
    # The next attempt begins with an empty folder, ends with the same bundle, and no litter is left.
    with artifacts.staged("train-1", 2) as folder:
        assert list(folder.iterdir()) == []
    assert artifacts.open(sealed(artifacts)).files.keys() == {"weights.safetensors"}
    assert list((artifacts.root / "staging").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_so_and_leaves_nothing(artifacts: ArtifactStore, code: int) -> None:
    def write_until_full() -> None:
        with artifacts.staged("train-1", 1) as folder:
            (folder / "weights.safetensors").write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(StorageFull, match=r"no space is left .*nothing was kept"):
        write_until_full()
    assert list((artifacts.root / "staging").iterdir()) == []


def test_other_errors_of_an_attempt_pass_and_leave_nothing(artifacts: ArtifactStore) -> None:
    def break_off() -> None:
        with artifacts.staged("train-1", 1) as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list((artifacts.root / "staging").iterdir()) == []


@pytest.mark.parametrize("change", ["content", "manifest", "missing", "added", "swapped"])
def test_tampering_is_noticed(artifacts: ArtifactStore, sealed: Sealed, change: str) -> None:
    digest, other = sealed(artifacts), sealed(artifacts, "other")
    path = artifacts.open(digest).path
    if change == "content":
        (path / "weights.safetensors").chmod(0o600)
        (path / "weights.safetensors").write_text("weighty")
    elif change == "manifest":
        manifest = (path / "manifest.json").read_text()
        (path / "manifest.json").write_text(
            manifest.replace('"lineage": {', '"lineage": {"data_digest": "other", ')
        )
    elif change == "missing":
        (path / "weights.safetensors").unlink()
    elif change == "added":
        (path / "extra").write_text("extra")
    else:
        path.rename(path.with_name("aside"))
        artifacts.open(other).path.rename(path)
    with pytest.raises(BundleError):
        artifacts.open(digest)


def test_publishing_heals_a_damaged_bundle(artifacts: ArtifactStore, sealed: Sealed) -> None:
    digest = sealed(artifacts)
    (artifacts.open(digest).path / "weights.safetensors").unlink()
    assert sealed(artifacts) == digest
    assert artifacts.open(digest).digest == digest


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc", "a" * 64, "sha256:" + "A" * 64])
def test_what_is_no_digest_is_refused(artifacts: ArtifactStore, digest: str) -> None:
    with pytest.raises(StorageError, match="is no digest"):
        artifacts.open(digest)


def test_an_unknown_digest_is_not_found(artifacts: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="no artefact sha256:0000"):
        artifacts.open("sha256:" + "0" * 64)


@pytest.mark.parametrize("job", ["", "..", "../x", "a/b", "/etc", ".hidden", "a\0b"])
def test_job_names_lead_nowhere_else(artifacts: ArtifactStore, job: str) -> None:
    with pytest.raises(StorageError, match="names no folder"):
        artifacts.work(job)
    with pytest.raises(StorageError, match="names no folder"):
        artifacts.staging(job, 1)


def test_the_work_folder_survives_attempts(artifacts: ArtifactStore) -> None:
    (artifacts.work("train-1") / "checkpoint").write_text("epoch 3")
    with artifacts.staged("train-1", 2):
        pass
    assert (artifacts.work("train-1") / "checkpoint").read_text() == "epoch 3"


def test_staging_removes_only_earlier_attempts_of_the_same_job(artifacts: ArtifactStore) -> None:
    first, second = artifacts.staging("train-1", 1), artifacts.staging("train-1", 2)
    other, longer = artifacts.staging("train-2", 1), artifacts.staging("train-1-1", 1)
    assert [folder.exists() for folder in (first, second, other, longer)] == [False, True, True, True]
    third = artifacts.staging("train-1", 3)
    assert [folder.exists() for folder in (second, third, other, longer)] == [False, True, True, True]


@pytest.mark.parametrize(
    "url", ["s3://bucket/x", "/plain/path", "file:relative", "file://host/x", "file:///x?y=1", "gs://b", ""]
)
def test_other_storage_is_refused_clearly(url: str) -> None:
    with pytest.raises(StorageError, match="accepted: file:///absolute/path"):
        ArtifactStore(url)


def test_a_url_may_be_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    assert ArtifactStore(folder.as_uri()).root == folder
