"""`engine check`: grouping, the table, the picture and JSON, as a person or a script sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.check import command
from tests.builders import make_voc_dataset, write_photo, write_recipe, write_voc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def dirty_dataset(folder: Path, num_bad: int) -> Path:
    """A dataset of which `num_bad` training files name a class that isn't in the map."""
    make_voc_dataset(folder)
    for index in range(num_bad):
        write_photo(folder / "train" / "images" / f"bad{index}.jpg", [], seed=1000 + index)
        write_voc(folder / "train" / "annotations" / f"bad{index}.xml", [("keybord", (1, 1, 20, 20))])
    return folder


def test_a_clean_recipe_is_told_in_one_line(tmp_path: Path, dataset: Path) -> None:
    result = check(write_recipe(tmp_path, dataset))
    assert result.exit_code == 0
    [line] = result.output.splitlines()
    assert line.startswith("tiny.toml: ok, 1 run; train 6 images with")


def test_many_findings_of_one_kind_read_as_one(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, dirty_dataset(tmp_path / "data", 40))
    grouped, single = check(recipe), check(recipe, "--all")
    assert grouped.exit_code == single.exit_code == 1
    assert grouped.output.splitlines()[0] == "tiny.toml: 40 errors"
    assert len(grouped.output.splitlines()) == 5  # the last points at --fix
    assert "40 times in 40 files" in grouped.output
    assert single.output.count("D105") == 40


def test_json_holds_every_finding_and_the_summary(tmp_path: Path) -> None:
    result = check(write_recipe(tmp_path, dirty_dataset(tmp_path / "data", 5)), "--json")
    assert result.exit_code == 1
    [report] = json.loads(result.output)
    assert [problem["code"] for problem in report["problems"]] == ["D105"] * 5
    assert report["dataset"]["train"]["num_images"] == 11
    assert set(report["dataset"]["val"]["boxes_per_class"]) == {"mug", "laptop"}


def test_the_table_counts_what_can_be_used(tmp_path: Path) -> None:
    for split, objects in (("train", [("mug", (1, 1, 20, 20)), ("mug", (30, 1, 50, 20))]), ("val", [])):
        write_photo(tmp_path / split / "images" / "1.jpg", objects, seed=len(objects))
        write_voc(tmp_path / split / "annotations" / "1.xml", objects)
    result = check(write_recipe(tmp_path, tmp_path), "--table")
    rows = {tuple(line.split()) for line in result.output.splitlines()}
    assert ("images", "1", "1") in rows
    assert ("without", "objects", "0", "1") in rows
    assert ("objects", "2", "0") in rows
    assert ("mug", "2", "in", "1", "images", "0", "in", "0", "images") in rows


def test_a_table_for_each_dataset_not_for_each_recipe(tmp_path: Path, dataset: Path) -> None:
    same = [write_recipe(tmp_path, dataset, name) for name in ("a", "b")]
    other = write_recipe(tmp_path, make_voc_dataset(tmp_path / "other", seed=5), "c")
    result = check(*same, other, "--table")
    assert result.exit_code == 0
    assert [word for word in ("of a.toml", "of b.toml", "of c.toml") if word in result.output] == [
        "of a.toml", "of c.toml",
    ]


@pytest.mark.parametrize("name", ["\x1b[31mred", "[bold]x[/bold]"], ids=["escape", "markup"])
def test_names_are_shown_and_not_obeyed(tmp_path: Path, dataset: Path, name: str) -> None:
    text = name.encode("unicode_escape").decode().replace("\\x1b", "\\u001b")
    recipe = write_recipe(tmp_path, dataset, classes={"names": ["mug", "laptop", text]})
    result = check(recipe, "--table")
    assert "\x1b" not in result.output
    assert name.replace("\x1b", "\\x1b") in result.output


def test_a_picture_is_drawn(tmp_path: Path, dataset: Path) -> None:
    result = check(write_recipe(tmp_path, dataset), "--plot", "out.png")
    assert result.exit_code == 0
    assert "drew out.png" in result.output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("plot", ["out.xyz", "file/out.png"], ids=["format", "folder"])
def test_a_picture_that_cannot_be_written_is_a_problem(tmp_path: Path, dataset: Path, plot: str) -> None:
    (tmp_path / "file").touch()
    result = check(write_recipe(tmp_path, dataset), "--plot", plot)
    assert "E101" in str(result.exception)


@pytest.mark.parametrize("missing", [True, False], ids=["no-dataset", "two-datasets"])
def test_one_dataset_is_drawn(tmp_path: Path, dataset: Path, missing: bool) -> None:
    recipes: Sequence[Path] = [tmp_path / "none.toml"]
    if not missing:
        other = make_voc_dataset(tmp_path / "other", seed=5)
        recipes = [write_recipe(tmp_path, dataset, "a"), write_recipe(tmp_path, other, "b")]
    result = check(*recipes, "--plot", "out.png")
    assert "E107" in str(result.exception)
    assert not (tmp_path / "out.png").exists()


def test_the_disk_is_asked_about_the_runs_folder(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.machine.free_disk_bytes", lambda _: 10**6)
    result = check(write_recipe(tmp_path, dataset), "--runs", "somewhere")
    assert result.exit_code == 1
    assert "error E102" in result.output
    assert "somewhere" in result.output
