"""Comparisons: what may stand in one ranking, and that table, picture and page tell what was measured."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from PIL import Image

from closegap_core.config import ComparisonConfig, EntryConfig
from closegap_core.config.comparison import PointConfig
from closegap_core.report.comparison.build import build, read_table
from closegap_core.report.comparison.figures import KINDS, draw
from closegap_core.report.comparison.guard import FIELDS
from closegap_core.report.comparison.inputs import ComparisonError, read
from closegap_core.report.comparison.panel import BarPanel, CurvePanel, Panel, around
from closegap_core.report.comparison.quantity import QUANTITIES
from closegap_core.report.comparison.table import Table, table

SIDE = 6
IDENTITY = {
    "likelihood": "bernoulli", "source": "digits", "data_digest": "ab" * 32, "draw": "binarise", "part": "test",
    "rows": 50, "rows_digest": "cd" * 32, "samples": 10, "importance_samples": 500, "seed": 0,
}  # fmt: skip


def figure(value: float, error: float = 0.4) -> dict[str, float]:
    return {"value": value, "standard_error": error, "estimator_error": 0.01}


def gap_report(elbo: float) -> dict[str, Any]:
    gaps = {"approximation_gap": 1.5, "amortization_gap": 2.0, "inference_gap": 3.5, "flow_gain": 0.7}
    bounds = {
        "elbo": elbo,
        "optimal_elbo": elbo + 2,
        "optimal_flow_elbo": elbo + 2.7,
        "log_evidence": elbo + 3.5,
    }
    return {name: figure(value) for name, value in {**gaps, **bounds, "flow_approximation_gap": 0.8}.items()}


def frontier(elbo: float) -> dict[str, Any]:
    def line(refiner: dict[str, Any] | None, gap: float) -> dict[str, Any]:
        points = [
            {"step": s, "passes": s, "seconds": s * 1e-4, "elbo": elbo - gap / (1 + s), "standard_error": 0.5,
             "gap": gap / (1 + s), "gap_standard_error": 0.1}
            for s in (0, 1, 2, 5, 10)
        ]  # fmt: skip
        return {"start": "prior", "refiner": refiner, "samples": 1, "points": points}

    slow, fast = ({"kind": "adam", "learning_rate": rate} for rate in (0.001, 0.1))
    sgd = {"kind": "sgd", "learning_rate": 0.1}
    return {"passes": 10, "lines": [line(None, 1.0), line(slow, 40.0), line(fast, 8.0), line(sgd, 30.0)]}


def metrics(elbo: float, **identity: Any) -> dict[str, Any]:
    steps = [{"step": s, "elbo": elbo + 2 - 60 * 0.8**s, "standard_error": 0.5} for s in (0, 1, 2, 5, 10)]
    points = [{"iteration": t, "elbo": elbo - 50 * 0.2**t, "standard_error": 0.5} for t in range(7)]
    return {
        "identity": {**IDENTITY, **identity}, "elbo": elbo, "elbo_standard_error": 0.5, "log_likelihood": elbo + 9,
        "kl": 9.0, "iwae": figure(elbo + 3), "elbo_by_iteration": points, "active_units": {"count": 5},
        "refinement": {"kind": "adam", "from_prior": steps, "from_encoder": steps, "best": elbo + 2},
        "bits_per_dimension": {"elbo": figure(5.823, 0.001), "iwae": figure(5.64, 0.03)},
        "perplexity": {"elbo": figure(377.4), "iwae": figure(323.0)},
        "iterations": 3,
        "gradient_by_iteration": [{"iteration": t, "mean": 3.0 / (1 + t), "log_var": 0.5} for t in range(7)],
        "frontier": frontier(elbo),
        "surface": {
            "dimensions": [0, 1], "objective": "elbo", "paths": [None, {"kind": "adam", "learning_rate": 0.1}],
        },
        "gaps": {part: gap_report(elbo) for part in ("train", "valid", "test")},
    }  # fmt: skip


def evaluation(
    folder: Path, name: str, elbo: float, by_row: np.ndarray | None = None, **identity: Any
) -> Path:
    """A bundle's files, as `evaluate` writes them."""
    place = folder / name
    place.mkdir()
    (place / "metrics.json").write_text(json.dumps(metrics(elbo, **identity)))
    images = np.random.default_rng(0).random((10, SIDE * SIDE), np.float32)
    kept = {} if by_row is None else {"rows_elbo": by_row}
    np.savez(
        place / "arrays.npz", **kept, originals=images,
        reconstructions=np.stack([images * t / 3 for t in range(4)]), prior_samples=images,
        shape=np.array([SIDE, SIDE]), surface_axis=np.linspace(-1, 1, 9),
        surface_heights=-np.add.outer([0, 1], np.add.outer(np.arange(9.0), np.arange(9.0))),
        surface_optimum=np.zeros((2, 2)), surface_path_0=np.ones((2, 4, 2)), surface_path_1=np.ones((2, 7, 2)),
    )  # fmt: skip
    return place


def compared(folder: Path, *entries: tuple[dict[str, Any], Path], **config: Any) -> Table:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    settings = ComparisonConfig.model_validate({"title": "Both", **config})
    return build(settings, [(EntryConfig.model_validate(entry), place) for entry, place in entries], out)


@pytest.fixture
def pair(tmp_path: Path) -> list[tuple[dict[str, Any], Path]]:
    return [
        (
            {"label": "standard", "published": {"elbo": -87.41}},
            evaluation(tmp_path, "a", -120.34),
        ),
        (
            {
                "label": "iterative",
                "series": "∇",
                "at": 5,
                "published": {"elbo": [-86.58, 0.03], "iwae": "n/s"},
            },
            evaluation(tmp_path, "b", -118.1),
        ),
    ]


def test_the_table_tells_errors_differences_and_the_best(
    tmp_path: Path, pair: list[tuple[dict[str, Any], Path]]
) -> None:
    found = compared(tmp_path, *pair, scale="small", published_in="figure 7a")
    assert [found.cells(line) for line in found.lines] == [
        ["−120.34 ± 0.50", "", "−87.41", ""],
        ["−117.34 ± 0.40", "", "–", ""],
        ["−118.10 ± 0.50", "+2.24", "−86.58 ± 0.03", "+0.83"],
        ["−115.10 ± 0.40", "+2.24", "n/s", ""],
    ]
    assert [line.best for line in found.lines] == [False, False, True, True]
    assert found.footnotes[:3] == [
        "Scale small.",
        "digits, 50 test rows, binarised by one draw; 10 samples each ELBO, 500 each IWAE bound.",
        "Published: figure 7a.",
    ]
    assert read_table(tmp_path / "out") == found
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| iterative | ELBO (nats) | **−118.10 ± 0.50** | +2.24 | −86.58 ± 0.03 | +0.83 |" in text


def test_without_published_figures_there_is_no_column_for_them(tmp_path: Path) -> None:
    found = compared(tmp_path, ({"label": "only"}, evaluation(tmp_path, "a", -3.0)), columns=["elbo"])
    assert found.heads == ["ELBO (nats)"]
    assert [found.cells(line) for line in found.lines] == [["−3.00 ± 0.50"]]


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_what_is_not_comparable_is_refused_with_both_values(tmp_path: Path, field: str) -> None:
    ours = IDENTITY[field]
    theirs = ours + 1 if isinstance(ours, int) else "none"
    entries = [
        ({"label": "first"}, evaluation(tmp_path, "a", -3.0)),
        ({"label": "second"}, evaluation(tmp_path, "b", -3.0, **{field: theirs})),
    ]
    told = rf"`first` and `second` have different .*identity\.{field} is {json.dumps(ours)} and {json.dumps(theirs)}"
    with pytest.raises(ComparisonError, match=told):
        compared(tmp_path, *entries)
    assert not list((tmp_path / "out").iterdir())
    apart = [({**entry, "group": entry["label"]}, place) for entry, place in entries]
    assert all(line.difference is None for line in compared(tmp_path, *apart).lines)


def test_other_samples_of_the_elbo_are_no_obstacle(tmp_path: Path) -> None:
    entries = [
        ({"label": "first"}, evaluation(tmp_path, "a", -3.0)),
        ({"label": "second"}, evaluation(tmp_path, "b", -2.0, samples=1)),
    ]
    assert compared(tmp_path, *entries).lines[-1].difference == pytest.approx(1.0)


def test_the_error_of_a_difference_is_paired_by_rows(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    hard = 30 * generator.standard_normal(50)  # rows differ far more than models do
    ours, theirs = (
        hard - 3 + 0.1 * generator.standard_normal(50),
        hard - 2 + 0.1 * generator.standard_normal(50),
    )
    entries = [
        ({"label": "first"}, evaluation(tmp_path, "a", float(ours.mean()), ours)),
        ({"label": "second"}, evaluation(tmp_path, "b", float(theirs.mean()), theirs)),
    ]
    found = compared(tmp_path, *entries).lines
    assert [line.quantity for line in found if line.difference_error] == ["elbo"]
    (line,) = (line for line in found if line.difference_error)
    assert line.difference_error == pytest.approx(np.std(theirs - ours, ddof=1) / np.sqrt(50))
    assert line.difference_error < 0.03 < line.difference


def test_the_error_of_a_difference_of_perplexities_is_that_of_their_exponents(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    ours = 6 + 0.1 * generator.standard_normal(50)  # nats a word
    theirs = ours + 0.2 + 0.01 * generator.standard_normal(50)
    places = [evaluation(tmp_path, name, -3.0) for name in "ab"]
    for place, rows in zip(places, (ours, theirs), strict=True):
        with np.load(place / "arrays.npz") as file:
            np.savez(place / "arrays.npz", **dict(file), rows_elbo_in_unit=rows)
        found = json.loads((place / "metrics.json").read_text())
        found["perplexity"]["elbo"]["value"] = float(np.exp(rows.mean()))
        (place / "metrics.json").write_text(json.dumps(found))
    entries = [({"label": place.name}, place) for place in places]
    line = compared(tmp_path, *entries, columns=["perplexity"]).lines[-1]
    draws = generator.integers(50, size=(4000, 50))  # the bootstrap
    differences = np.exp(theirs[draws].mean(-1)) - np.exp(ours[draws].mean(-1))
    assert line.difference == pytest.approx(np.exp(theirs.mean()) - np.exp(ours.mean()))
    assert line.difference_error == pytest.approx(differences.std(), rel=0.1)


def test_a_difference_is_from_the_first_that_has_the_figure(tmp_path: Path) -> None:
    columns = (["elbo"], ["iwae"], ["iwae"])
    entries = [
        ({"label": name, "columns": shown}, evaluation(tmp_path, name, elbo))
        for name, shown, elbo in zip("abc", columns, (-5.0, -3.0, -2.0), strict=True)
    ]
    assert [line.difference for line in compared(tmp_path, *entries).lines] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("published", "text"),
    [(-20, "−20"), ([285.0, 0.1], "285.0 ± 0.1"), ([-82.457, 0.001], "−82.457 ± 0.001"), (377.4, "377.4")],
)
def test_what_was_published_keeps_its_digits(tmp_path: Path, published: object, text: str) -> None:
    entry = {"label": "a", "published": {"elbo": published}}
    found = compared(tmp_path, (entry, evaluation(tmp_path, "a", -3.0)), published_in="x")
    assert found.lines[0].published_text == text


def panels(kind: str, entry: dict[str, Any], place: Path) -> dict[str, Panel]:
    config = ComparisonConfig.model_validate({"title": "One", "figure": kind, "columns": ["frontier.elbo"]})
    drawn = draw(config, [read(EntryConfig.model_validate(entry), place)])
    return {panel.title: panel for panel in drawn.panels}


def test_published_gaps_have_a_panel_of_their_own(tmp_path: Path) -> None:
    told = {"train.approximation_gap": 1.43, "train.amortization_gap": 1.34}
    found = panels("gaps", {"label": "a", "group": "g", "published": told}, evaluation(tmp_path, "a", -3.0))
    assert list(found) == ["g, train rows", "g, valid rows", "g, test rows", "published, train rows"]
    published = found["published, train rows"]
    assert isinstance(published, BarPanel)
    assert [stack.values for stack in published.stacks] == [(1.43,), (1.34,)]


def test_a_published_line_looks_like_the_measured_one_of_its_kind(tmp_path: Path) -> None:
    entry = {"label": "a", "point": {"line": "adam", "passes": 16}, "published": {"frontier.elbo": -90}}
    found = panels("frontier", entry, evaluation(tmp_path, "a", -3.0))
    measured, published = found["measured, by passes"], found["published"]
    assert isinstance(measured, CurvePanel)
    assert isinstance(published, CurvePanel)
    (theirs,) = published.curves
    (ours,) = (curve for curve in measured.curves if curve.name.startswith("Adam"))
    assert (theirs.name, theirs.colour, theirs.dash) == ("Adam", ours.colour, ours.dash)


def altered(place: Path, **changes: Any) -> Path:
    """The same evaluation with other parts of its metrics."""
    path = place / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return place


def of_one_pass(elbo: float, rows: int = 50) -> dict[str, Any]:
    """The frontier of a one-pass encoder, whose own line costs nothing."""
    found = frontier(elbo)
    own = found["lines"][0]
    own["points"] = [point | {"passes": 0} for point in own["points"][:2]]
    return {**found, "rows": rows}


def test_what_costs_no_pass_is_not_drawn(tmp_path: Path) -> None:
    place = altered(evaluation(tmp_path, "a", -3.0), frontier=of_one_pass(-3.0))
    entry = {"label": "a", "point": {"passes": 0}}
    compared(tmp_path, (entry, place), columns=["frontier.gap"], figure="frontier")
    measured = panels("frontier", entry, place)["measured, by passes"]
    assert isinstance(measured, CurvePanel)
    assert [curve.name.split(",")[0] for curve in measured.curves] == ["Adam", "SGD"]
    nothing = of_one_pass(-3.0) | {"lines": of_one_pass(-3.0)["lines"][:1]}
    with pytest.raises(ComparisonError, match="no line of the frontier of `a` costs a decoder pass"):
        panels("frontier", entry, altered(place, frontier=nothing))


def test_a_line_may_be_published_that_another_entry_measured(tmp_path: Path) -> None:
    own, _, _, sgd = of_one_pass(-3.0)["lines"]
    first = altered(evaluation(tmp_path, "a", -3.0), frontier=of_one_pass(-3.0) | {"lines": [own, sgd]})
    told = {"point": {"line": "adam", "passes": 10}, "published": {"frontier.elbo": -90}}
    second = altered(evaluation(tmp_path, "b", -2.0), frontier=of_one_pass(-2.0))
    entries = [
        read(EntryConfig.model_validate(entry), place)
        for entry, place in (
            ({"label": "a", "point": {"passes": 0}}, first),
            ({"label": "b", **told}, second),
        )
    ]
    config = ComparisonConfig.model_validate({"title": "Two", "figure": "frontier", "published_in": "x"})
    published = draw(config, entries).panels[-1]
    assert isinstance(published, CurvePanel)
    assert [curve.name for curve in published.curves] == ["Adam"]


def test_frontiers_of_two_evaluations_are_told_apart_and_shown_close(tmp_path: Path) -> None:
    config = ComparisonConfig.model_validate({"title": "Two", "figure": "frontier"})
    entries = [read(EntryConfig(label=name), evaluation(tmp_path, name, -3.0)) for name in "ab"]
    drawn = draw(config, [*entries, entries[0]]).panels
    assert [panel.title for panel in drawn] == [
        "a, by passes",
        "a, by seconds",
        "b, by passes",
        "b, by seconds",
    ]
    far = evaluation(tmp_path, "far", -3.0)
    lines = [line | {"points": line["points"][1:]} for line in frontier(-3.0)["lines"][1:]]
    own = frontier(-3.0)["lines"][0]
    own["points"][0]["elbo"] = -500.0  # the prior, which no line that costs anything begins at
    altered(far, frontier=frontier(-3.0) | {"lines": [own, *lines]})
    near = panels("frontier", {"label": "far"}, far)["measured, by passes"]
    assert isinstance(near, CurvePanel)
    assert near.y_range is not None
    assert -30.0 < near.y_range[0] < min(min(curve.y) for curve in near.curves)


@pytest.mark.parametrize("column", ["frontier.gap", "test.amortization_gap"])
def test_figures_of_other_numbers_of_rows_are_refused(tmp_path: Path, column: str) -> None:
    """Gaps and frontiers are of fewer rows than what the identity tells of."""

    def told(*counts: int) -> Table:
        entries = []
        for number, count in enumerate(counts):
            place = evaluation(tmp_path, f"{number} {count}", -3.0)
            gaps = {"test": gap_report(-3.0) | {"rows": count}}
            altered(place, gaps=gaps, frontier=frontier(-3.0) | {"rows": count})
            with np.load(place / "arrays.npz") as file:
                np.savez(place / "arrays.npz", **dict(file), rows_test_amortization_gap=np.ones(count))
            entries.append(read(EntryConfig(label=str(number), point=PointConfig(passes=5)), place))
        return table(ComparisonConfig(title="Two", columns=(column,)), entries)

    with pytest.raises(
        ComparisonError, match=r"of `1` is of 30 rows and that of `0` of 20; put them into diff"
    ):
        told(20, 30)
    found = told(10, 10)
    assert found.lines[1].difference == 0.0
    assert found.data[0].endswith("; gaps of 10 test rows; frontier of 10 rows.")


def test_gaps_of_different_parts_have_no_picture_together(tmp_path: Path) -> None:
    entries = [
        ({"label": part}, altered(evaluation(tmp_path, part, -3.0), gaps={part: gap_report(-3.0)}))
        for part in ("train", "test")
    ]
    with pytest.raises(
        ComparisonError, match="`train` of train rows, `test` of test rows: they have no part"
    ):
        compared(tmp_path, *entries, figure="gaps")


def test_the_surface_is_shown_around_its_paths() -> None:
    axis = np.linspace(-5, 5, 11)
    assert around([np.array([[0.0, 0.0], [2.0, 1.0]])], axis) == ((-0.5, 2.5), (-1.0, 2.0))
    assert around([np.array([[4.9, 0.0]])], axis) == ((3.0, 5.0), (-1.0, 1.0))
    assert around([np.array([[-90.0, 0.0], [90.0, 0.0]])], axis) == ((-5.0, 5.0), (-5.0, 5.0))


def test_lower_is_better_for_bits_and_perplexity(tmp_path: Path) -> None:
    entries = [({"label": name}, evaluation(tmp_path, name, -3.0)) for name in "ab"]
    path = entries[1][1] / "metrics.json"
    values = json.loads(path.read_text())
    values["perplexity"]["iwae"]["value"] = 285.0
    path.write_text(json.dumps(values))
    found = compared(tmp_path, *entries, columns=["perplexity_iwae"])
    assert [(line.label, line.best) for line in found.lines] == [("a", False), ("b", True)]
    assert found.lines[1].measured_text == "285.0 ± 0.4"


@pytest.mark.parametrize("name", sorted(QUANTITIES))
def test_every_quantity_is_one_that_a_spec_may_name_and_is_found(tmp_path: Path, name: str) -> None:
    about = EntryConfig(label="a", point=PointConfig(passes=5))
    entry = read(about, evaluation(tmp_path, "a", -3.0))
    found = table(ComparisonConfig(title="One", columns=(name,)), [entry])
    assert np.isfinite(found.lines[0].measured)


def test_a_figure_that_was_not_measured_is_named(tmp_path: Path) -> None:
    place = evaluation(tmp_path, "a", -3.0)
    values = metrics(-3.0)
    values["gaps"] = None
    (place / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(ComparisonError, match="the evaluation of `a` has no `gaps`"):
        compared(tmp_path, ({"label": "a"}, place), columns=["test.amortization_gap"])


def test_a_point_of_the_frontier_is_of_the_best_rate(tmp_path: Path) -> None:
    place = evaluation(tmp_path, "a", -3.0)
    entries = [
        ({"label": f"{line}, {passes}", "point": {"line": line, "passes": passes}}, place)
        for line, passes in (("model", 10), ("adam", 1), ("sgd", 10))
    ]
    found = compared(tmp_path, *entries, columns=["frontier.gap"], figure="frontier")
    assert [line.measured for line in found.lines] == pytest.approx([1 / 11, 4.0, 30 / 11])
    lost = {"label": "lost", "point": {"line": "adam", "passes": 3}}
    with pytest.raises(ComparisonError, match="not measured after 3 passes; it was after 0, 1, 2, 5, 10"):
        compared(tmp_path, (lost, place), columns=["frontier.gap"])
    lost["point"] = {"line": "rmsprop", "passes": 1}
    with pytest.raises(
        ComparisonError, match="no rmsprop from prior; it has model from prior, adam from prior, sgd"
    ):
        compared(tmp_path, (lost, place), columns=["frontier.gap"])


def test_an_entry_may_have_columns_of_its_own(tmp_path: Path) -> None:
    bits = {"group": "patches", "columns": ["bits_per_dimension_iwae"]}
    entries = [
        ({"label": "standard", "group": "digits"}, evaluation(tmp_path, "a", -3.0)),
        ({"label": "standard", **bits}, evaluation(tmp_path, "b", -2.0)),
        ({"label": "iterative", **bits}, evaluation(tmp_path, "c", -2.0)),
    ]
    found = compared(tmp_path, *entries, columns=["iwae"])
    assert [(line.group, line.quantity) for line in found.lines] == [
        ("digits", "iwae"),
        ("patches", "bits_per_dimension_iwae"),
        ("patches", "bits_per_dimension_iwae"),
    ]
    assert [line.difference for line in found.lines] == [None, None, 0.0]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_picture_is_drawn_in_both_forms(
    tmp_path: Path, pair: list[tuple[dict[str, Any], Path]], kind: str
) -> None:
    compared(tmp_path, *pair, figure=kind, published_in="figure 7a", scale="small")
    picture = Image.open(io.BytesIO((tmp_path / "out" / "figure.png").read_bytes()))
    assert picture.format == "PNG"
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    page = (tmp_path / "out" / "report.html").read_text()
    assert "://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    (drawn,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', page, flags=re.S)
    for chart in json.loads(drawn).values():
        assert plotly.graph_objects.Figure(chart).data
    assert "−118.10 ± 0.50" in page


def test_the_same_comparison_is_the_same_bytes(
    tmp_path: Path, pair: list[tuple[dict[str, Any], Path]]
) -> None:
    names = ("table.json", "table.md", "figure.png", "report.html")
    compared(tmp_path, *pair, published_in="x")
    first = [(tmp_path / "out" / name).read_bytes() for name in names]
    compared(tmp_path, *pair, published_in="x")
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == first
