"""The person's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.settings import Notice, Settings, read_settings, settings_path


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none.toml") == Settings()
    (tmp_path / "file").touch()
    assert read_settings(tmp_path / "file" / "engine" / "settings.toml") == Settings()


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read_settings(write(tmp_path, "")) == Settings()
    assert read_settings(write(tmp_path, "[notice]\n")) == Settings()


def test_all_that_can_be_set(tmp_path: Path) -> None:
    text = '[notice]\ncommand = "say ü"\nwebhook = "https://example.org/x"\nbell = true\non = ["failed"]\n'
    assert read_settings(write(tmp_path, text)).notice == Notice("say ü", "https://example.org/x", True, ("failed",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[notise]\n", "notise"), ("[notice]\ncomand = 'x'\n", "comand"), ("[notice]\nbell = 'yes'\n", "notice.bell"),
        ("[notice]\non = ['sometimes']\n", "notice.on"), ("notice = 3\n", "notice"), ("[notice\n", "isn't TOML"),
        ("[notice]\nwebhook = 'file:///etc/passwd'\n", "notice.webhook"), ("#" * 200_000, "too large"),
    ],
)
def test_what_cant_be_meant_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(EngineError) as caught:
        read_settings(path)
    [problem] = caught.value.problems
    assert (problem.code, problem.where.path) == ("E110", str(path))
    assert told in problem.found


def test_rubbish_and_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineError, match="isn't TOML"):
        read_settings(tmp_path / "settings.toml")
    with pytest.raises(EngineError, match="can't be read"):
        read_settings(tmp_path)


def test_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "engine" / "settings.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert settings_path() == Path(os.path.expanduser("~/.config/engine/settings.toml"))  # noqa: PTH111
