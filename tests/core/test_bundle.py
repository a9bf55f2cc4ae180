"""Bundles are whole, or opening them says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from closegap_core.bundle import MANIFEST, open_bundle, write
from closegap_core.errors import BundleError

LINEAGE = {"data_digest": "d" * 64, "parent": None, "name": "näme"}


def folder(path: Path) -> Path:
    (path / "report").mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "weights.safetensors").write_bytes(bytes(range(256)))
    (path / "report" / "index.html").write_text("<p>")
    return path


def sealed(path: Path) -> Path:
    write(folder(path), "model", LINEAGE)
    return path


def rewrite(path: Path, **changes: Any) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    digest = write(folder(tmp_path / "a"), "model", LINEAGE)
    bundle = open_bundle(tmp_path / "a")
    assert bundle.digest == digest
    assert digest.startswith("sha256:")
    assert bundle.kind == "model"
    assert bundle.lineage == LINEAGE
    assert set(bundle.files) == {"config.json", "weights.safetensors", "report/index.html"}
    assert bundle.file("config.json").read_text() == "{}"
    with pytest.raises(BundleError, match=r"has no encoder\.onnx; it has config\.json"):
        bundle.file("encoder.onnx")


def test_digest_is_of_what_it_is_not_of_who_made_it(tmp_path: Path) -> None:
    first = write(folder(tmp_path / "a"), "model", LINEAGE | {"job": "1"})
    assert write(folder(tmp_path / "b"), "model", LINEAGE | {"job": "2"}) == first
    assert write(folder(tmp_path / "c"), "model", LINEAGE | {"parent": "x"}) != first
    assert write(folder(tmp_path / "d"), "evaluation", LINEAGE) != first
    (tmp_path / "a" / "config.json").write_text("{ }")
    assert write(tmp_path / "a", "model", LINEAGE) != first


def test_altered_file_names_file_and_both_digests(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a")
    (path / "weights.safetensors").write_bytes(bytes(255) + b"x")
    with pytest.raises(
        BundleError, match=r"weights\.safetensors was altered: .* sha256 [0-9a-f]{64}, it has [0-9a-f]{64}"
    ):
        open_bundle(path)
    assert open_bundle(path, verify=False).kind == "model"
    (path / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"weights\.safetensors has 5 bytes, the manifest says 256"):
        open_bundle(path, verify=False)
    (path / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors is missing"):
        open_bundle(path, verify=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2; this version of closegap reads format 1"),
        ({"kind": "evaluation"}, "was altered: it says sha256:"),
        ({"lineage": {"parent": "forged"}}, "was altered"),
        ({"kind": "spell"}, "malformed at kind"),
        ({"extra": 1}, "malformed at extra"),
        ({"digest": "sha256:abc"}, "malformed at digest"),
        ({"files": {}}, "was altered"),
        ({"files": {"a": {"sha256": "x", "bytes": 1}}}, r"malformed at files\.a\.sha256"),
    ],
)
def test_tampered_manifest(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = sealed(tmp_path / "a")
    rewrite(path, **changes)
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_manifest_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = sealed(tmp_path / "a")
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"is not JSON|has format"):
        open_bundle(path)
    (path / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"is no bundle: manifest\.json: No such file"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "./config.json", "a//b"])
def test_names_that_leave_the_bundle(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sealed(tmp_path / "a")
    (tmp_path / "secret").write_text("{}")
    facts = json.loads((path / MANIFEST).read_text())["files"]["config.json"]
    rewrite(path, files={name: facts})
    monkeypatch.setattr(
        "closegap_core.bundle._digest", lambda *_: json.loads((path / MANIFEST).read_text())["digest"]
    )
    with pytest.raises(BundleError, match="not a plain path inside the bundle"):
        open_bundle(path)


def test_links_and_strangers_are_refused(tmp_path: Path) -> None:
    path = sealed(tmp_path / "a")
    (path / "stranger.txt").write_text("?")
    with pytest.raises(BundleError, match=r"does not name: stranger\.txt"):
        open_bundle(path)
    (path / "stranger.txt").unlink()
    (path / "config.json").rename(tmp_path / "config.json")
    (path / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(BundleError, match=r"config\.json, which is no plain file"):
        open_bundle(path)
    with pytest.raises(BundleError, match="no plain file"):
        write(path, "model", LINEAGE)


def test_what_cannot_be_sealed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="holds no file"):
        write(tmp_path / "empty", "model", LINEAGE)
    with pytest.raises(BundleError, match="unknown kind of bundle 'spell'; accepted: model"):
        write(folder(tmp_path / "a"), "spell", LINEAGE)
