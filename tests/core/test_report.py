"""The report: what it must show, from inputs shaped as the jobs leave them, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import plotly.offline
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from closegap_core.report import images
from closegap_core.report.inputs import Check, EncodingReport, ModelReport, ReportError
from closegap_core.report.page import build, build_single

EPOCHS, ROWS, PICTURED, SIDE = 40, 500, 10, 28


def terms(elbo: float) -> dict[str, float]:
    return {"elbo": elbo, "log_likelihood": elbo + 20.0, "kl": 20.0}


def history(last: float) -> list[dict[str, Any]]:
    elbos = [last - 110 * np.exp(-epoch / 6) for epoch in range(1, EPOCHS + 1)]
    return [
        {"epoch": e, "epochs": EPOCHS, "train": terms(elbo + e / 12), "valid": terms(elbo), "seconds": 2.0}
        for e, elbo in enumerate(elbos, start=1)
    ]


def metrics(method: str, last: float, iterations: int) -> dict[str, Any]:
    curve = [-207.0] + [
        last - 14 * np.exp(-t / 1.5) for t in range(1, 2 * iterations if iterations > 1 else 2)
    ]
    steps = [*range(11), 13, 17, 22, 28, 35, 44, 55, 69, 87, 100]
    adam = {
        "from_prior": [
            {"step": s, "elbo": last + 2 - 111 * np.exp(-s / 9), "standard_error": 1.0} for s in steps
        ],
        "from_encoder": [
            {"step": s, "elbo": last + 2 - 2 * np.exp(-s / 20), "standard_error": 1.0} for s in steps
        ],
        "best": last + 2,
        "amortization_gap": 2.0,
    }
    return {
        "method": method,
        "part": "test",
        "rows": ROWS,
        "samples": 10,
        "iterations": iterations,
        "data_digest": "ab" * 32,
        "elbo": float(curve[min(iterations, len(curve) - 1)]),
        "elbo_standard_error": 1.13,
        "log_likelihood": last + 20,
        "kl": 20.0,
        "elbo_by_iteration": [
            {"iteration": t, "elbo": e, "standard_error": 1.1} for t, e in enumerate(curve)
        ],
        "iwae": {"value": last + 5, "standard_error": 1.0, "samples": 500},
        "refinement": adam,
    }


def bundles(
    folder: Path, method: str, last: float, iterations: int, shape: tuple[int, ...]
) -> tuple[Path, Path]:
    """A trained and an evaluated bundle's files, as `fit.finish` and `evaluate` write them."""
    trained, evaluated = folder / f"{method}-trained", folder / f"{method}-evaluated"
    trained.mkdir(parents=True)
    evaluated.mkdir()
    width = int(np.prod(shape))
    random = np.random.default_rng(0)
    rows = (random.random((PICTURED, width)) < np.linspace(0, 1, width)).astype(np.float32)
    blend = np.linspace(0.1, 0.9, iterations + 1, dtype=np.float32)[:, None, None]
    (trained / "metrics.json").write_text(json.dumps({"summary": {}, "history": history(last)}))
    (evaluated / "metrics.json").write_text(json.dumps(metrics(method, last, iterations)))
    np.savez(
        evaluated / "arrays.npz",
        originals=rows,
        reconstructions=blend * rows + (1 - blend) * 0.5,
        prior_samples=random.random((64, width), dtype=np.float32),
        shape=np.asarray(shape),
    )
    return trained, evaluated


@pytest.fixture
def models(tmp_path: Path) -> tuple[ModelReport, ModelReport]:
    shape = (SIDE, SIDE)
    standard = ModelReport.read("standard", *bundles(tmp_path, "standard", -103.2, 1, shape))
    return standard, ModelReport.read("iterative", *bundles(tmp_path, "iterative", -98.9, 5, shape))


def parity(worst: float) -> dict[str, Any]:
    figures = {"file_max": 2e-6, "file_median": 3e-7, "model_max": 5e-6, "model_median": 1e-7}
    checks = {"one step after 0": figures, "5 iterations": {"posterior": figures, "elbo": figures}}
    limits = {"one_step": 1e-5, "median_row": 1e-5, "elbo": 1e-3, "times_the_model's_own_error": 4.0}
    checks |= {"batch of 3": figures, "run again": {"bitwise": True}}
    return {"checks": checks, "limits": {**limits, "quantile_of_worst_row": worst}}


def encode_bundles(folder: Path, worst: float = 1.0) -> tuple[Path, Path]:
    """An encoding's and an export's files, as `encode_dataset` and `export` write them."""
    encoded, exported = folder / "encoded", folder / "exported"
    encoded.mkdir()
    exported.mkdir()
    elbo = np.random.default_rng(1).normal(-99, 25, ROWS).astype(np.float32)
    for shard, part in enumerate(np.array_split(elbo, 3)):
        pq.write_table(pa.table({"elbo": part}), encoded / f"shard-{shard:05d}.parquet")
    (exported / "parity.json").write_text(json.dumps(parity(worst)))
    return encoded, exported


@pytest.fixture
def encoding(tmp_path: Path) -> EncodingReport:
    return EncodingReport.read(*encode_bundles(tmp_path), rows_per_second=2512.0)


def figures_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found
    figures: dict[str, Any] = json.loads(found[1])
    return figures


def resolved(value: Any) -> Any:
    """The figure with named colours replaced, as the page's script does."""
    return json.loads(re.sub(r'"var\(--[a-z-]+\)"', '"#123456"', json.dumps(value)))


def without_plotly(page: str) -> str:
    return page.replace(plotly.offline.get_plotlyjs(), "")


class Sources(HTMLParser):
    """Collects what a browser would fetch, and checks that elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_fetches_nothing(
    tmp_path: Path, models: tuple[ModelReport, ModelReport], encoding: EncodingReport
) -> None:
    out = build(tmp_path / "report.html", standard=models[0], iterative=models[1], encoding=encoding)
    page = out.read_text(encoding="utf-8")
    assert page.count(plotly.offline.get_plotlyjs()) == 1
    rest = without_plotly(page)
    parser = Sources()
    parser.feed(rest)
    parser.close()
    assert parser.open == []
    assert parser.fetched
    assert all(source.startswith("data:image/png;base64,") for source in parser.fetched)
    assert "http:" not in rest
    assert "https:" not in rest
    assert "default-src 'none'" in rest
    assert sorted(path.name for path in tmp_path.glob("report*")) == ["report.html"]


def test_every_figure_is_one_that_plotly_accepts_and_has_its_place(
    tmp_path: Path, models: tuple[ModelReport, ModelReport], encoding: EncodingReport
) -> None:
    page = build(tmp_path / "r.html", standard=models[0], iterative=models[1], encoding=encoding).read_text()
    figures = figures_of(page)
    assert set(figures) == {
        "learning-elbo",
        "learning-log_likelihood",
        "learning-kl",
        "iterations",
        "encoded",
    }
    for name, figure in figures.items():
        plotly.graph_objects.Figure(resolved(figure))
        assert f'id="{name}"' in page


def test_curves_carry_the_measured_values(tmp_path: Path, models: tuple[ModelReport, ModelReport]) -> None:
    standard, iterative = models
    figures = figures_of(build(tmp_path / "r.html", standard=standard, iterative=iterative).read_text())
    lines = {trace["name"]: trace for trace in figures["iterations"]["data"] if "name" in trace}
    expected = [point.elbo for point in iterative.evaluation.elbo_by_iteration[1:]]
    assert lines["iterative encoder"]["y"] == expected
    assert set(lines["standard encoder, one pass"]["y"]) == {standard.evaluation.elbo}
    (adam,) = [line for name, line in lines.items() if name.startswith("Adam on q from the prior, ")]
    assert adam["x"][-1] == 100
    learning = {trace["name"]: trace["y"] for trace in figures["learning-kl"]["data"]}
    assert learning["iterative, validation"] == [20.0] * EPOCHS
    assert len(learning) == 4


def test_the_histogram_counts_every_row(
    tmp_path: Path, models: tuple[ModelReport, ModelReport], encoding: EncodingReport
) -> None:
    page = build_single(tmp_path / "r.html", model=models[1], encoding=encoding).read_text()
    assert sum(figures_of(page)["encoded"]["data"][0]["y"]) == ROWS
    assert "2,512 rows a second" in page


def measured() -> dict[str, Any]:
    """What an evaluation that measured everything says beside its bounds."""

    def gap(value: float) -> dict[str, float]:
        return {"value": value, "standard_error": 0.2, "estimator_error": 0.03}

    def points(first: int, gaps: list[float]) -> list[dict[str, float]]:
        return [
            {
                "passes": first + t,
                "seconds": 0.01 * t,
                "elbo": -90 - left,
                "gap": left,
                "gap_standard_error": 0.1,
            }
            for t, left in enumerate(gaps)
        ]

    part = {
        "rows": 100,
        "approximation_gap": gap(1.5),
        "amortization_gap": gap(2.5),
        "inference_gap": gap(4.0),
        "log_evidence": {"value": -85.5, "estimator": "ais"},
        "verdict": ["the amortization gap is the larger part", "said of all"],
    }
    refiner = {"kind": "adam", "learning_rate": 0.05}
    return {
        "gaps": {"train": part, "test": {**part, "amortization_gap": gap(3.25)}},
        "frontier": {
            "rows": 200,
            "lines": [
                {"start": "model", "refiner": None, "points": points(0, [100.0, 4.0, 3.0])},
                {"start": "model", "refiner": refiner, "points": points(2, [3.0, 2.5])},
                {"start": "prior", "refiner": refiner, "points": points(0, [100.0, 60.0])},
            ],
        },
        "active_units": {"count": 2, "threshold": 0.01, "variance": [0.5, 0.001, 0.7]},
        "kl_by_dimension": [1.0, 0.002, 3.0],
        "gradient_by_iteration": [{"iteration": t, "mean": 2.0 / (t + 1), "log_var": 1.0} for t in range(3)],
        "surface": {"dimensions": [0, 2], "objective": "elbo", "paths": [None, refiner]},
        "verdict": ["said of all", "posterior collapse of level 2"],
    }


def test_what_was_measured_is_shown(tmp_path: Path) -> None:
    trained, evaluated = bundles(tmp_path, "iterative", -90.0, 3, (4, 4))
    path = evaluated / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **measured()}))
    with np.load(evaluated / "arrays.npz") as file:
        arrays = dict(file)
    walks = {f"surface_path_{i}": np.full((1, 4, 2), float(i), np.float32) for i in range(2)}
    heights = np.array([[[-500.0, -90.0], [-100.0, -95.0]]])
    surface = {
        "surface_axis": np.array([-1.0, 1.0]),
        "surface_heights": heights,
        "surface_optimum": np.ones((1, 2)),
    }
    np.savez(evaluated / "arrays.npz", **arrays, **surface, **walks)
    page = build_single(tmp_path / "r.html", model=ModelReport.read("m", trained, evaluated)).read_text()
    figures = figures_of(page)
    bars = {trace["name"]: trace["y"] for trace in figures["gaps-0"]["data"]}
    assert bars == {"approximation gap": [1.5, 1.5], "amortization gap": [2.5, 3.25]}
    passes, seconds = (
        [trace for trace in figures[f"frontier-0-{axis}"]["data"] if trace["mode"] != "none"]
        for axis in (0, 1)
    )
    own, adam, _ = passes
    assert (own["x"], own["y"]) == ([1.0, 2.0], [4.0, 3.0]), "the prior is left out"
    assert adam["name"] == "adam, rate 0.05, from the model"
    assert seconds[1]["x"] == [0.0, 0.01]
    assert figures["gradients-0"]["data"][0]["y"] == [2.0, 1.0, 2.0 / 3]
    assert figures["dimensions-0"]["data"][0]["y"] == [3.0, 1.0, 0.002]
    shown, *paths = figures["surface-0-0"]["data"]
    assert shown["z"] == [[-150.0, -90.0], [-100.0, -95.0]], "what is far below the top is cut"
    assert [path["x"][0] for path in paths] == [1.0, 0.0, 1.0], "the model's own above the refiner's"
    words = without_plotly(page)
    assert words.count("said of all") == 1
    assert "posterior collapse of level 2" in words
    assert "−85.50 (ais)" in words


def test_a_surface_without_its_heights_is_refused(tmp_path: Path) -> None:
    trained, evaluated = bundles(tmp_path, "iterative", -90.0, 3, (4, 4))
    with np.load(evaluated / "arrays.npz") as file:
        arrays = dict(file)
    np.savez(evaluated / "arrays.npz", **arrays, surface_axis=np.zeros(2))
    with pytest.raises(ReportError, match="surface_heights"):
        ModelReport.read("m", trained, evaluated)


def test_the_lead_says_which_is_above(tmp_path: Path, models: tuple[ModelReport, ModelReport]) -> None:
    standard, iterative = models
    gain = iterative.evaluation.elbo - standard.evaluation.elbo
    right = without_plotly(build(tmp_path / "r.html", standard=standard, iterative=iterative).read_text())
    assert f"{gain:.2f} above the standard model" in right
    wrong = without_plotly(build(tmp_path / "w.html", standard=iterative, iterative=standard).read_text())
    assert f"{gain:.2f} below the iterative model" in wrong


def test_strings_from_outside_are_escaped(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script><b>&'
    model = ModelReport.read(evil, *bundles(tmp_path, "standard", -90.0, 1, (4, 4)))
    page = without_plotly(build_single(tmp_path / "r.html", model=model, title=evil).read_text())
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert evil not in page


def test_rows_that_are_no_pictures_are_said_to_be_none(tmp_path: Path) -> None:
    model = ModelReport.read("words", *bundles(tmp_path, "iterative", -50.0, 2, (12,)))
    page = without_plotly(build_single(tmp_path / "r.html", model=model).read_text())
    assert page.count("Rows of shape (12,) are not pictures") == 2
    assert "<img" not in page


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3)])
def test_a_sheet_holds_the_pixels(shape: tuple[int, ...]) -> None:
    rows = np.arange(4 * np.prod(shape), dtype=np.float32).reshape(4, -1)
    levels = images.grey_levels(rows, 0.0, float(rows.max()))
    uri = images.sheet(levels, shape, columns=3)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert picture.shape == (2 * 3 + 1, 3 * 5 + 2, 4)
    expected = np.broadcast_to(levels[3].reshape(3, 5, -1), (3, 5, 3))
    assert (picture[4:, :5, :3] == expected).all()
    assert (picture[4:, 5:, 3] == 0).all()


def test_grey_levels_clip_and_survive_a_constant() -> None:
    assert images.grey_levels(np.array([[-1.0, 0.0, 0.5, 1.0, 9.0]]), 0.0, 1.0).tolist() == [
        [0, 0, 128, 255, 255]
    ]
    assert images.grey_levels(np.zeros((1, 2)), 0.0, 0.0).tolist() == [[0, 0]]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    trained, evaluated = bundles(tmp_path, "iterative", -90.0, 3, (4, 4))
    broken = json.loads((evaluated / "metrics.json").read_text())
    del broken["iwae"]["samples"]
    broken["kl"] = "much"
    (evaluated / "metrics.json").write_text(json.dumps(broken))
    with pytest.raises(ReportError, match=r"(?s)kl: .*evaluation\.iwae\.samples: "):
        ModelReport.read("m", trained, evaluated)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    trained, evaluated = bundles(tmp_path, "iterative", -90.0, 3, (4, 4))
    text = (evaluated / "metrics.json").read_text()
    (evaluated / "metrics.json").write_text(text.replace('"kl": 20.0', '"kl": NaN'))
    with pytest.raises(ReportError, match=r"evaluation\.kl: .*finite"):
        ModelReport.read("m", trained, evaluated)


@pytest.mark.parametrize("damage", ["missing", "truncated", "shape"])
def test_damaged_arrays_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    trained, evaluated = bundles(tmp_path, "iterative", -90.0, 3, (4, 4))
    path = evaluated / "arrays.npz"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    else:
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "originals": arrays["originals"][:, 1:]})
    with pytest.raises(ReportError, match=r"arrays\.npz"):
        ModelReport.read("m", trained, evaluated)


@pytest.mark.parametrize(("worst", "limit"), [(1.0, 2e-5), (0.95, None)])
def test_checks_are_those_of_the_gate(tmp_path: Path, worst: float, limit: float | None) -> None:
    checks = {check.name: check for check in EncodingReport.read(*encode_bundles(tmp_path, worst)).checks}
    assert set(checks) == {
        "one step after 0, worst row",
        "q after 5 iterations, median row",
        "ELBO after 5 iterations, worst row",
        "batch of 3 against all rows, median row",
    }
    assert checks["one step after 0, worst row"] == Check(
        name="one step after 0, worst row", file=2e-6, model=5e-6, limit=limit
    )
    assert checks["q after 5 iterations, median row"].limit == 1e-5


@pytest.mark.parametrize("damage", ["no shards", "truncated shard", "not finite", "no limits"])
def test_a_damaged_encoding_is_refused(tmp_path: Path, damage: str) -> None:
    encoded, exported = encode_bundles(tmp_path)
    shard = encoded / "shard-00001.parquet"
    if damage == "no shards":
        for path in encoded.iterdir():
            path.unlink()
    elif damage == "truncated shard":
        shard.write_bytes(shard.read_bytes()[:50])
    elif damage == "not finite":
        pq.write_table(pa.table({"elbo": np.array([1.0, np.nan], np.float32)}), shard)
    else:
        (exported / "parity.json").write_text("{}")
    with pytest.raises(ReportError, match="parity" if damage == "no limits" else "encoded"):
        EncodingReport.read(encoded, exported)
