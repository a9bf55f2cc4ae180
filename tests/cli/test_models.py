"""models and encode: a small model that is trained and exported here, registered, and used without a queue."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from closegap.settings import Settings
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core import bundle
from closegap_core.config import ExportConfig, TrainConfig
from closegap_core.data import load
from closegap_core.export.export import export
from closegap_core.fit import finish, fit

from .conftest import Command

CONFIG = TrainConfig.model_validate(
    {
        "data": {"source": "digits", "split": {"train": 100, "valid": 20, "test": 20}, "binarise": "none"},
        "model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": {"hidden": [8]}}]},
        "inference": {"method": "iterative", "encoder": {"hidden": [8]}, "iterations": 2},
        "training": {"epochs": 1, "batch_size": 50},
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sealed folders of a trained and of an exported model."""
    folder = tmp_path_factory.mktemp("model")
    dataset = load(CONFIG.data, "bernoulli", [])
    trained, exported = folder / "trained", folder / "exported"
    trained.mkdir()
    exported.mkdir()
    for _ in fit(CONFIG, dataset, folder / "checkpoints"):
        pass
    finish(CONFIG, dataset, folder / "checkpoints", trained)
    lineage = {
        "job": "j-1",
        "kind": "train",
        "name": "small",
        "register": "small",
        "data_digest": dataset.digest,
    }
    bundle.write(trained, "model", lineage)
    for _ in export(trained, ExportConfig(rows=20), dataset, exported):
        pass
    bundle.write(exported, "model", lineage | {"job": "j-2", "kind": "export", "register": "small-onnx"})
    return trained, exported


@pytest.fixture
def registered(made: tuple[Path, Path], place: Path) -> tuple[str, str]:
    """Digests of the two models, registered as `small` and `small-onnx`."""
    store = ArtifactStore(Settings.load().storage)
    digests = []
    for name, folder in zip(("small", "small-onnx"), made, strict=True):
        staged = store.staging(f"job-{name}", 1)
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        digests.append(store.publish(staged))
        Registry(store).register(name, digests[-1], f"job-{name}", 1)
    return digests[0], digests[1]


@pytest.fixture
def rows(place: Path) -> np.ndarray:
    """rows.npy with 70 rows of 64 values in [0, 1]; also rows.npz."""
    values = np.random.default_rng(0).random((70, 8, 8), np.float32)
    np.save(place / "rows.npy", values)
    np.savez(place / "rows.npz", allow_pickle=False, images=values, other=values[:3])
    return values


def test_models_lists_versions_and_one_model(closegap: Command, registered: tuple[str, str]) -> None:
    said = closegap("models")
    assert said.code == 0
    assert "small-onnx" in said.out
    listed = {model["name"]: model for model in closegap("models", "--json").json["models"]}
    assert (listed["small"]["encoder"], listed["small-onnx"]["encoder"]) == (False, True)
    assert listed["small"]["valid_elbo"] < 0
    for reference in ("small-onnx", "small-onnx/1", registered[1], registered[1][:17]):
        assert closegap("models", reference, "--json").json["digest"] == registered[1]
    assert "encoder.onnx" in closegap("models", "small-onnx").out
    assert {line.split()[2] for line in said.out.splitlines()[1:]} == {
        model["job"] for model in listed.values()
    }


def test_models_of_an_empty_registry_and_unknown_ones(closegap: Command) -> None:
    assert closegap("models").out == "no models\n"
    assert closegap("models", "--json").json == {"models": []}
    assert closegap("models", "nobody").code == 102


def test_models_can_be_rebuilt_from_the_manifests(
    closegap: Command, registered: tuple[str, str], place: Path
) -> None:
    shutil.rmtree(place / "storage" / "registry")
    assert closegap("models", "--json").json == {"models": []}
    rebuilt = closegap("models", "--rebuild", "--json").json["models"]
    assert {model["name"]: model["digest"] for model in rebuilt} == dict(
        zip(("small", "small-onnx"), registered, strict=True)
    )


def test_a_damaged_bundle_does_not_stop_the_rebuilding(
    closegap: Command, registered: tuple[str, str], place: Path
) -> None:
    (manifest,) = (place / "storage" / "bundles").glob(
        f"{registered[0].removeprefix('sha256:')}/manifest.json"
    )
    manifest.chmod(0o644)
    manifest.write_text("{")
    shutil.rmtree(place / "storage" / "registry")
    said = closegap("models", "--rebuild", "--json")
    assert said.code == 100
    assert [model["digest"] for model in said.json["models"]] == [registered[1]]
    assert "1 versions added" in said.err
    assert "damaged, left out" in said.err
    assert registered[0].removeprefix("sha256:") in said.err


def test_encode_reads_a_folder_of_images(
    closegap: Command, registered: tuple[str, str], rows: np.ndarray, place: Path
) -> None:
    pictures = place / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray((rows[number].reshape(8, 8) * 255).astype(np.uint8)).save(pictures / f"{number}.png")
    said = closegap("encode", "small-onnx", "images", "out", "--path", str(pictures), "--json")
    assert (said.code, said.json["rows"]) == (0, 3), said.err


def test_a_small_file_that_was_altered_is_told_in_the_list_too(
    closegap: Command, registered: tuple[str, str]
) -> None:
    config = Path(closegap("models", "--json").json["models"][0]["path"]) / "config.json"
    config.chmod(0o644)
    config.write_text(config.read_text().replace("digits", "stigid"))  # as long as before
    first, second = closegap("models", "--json").json["models"]
    assert (second["problem"], "valid_elbo" in first) == ("", False)
    assert "config.json was altered" in first["problem"]
    assert "was altered" in closegap("models").out


def test_a_tampered_model_is_told(
    closegap: Command, registered: tuple[str, str], place: Path, rows: np.ndarray
) -> None:
    (file,) = (place / "storage" / "bundles").glob(f"{registered[1].removeprefix('sha256:')}/encoder.onnx")
    file.chmod(0o644)
    with file.open("r+b") as content:
        content.seek(200)
        content.write(b"other")
    for command in (("models", "small-onnx"), ("encode", "small-onnx", "rows.npy", "out")):
        said = closegap(*command)
        assert said.code == 100
        assert "encoder.onnx" in said.err
    assert not (place / "out").exists()


def test_encode_writes_a_row_for_each_row(
    closegap: Command, registered: tuple[str, str], rows: np.ndarray, place: Path
) -> None:
    said = closegap("encode", "small-onnx", "rows.npy", "out", "--shard-rows", "32", "--json")
    assert said.code == 0, said.err
    assert said.json["rows"] == 70
    table = pq.read_table(sorted((place / "out").glob("*.parquet")))
    assert table["row"].to_pylist() == list(range(70))
    assert set(table["model"].to_pylist()) == {registered[1]}
    assert np.stack(table["mean"].to_pylist()).shape == (70, 2)
    assert np.isclose(np.mean(table["elbo"].to_numpy()), said.json["elbo"])
    again = closegap("encode", "small-onnx", "rows.npy", "out", "--shard-rows", "32")
    assert (again.code, again.out) == (0, "out\n")


def test_encode_takes_a_bundles_folder_a_file_and_an_array_of_an_npz(
    closegap: Command, made: tuple[Path, Path], rows: np.ndarray
) -> None:
    by_folder = closegap("encode", str(made[1]), "rows.npz", "a", "--array", "images", "--json").json
    by_file = closegap("encode", str(made[1] / "encoder.onnx"), "rows.npy", "b", "--json").json
    assert by_folder["elbo"] == by_file["elbo"]
    deeper = closegap("encode", str(made[1]), "rows.npy", "c", "--iterations", "4", "--json").json
    assert (by_file["iterations"], deeper["iterations"]) == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nobody", "rows.npy", "out"), 102, "no model `nobody`"),
        (("small", "rows.npy", "out"), 2, "not exported"),
        (("./absent.onnx", "rows.npy", "out"), 2, "no such file"),
        (("small-onnx", "absent.npy", "out"), 2, "does not exist"),
        (("small-onnx", "mnist-5k", "out"), 2, "shape"),
        (("small-onnx", "rows.npy", "rows.npy"), 2, "a file is there"),
        (("small-onnx", "rows.npz", "out"), 2, "images, other"),
        (("small-onnx", "nan.npy", "out"), 2, "finite"),
        (("cut.onnx", "rows.npy", "out"), 2, "damaged"),
        (("small-onnx", "mnist", "out", "--path", "absent"), 2, "absent"),
        (("small-onnx", "rows.npy", "out", "--path", "."), 2, "leave data.path out"),
    ],
)
def test_encode_tells_what_is_wrong(
    closegap: Command, registered: tuple[str, str], made: tuple[Path, Path], rows: np.ndarray, place: Path,
    arguments: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    np.save(place / "nan.npy", rows * np.float32("nan"))
    (place / "cut.onnx").write_bytes((made[1] / "encoder.onnx").read_bytes()[:1000])
    said = closegap("encode", *arguments)
    assert (said.code, message in said.err) == (code, True), said.err
    assert not (place / "out").exists()


def test_encode_refuses_to_mix_with_a_diff(
    closegap: Command, registered: tuple[str, str], rows: np.ndarray
) -> None:
    closegap("encode", "small-onnx", "rows.npy", "out")
    said = closegap("encode", "small-onnx", "rows.npy", "out", "--iterations", "3")
    assert said.code == 2
    assert "settings.iterations: None -> 3" in said.err


def test_encode_interrupted_goes_on(
    closegap: Command, registered: tuple[str, str], place: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    np.save(place / "many.npy", np.random.default_rng(0).random((4_000, 64), np.float32))
    arguments = ("encode", "small-onnx", "many.npy", "out", "--shard-rows", "20", "--iterations", "20")
    process = start(*arguments)
    ledger = place / "out" / "ledger.jsonl"
    while not ledger.exists() or ledger.read_text().count("\n") < 3:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 101
    assert "goes on" in err
    assert 3 <= ledger.read_text().count("\n") < 200
    done = closegap(*arguments, "--json")
    assert done.json["rows"] == 4_000
    assert ledger.read_text().count("\n") == 200
