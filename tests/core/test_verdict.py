"""What an evaluation says in words, from figures that call for it and from figures that do not."""

from __future__ import annotations

from typing import Any

import pytest

from closegap_core.measure.verdict import of_evaluation, of_gaps


def part(amortization: float, width: float | None = 0.01) -> dict[str, Any]:
    certificate = None if width is None else {"width": {"value": width}}
    return {
        "amortization_gap": {"value": amortization, "standard_error": 0.05},
        "certificate": certificate,
    }


def figures(**changes: Any) -> dict[str, Any]:
    """Of a model with which nothing is wrong."""
    sound = {
        "iterations": 5,
        "elbo_by_iteration": [{"iteration": t} for t in range(11)],
        "after_iterations": {"value": 0.04, "standard_error": 0.01},
        "active_units": {"count": 12, "threshold": 0.01, "variance": [0.5] * 12 + [0.0] * 20},
        "kl_by_level": [{"level": 1, "active_units": 8}, {"level": 2, "active_units": 4}],
        "gaps": {"train": part(1.0), "test": part(1.05)},
    }
    return sound | changes


def test_of_a_sound_model_nothing_is_said() -> None:
    assert of_evaluation(figures()) == []
    assert of_evaluation(figures(gaps=None, after_iterations=None, kl_by_level=None)) == []


def test_collapse_is_said_of_a_model_of_a_level_and_in_part() -> None:
    none = {"count": 0, "threshold": 0.01, "variance": [0.0] * 32}
    few = {**none, "count": 3}
    dead = [{"level": 1, "active_units": 12}, {"level": 2, "active_units": 0}]
    assert of_evaluation(figures(active_units=none)) == ["posterior collapse: no dimension of z depends on x"]
    assert of_evaluation(figures(active_units=few)) == [
        "posterior collapse in part: 3 of 32 dimensions of z depend on x"
    ]
    [said] = of_evaluation(figures(kl_by_level=dead))
    assert said.startswith("posterior collapse of level 2")


def test_what_happens_beyond_t_is_said_once_it_is_sure() -> None:
    def said(value: float, error: float) -> list[str]:
        return of_evaluation(figures(after_iterations={"value": value, "standard_error": error}))

    assert said(0.5, 0.1) == ["not converged at T = 5: iteration 10 is 0.50 nats better"]
    assert said(-0.5, 0.1) == ["unstable beyond T = 5: iteration 10 is 0.50 nats worse"]
    assert said(0.5, 0.4) == []


def test_an_encoder_that_overfits_is_said_to() -> None:
    assert of_evaluation(figures(gaps={"train": part(1.0), "test": part(1.6)})) == [
        "the encoder overfits: its amortization gap is 1.00 nats on train rows and 1.60 on test rows"
    ]
    assert of_evaluation(figures(gaps={"test": part(1.6)})) == []


def test_a_loose_or_missing_certificate_is_said_once() -> None:
    loose = of_evaluation(figures(gaps={"train": part(1.0, 0.5), "test": part(1.0, 0.5)}))
    assert loose == [
        "the estimator of log p(x) is not tight: certified only to 0.5 nats; use more temperatures"
    ]
    [missing] = of_evaluation(figures(gaps={"test": part(1.0, None)}))
    assert "no certificate" in missing


@pytest.mark.parametrize(("family", "said"), [("gaussian", 2), ("auxiliary_flow", 0)])
def test_what_q_star_lacks_is_said_where_gaps_are_measured_from_it(family: str, said: int) -> None:
    """Those of a model whose q is a flow are measured from each row's own flow."""
    found = {
        **part(1.0),
        "rows": 50,
        "family": family,
        "approximation_gap": {"value": 0.5},
        "optimal_elbo": {"unfinished_rows": 3, "shortfall": {"value": 0.3, "standard_error": 0.01}},
        "optimal_flow_elbo": None,
    }
    *lacking, larger = of_gaps(found)
    assert len(lacking) == said
    assert all("amortization gap" in words for words in lacking)
    assert larger == "the amortization gap is the larger part (1.00 nats)"
