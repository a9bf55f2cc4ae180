"""Names with versions: exclusive, idempotent, resolved in every way, rebuilt from manifests."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

import pytest

from closegap.errors import Conflict, NotFound, StorageError
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry

Sealed = Callable[..., str]


@pytest.fixture
def registry(artifacts: ArtifactStore) -> Registry:
    return Registry(artifacts)


def test_versions_count_up_and_resolve(artifacts: ArtifactStore, registry: Registry, sealed: Sealed) -> None:
    first, second = sealed(artifacts, "one"), sealed(artifacts, "two")
    assert registry.register("mnist", first, "train-1", 1).version == 1
    assert registry.register("mnist", second, "train-2", 1).version == 2
    assert registry.resolve("mnist").digest == second
    assert registry.resolve("mnist/1").digest == first
    assert registry.resolve(first).digest == first
    assert registry.resolve(first[: len("sha256:") + 12]).digest == first
    assert registry.resolve(first.removeprefix("sha256:")[:12]).digest == first
    assert registry.names() == ["mnist"]
    assert [(version.version, version.digest) for version in registry.list()] == [(1, first), (2, second)]


def test_registering_again_for_the_same_job_changes_nothing(
    artifacts: ArtifactStore, registry: Registry, sealed: Sealed
) -> None:
    """Attempt 2 of a job whose attempt 1 died between registering and succeeding."""
    first, second = sealed(artifacts, "one"), sealed(artifacts, "two")
    made = registry.register("mnist", first, "train-1", 1)
    assert registry.register("mnist", first, "train-1", 2) == made
    registry.register("mnist", second, "train-2", 1)
    assert registry.register("mnist", first, "train-1", 3) == made
    # What is newest already is not registered twice; an older model that is trained again becomes newest.
    assert registry.register("mnist", second, "train-3", 1).version == 2
    assert registry.register("mnist", first, "train-4", 1).version == 3


def test_registrations_at_the_same_time_have_versions_of_their_own(
    artifacts: ArtifactStore, registry: Registry, sealed: Sealed
) -> None:
    digests = [sealed(artifacts, str(n)) for n in range(8)]
    threads = [
        threading.Thread(target=registry.register, args=("m", digest, f"train-{n}", 1))
        for n, digest in enumerate(digests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.version for version in registry.versions("m")] == list(range(1, 9))
    assert {version.digest for version in registry.versions("m")} == set(digests)


def test_what_is_not_there(artifacts: ArtifactStore, registry: Registry, sealed: Sealed) -> None:
    with pytest.raises(NotFound, match="no model is registered yet"):
        registry.resolve("mnist")
    digest = sealed(artifacts)
    registry.register("mnist", digest, "train-1", 1)
    with pytest.raises(NotFound, match=r"`mnits` \(did you mean `mnist`\?\); registered: mnist"):
        registry.resolve("mnits")
    with pytest.raises(NotFound, match="`mnist` has no version 2; it has 1"):
        registry.resolve("mnist/2")
    with pytest.raises(NotFound):
        registry.register("mnist", "sha256:" + "0" * 64, "train-1", 1)


def test_an_ambiguous_beginning_is_a_conflict(
    artifacts: ArtifactStore, registry: Registry, sealed: Sealed
) -> None:
    digest = sealed(artifacts)
    twin = artifacts.root / "bundles" / (digest.removeprefix("sha256:")[:-1] + "0")
    twin = twin if not twin.exists() else twin.with_name(twin.name[:-1] + "1")
    shutil.copytree(artifacts.open(digest).path, twin)
    with pytest.raises(Conflict, match="several models begin with"):
        registry.resolve(digest[:20])


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b/c", "a.b", "x" * 64])
def test_names_lead_nowhere_else(
    artifacts: ArtifactStore, registry: Registry, sealed: Sealed, name: str
) -> None:
    with pytest.raises(StorageError, match="is no name of a model"):
        registry.register(name, sealed(artifacts), "train-1", 1)
    with pytest.raises((NotFound, StorageError)):
        registry.resolve(name)


def test_a_lost_registry_is_rebuilt_from_the_manifests(
    artifacts: ArtifactStore, registry: Registry, sealed: Sealed
) -> None:
    sealed(artifacts, "unnamed")
    digest = sealed(artifacts, "one", register="mnist", job="train-1")
    registry.register("mnist", digest, "train-1", 1)
    assert registry.rebuild() == ((), ())
    shutil.rmtree(artifacts.root / "registry")
    [added], _ = registry.rebuild()
    assert (added.name, added.version, added.digest, added.job) == ("mnist", 1, digest, "train-1")
    assert registry.resolve("mnist").digest == digest


def test_a_damaged_version_is_named(artifacts: ArtifactStore, registry: Registry, sealed: Sealed) -> None:
    registry.register("mnist", sealed(artifacts), "train-1", 1)
    (artifacts.root / "registry" / "default" / "mnist" / "1.json").write_text("{")
    with pytest.raises(StorageError, match=r"mnist/1\.json is not as the registry wrote it") as caught:
        registry.resolve("mnist")
    assert "pydantic" not in str(caught.value)
