"""Which service is asked, and how what a user has logged in to is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from closegap import Client, ClientError
from closegap.access import contexts
from closegap.access.contexts import LOCAL, Chosen, Context, Contexts, chosen
from closegap.errors import NotFound, SettingsError
from closegap.settings import ClientSettings, environment

TEAM = Context(url="https://team.example.org", token=SecretStr("cg_team"), project="vision")
LAB = Context(url="http://127.0.0.1:8421", token=SecretStr("cg_lab"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClientSettings:
    """With a file that knows two services, `team` in use."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = ClientSettings.load()
    contexts.write(found.contexts_file, Contexts().with_context("lab", LAB).with_context("team", TEAM))
    return found


def which(**changes: str) -> Chosen | None:
    return chosen(ClientSettings.load(**changes))


def test_the_file_keeps_secrets_from_others_and_is_written_whole(settings: ClientSettings) -> None:
    file = settings.contexts_file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert contexts.read(file) == Contexts(current="team", contexts={"lab": LAB, "team": TEAM})
    assert 'token = "cg_team"' in file.read_text()
    assert "cg_team" not in repr(contexts.read(file))
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="other users can read it: chmod 600"):
        contexts.read(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("current = ", "is not TOML"),
        ("surplus = 1", "surplus: Extra inputs"),
        ('[contexts."a b"]\nurl = "http://x"', "contexts"),
        ("[contexts.a]\ntoken = 'x'", "contexts.a.url: Field required"),
    ],
)
def test_a_file_that_is_not_valid_is_told(settings: ClientSettings, text: str, said: str) -> None:
    settings.contexts_file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        which()


def test_the_first_that_is_given_is_meant(settings: ClientSettings) -> None:
    assert which() == Chosen(name="team", context=TEAM)
    assert which(context="lab") == Chosen(name="lab", context=LAB)
    assert which(context=LOCAL) is None
    assert chosen(ClientSettings.load(url="http://x", context="lab"), "team") == Chosen(
        name="team", context=TEAM
    )
    assert which(url="http://x", context="lab") == Chosen(name="", context=Context(url="http://x"))
    with pytest.raises(NotFound, match="there are: lab, team"):
        which(context="other")


def test_the_environment_wins_and_no_token_goes_elsewhere(
    settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_TOKEN", "cg_mine")
    monkeypatch.setenv("CLOSEGAP_PROJECT", "sound")
    found = which()
    assert found is not None
    assert (found.context.url, found.context.secret(), found.context.project) == (
        TEAM.url,
        "cg_mine",
        "sound",
    )
    assert "CLOSEGAP_TOKEN" not in environment(), "a user's token is for no attempt"
    monkeypatch.delenv("CLOSEGAP_TOKEN")
    monkeypatch.setenv("CLOSEGAP_URL", "http://elsewhere")
    found = which()
    assert found is not None
    assert found.context.secret() is None
    assert found.context.project == "sound"


def test_names_and_what_is_in_use(settings: ClientSettings) -> None:
    known = contexts.read(settings.contexts_file)
    assert known.without("team") == Contexts(current=None, contexts={"lab": LAB})
    assert known.without("lab").current == "team"
    assert known.using("lab").current == "lab"
    assert known.using(LOCAL).current is None
    for name in ("", "a b", LOCAL, "../x"):
        with pytest.raises(SettingsError, match="is no name"):
            known.with_context(name, LAB)
    with pytest.raises(NotFound):
        known.using("other")


def test_a_token_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "token"
    context = Context(url="http://x", token_file=file)
    with pytest.raises(SettingsError, match="cannot be read"):
        context.secret()
    file.write_text("cg_kept\n")
    file.chmod(0o600)
    assert context.secret() == "cg_kept"
    file.write_text("two\nlines")
    with pytest.raises(SettingsError, match="that is no token") as caught:
        context.secret()
    assert "lines\n" not in str(caught.value)
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        context.secret()


def test_a_client_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ClientError, match="closegap login URL"):
        Client.from_env()
    monkeypatch.setenv("CLOSEGAP_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("CLOSEGAP_PROJECT", "vision")
    with Client.from_env() as client:
        assert (client.connection.url, client.project) == ("http://127.0.0.1:1", "vision")


@pytest.mark.parametrize("home", ["", "relative/folder"])
def test_a_folder_of_settings_that_is_not_absolute_is_passed_over(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", home)
    assert ClientSettings.load().contexts_file == Path("~/.config/closegap/config.toml").expanduser()


def test_the_client_is_loaded_only_when_it_is_asked_for() -> None:
    code = (
        "import sys, closegap; heavy = ('httpx', 'pydantic', 'rich', 'pandas', 'numpy', 'fastapi', 'redis');"
        "print([name for name in heavy if name in sys.modules]); from closegap import Client, JobFailed;"
        "print([name for name in heavy if name in sys.modules]); assert 'Client' in dir(closegap)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n['httpx', 'pydantic', 'rich']\n", "rich comes with httpx"
    with pytest.raises(ImportError):
        from closegap import Nothing  # type: ignore[attr-defined]  # noqa: F401
