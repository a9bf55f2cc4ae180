"""Folders of images, and the patches of two photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from closegap_core.config import DataConfig
from closegap_core.data import load, load_rows
from closegap_core.errors import DataError
from tests.core.publishing import random_bytes, read

# --- image folders ---


def save_image(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_image_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    colour = [random_bytes(6, 5, 3, seed=i) for i in range(12)]
    for i, image in enumerate(colour):
        save_image(tmp_path / "photos" / ("b" if i % 2 else "a") / f"{i:02}.png", image)
    (tmp_path / "photos/notes.txt").write_text("no image")
    got, shape, _ = load_rows("images", None, [tmp_path], "photos", "dequantised")
    wanted = [colour[i] for i in (*range(0, 12, 2), *range(1, 12, 2))]
    np.testing.assert_array_equal(got, np.stack(wanted).reshape(12, -1))
    assert shape == (6, 5, 3)
    dataset = read(tmp_path, "images", "gaussian", path="photos")
    assert (dataset.values, float(dataset.train.rows.max()) <= 1) == ("unit", True)


def test_grey_images_and_jpeg(tmp_path: Path) -> None:
    for i in range(10):
        save_image(tmp_path / "grey" / f"{i}.jpg", np.full((8, 8), 20 * i, np.uint8), quality=95)
    got, shape, _ = load_rows("images", None, [tmp_path], "grey", "dequantised")
    assert shape == (8, 8)
    np.testing.assert_allclose(got, np.repeat(20.0 * np.arange(10), 64).reshape(10, 64), atol=2)


def test_refused_image_folders(tmp_path: Path) -> None:
    def folder(name: str, *images: np.ndarray) -> str:
        for i, image in enumerate((random_bytes(4, 4), *images)):
            save_image(tmp_path / name / f"{i}.png", image)
        return name

    (tmp_path / "empty").mkdir()
    (tmp_path / folder("broken") / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (tmp_path / folder("out") / "1.png").symlink_to(tmp_path.parent / "x.png")
    cut = tmp_path / folder("cut") / "0.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    cases = {
        "nothing": "there is no folder 'nothing'",
        "empty": r"holds no images; accepted are files ending in \.png",
        folder("sizes", random_bytes(4, 5)): r"'1.png' has shape \(4, 5\), but '0.png' has \(4, 4\)",
        folder("colours", random_bytes(4, 4, 3)): r"has shape \(4, 4, 3\), but '0.png' has \(4, 4\)",
        folder("alpha", random_bytes(4, 4, 4)): "'1.png' is of mode RGBA; accepted are L and RGB",
        folder("deep", np.zeros((4, 4), np.uint16)): "'1.png' is of mode I;16",
        "broken": "'0.png' is damaged or no PNG",
        "cut": "'0.png' is damaged or no PNG",
        "out": "outside the allowed data roots",
    }
    for path, message in cases.items():
        with pytest.raises(DataError, match=message):
            load_rows("images", None, [tmp_path], path)
    with pytest.raises(DataError, match=r"'images' needs data\.path"):
        load_rows("images", None, [tmp_path])


# --- patches ---


@pytest.mark.parametrize(("name", "side", "count"), [("patches", 8, 8480), ("patches-16", 16, 2080)])
def test_patches_are_the_photographs_cut_without_overlap(name: str, side: int, count: int) -> None:
    got, shape, _ = load_rows(name, None, [], likelihood="dequantised")
    assert (got.shape, shape) == ((count, side * side * 3), (side, side, 3))
    from importlib.util import find_spec

    origin = find_spec("sklearn")
    assert origin is not None
    assert origin.submodule_search_locations is not None
    with Image.open(Path(origin.submodule_search_locations[0], "datasets/images/flower.jpg")) as image:
        flower = np.asarray(image)
    columns = 640 // side
    place_ = count // 2 + 3 * columns + 5
    patch = flower[3 * side : 4 * side, 5 * side : 6 * side]
    np.testing.assert_array_equal(got[place_], patch.ravel())
    dataset = load(DataConfig(source=name), "dequantised", [])
    ids = np.concatenate([part.ids for part in (dataset.train, dataset.valid, dataset.test)])
    assert len(np.unique(ids)) == len(ids) == count
    assert dataset.values == "byte"
