"""`engine init` as a person types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.init import command
from tests.builders import make_voc_dataset, process_environment, write_voc


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unreachable: None) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("engine.machine.num_cuda_devices", lambda: 0)
    monkeypatch.chdir(tmp_path)


def init(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_a_clean_dataset_is_ready_to_train(tmp_path: Path) -> None:
    make_voc_dataset(tmp_path / "desk")
    result = init("desk")
    assert result.exit_code == 0
    wrote, verdict, then = result.output.splitlines()
    assert wrote == "wrote desk.toml"
    assert verdict.startswith("desk.toml: ok, 1 run; train 6 images")
    assert then == "next: engine run desk.toml"
    assert (tmp_path / "desk.toml").is_file()


def test_a_dirty_dataset_is_told_and_the_recipe_written_all_the_same(tmp_path: Path) -> None:
    make_voc_dataset(tmp_path / "desk")
    write_voc(tmp_path / "desk" / "train" / "annotations" / "train00.xml", [("mug", (5, 5, 5, 20))])
    result = init("desk", "-o", "mine.toml")
    assert result.exit_code == 0
    assert "mine.toml: 1 error" in result.output
    assert "D102" in result.output
    assert "next: see what mine.toml suggests, then engine check mine.toml" in result.output
    assert '# empty_boxes = "drop"' in (tmp_path / "mine.toml").read_text()


def test_refusals_end_with_one_problem_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "engine.cli.main", "init", "empty"], cwd=tmp_path, env=process_environment(),
        capture_output=True, text=True, check=False,
    )
    assert result.returncode == 1
    assert "error D003 no labelled images in it or below: 0 images" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.glob("*.toml")] == []
