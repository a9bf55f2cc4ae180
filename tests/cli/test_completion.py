"""Shell completion: installed, quick, of words that are really there, and silent where nobody answers."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closegap.api.context import Context
from closegap.cli.app import build
from closegap.queue.queue import Queue
from closegap.settings import Settings
from tests.api.sealed import sealed_model
from tests.serving import brief, context, secret, url

from .conftest import Command

__all__ = ["brief", "context", "secret", "url"]

MOST_CPU_SECONDS = 0.3
"""Of one TAB, on the machine of the figures in docs/log.md; tests allow other machines twice that."""


@pytest.fixture
def settings(place: Path) -> Settings:
    """Those that the commands have."""
    return Settings.load()


def variables(line: str) -> dict[str, str]:
    """As bash sets them when a TAB ends a line."""
    last = str(len(line.split(" ")) - 1)
    return {"_CLOSEGAP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": last}


def completed(line: str) -> list[str]:
    """What bash is given for a line that a TAB ends."""
    said = CliRunner().invoke(build(), [], prog_name="closegap", env=variables(line))
    assert (said.exit_code, said.stderr) == (0, "")
    return said.stdout.split()


def test_words_that_are_known(place: Path) -> None:
    assert {"submit", "show", "schema", "set"} <= set(completed("closegap s"))
    assert completed("closegap ps --state ru") == ["running"]
    assert completed("closegap ps --kind e") == ["evaluate", "export", "encode"]
    assert completed("closegap schema tr") == ["train"]
    assert completed("closegap --cont") == ["--context"]


def test_what_is_in_the_store_and_silence_where_there_is_none(
    closegap: Command, train: str, queue: Queue, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    job = closegap("submit", train).out.strip()
    assert completed("closegap show tr") == [job]
    assert completed("closegap cancel sm") == ["small"]
    assert completed("closegap projects d") == ["default"]
    monkeypatch.setenv("CLOSEGAP_HOME", str(place / "nowhere"))
    assert completed("closegap show tr") == []


def test_what_a_service_has_and_silence_where_it_is_away(
    closegap: Command, url: str, secret: Callable[..., str], train: str, context: Context
) -> None:
    assert closegap("login", url, "--name", "team", stdin=secret("admin")).code == 0
    job = closegap("submit", train).out.strip()
    context.registry("default").register("mine", sealed_model(context.artifacts), "train-1", 1)
    context.registry("default").set_alias("mine", "best", 1, "me")
    assert completed("closegap wait tr") == [job]
    assert completed("closegap models mi") == ["mine", "mine@best"]
    assert completed("closegap context use t") == ["team"]
    assert completed("closegap --context te") == ["team"]
    assert completed("closegap --context local models m") == ["mine", "mine@best"]
    assert completed("closegap --context no-such show tr") == []
    assert closegap("login", url, "--name", "wrong", "--token-file", "none").code == 2
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "closegap" / "config.toml"
    file.write_text(file.read_text().replace(url, "http://127.0.0.1:1"))
    assert completed("closegap wait tr") == []
    file.write_text("nonsense")
    assert completed("closegap wait tr") == []


def test_a_tab_takes_little(place: Path) -> None:
    def press() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", "from closegap.cli import main; main()"],
            env={**os.environ, **variables("closegap ps --state ru")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("running\n", "")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    took = min(press(), press())  # the first may write bytecode
    print(f"a TAB takes {took:.2f} s of CPU")
    assert took < 2 * MOST_CPU_SECONDS


def test_bash_completes_by_what_is_shown(closegap: Command, place: Path) -> None:
    """The script of `--show-completion`, run by a real bash."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    folder = place / "bin"
    folder.mkdir()
    command = folder / "closegap"
    command.write_text(f"#!{sys.executable}\nfrom closegap.cli import main\nmain()\n")
    command.chmod(0o755)
    said = subprocess.run(
        [str(command), "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_CLOSEGAP_COMPLETE=complete_bash" in said.stdout
    script = (
        f"{said.stdout}\nCOMP_WORDS=(closegap ps --state ru); COMP_CWORD=3\n"
        "$(complete -p closegap | sed 's/.*-F \\([^ ]*\\) .*/\\1/') closegap ru --state\n"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["running"], done.stderr
