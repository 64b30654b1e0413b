"""Promises between the parts: what a quick command may load, what every command and recipe must be."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.main import _COMMANDS, _suggestion, cli
from engine.preflight import preflight
from tests.builders import REPOSITORY, process_environment
from tests.engine.cli.conftest import Ask, engine  # noqa: F401 - the fixture by its name

HEAVY = ("torch", "torchvision", "textual", "matplotlib", "faster_coco_eval")
RECIPES = sorted((REPOSITORY / "recipes").glob("*.toml"))

_LOADED = """
import sys
sys.argv = ["engine", *sys.argv[1:]]
from engine.cli.main import main
try:
    if len(sys.argv) > 1: main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *sys.modules)
"""


def _loaded_by(folder: Path, arguments: Sequence[str]) -> set[str]:
    """The modules that a fresh process holds after a command."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments], cwd=folder, env=process_environment(), check=True,
        capture_output=True, text=True,
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "arguments", [(), ("--help",), ("--version",), ("status",), ("status", "--json"), ("run", "--help")],
    ids=lambda arguments: " ".join(arguments) or "import",
)
def test_a_quick_command_loads_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert _loaded_by(tmp_path, arguments).isdisjoint(HEAVY)


def test_a_check_loads_no_torch(tmp_path: Path) -> None:
    assert _loaded_by(tmp_path, ("check", "--help")).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(name: str) -> None:
    module, line = _COMMANDS[name]
    command = importlib.import_module(module).command
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name}")
    assert command.help
    assert line.endswith(".")


@pytest.mark.parametrize("name", _COMMANDS)
def test_the_readme_tells_of_every_command(name: str) -> None:
    table = (REPOSITORY / "README.md").read_text("utf-8").partition("## The commands")[2].partition("\n## ")[0]
    assert re.search(rf"^\|.*`(engine )?{name}\b.*\|", table, re.MULTILINE)


def test_help_lists_every_command_with_its_line() -> None:
    output = " ".join(CliRunner().invoke(cli, ["--help"]).output.split())
    for name, (_, line) in _COMMANDS.items():
        assert f"{name} {line}" in output


@pytest.mark.parametrize(
    ("word", "told"),
    [("staus", 'Did you mean "status"?'), ("watc", 'Did you mean "watch"?'), ("xyzzy", "See `engine --help`.")],
)
def test_an_unknown_command_is_told_with_a_suggestion(engine: Ask, word: str, told: str) -> None:  # noqa: F811
    assert _suggestion(word) == told
    answer = engine(word)
    assert answer.code == 2
    assert f'no command "{word}". {told}' in answer.err


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_lacks_at_most_its_photos_and_weights(
    path: Path, unreachable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    [report] = preflight([path])
    assert report.recipes
    lacking = {problem.code for problem in report.problems if problem.severity == "error"}
    assert lacking <= {"D100", "D101", "W101"}


def test_there_are_shipped_recipes() -> None:
    assert "custom-fasterrcnn" in {path.stem for path in RECIPES}
