"""Numbers and rows as people read them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from closegap.cli import words
from closegap.cli.board import PlainBoard, Row, bars, sentence
from closegap.cli.exits import ExitCode, of_states

ROWS = [
    Row(
        "1",
        "train-iterative",
        "train",
        "running",
        30,
        100,
        "step",
        33.2,
        12.0,
        "ELBO -98.20 on validation rows",
    ),
    Row("2", "evaluate-iterative", "evaluate", "blocked", note="waits for [its] needs"),
    Row("3", "encode", "encode", "succeeded"),
]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"),
     (7500, "2:05 h"), (300_000, "3.5 d")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("5 min", 300), ("2h", 7200)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert words.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "3 weeks"])
def test_other_words_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        words.seconds_of(text)


def test_rates() -> None:
    assert [words.rate(value, "row") for value in (None, 0.0, 0.123, 1234.5)] == [
        "",
        "",
        "0.12 rows/s",
        "1,234 rows/s",
    ]
    assert words.rate(20.0, "pass") == "20 passes/s"


@pytest.mark.parametrize("width", [80, 120])
def test_bars_keep_names_states_and_shares_whole(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(bars(ROWS, width))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line) for line in lines) <= width
    for words_of_line, line in zip((("train-iterative", "running", "30 %", "eta 12 s", "ELBO -9"),
                                    ("evaluate-iterative", "blocked", "waits for [its]"),
                                    ("encode", "succeeded", "100 %")), lines, strict=True):  # fmt: skip
        for word in words_of_line:
            assert word in line


def test_plain_lines_say_changes_once(capsys: pytest.CaptureFixture[str]) -> None:
    board = PlainBoard()
    board.show(ROWS)
    board.show(ROWS)
    assert capsys.readouterr().err.splitlines() == [sentence(row) for row in ROWS]


def test_one_exit_code_for_several_jobs() -> None:
    assert of_states(["succeeded", "failed", "running"]) is ExitCode.NOT_FINISHED
    assert of_states(["succeeded", "failed", "cancelled"]) is ExitCode.FAILED
    assert of_states(["succeeded", "cancelled"]) is ExitCode.CANCELLED
    assert of_states(["succeeded"]) is ExitCode.SUCCEEDED
