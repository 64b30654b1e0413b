from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from engine.recipe.load import load_recipes, resolved_json
from engine.rundir import RunDir
from tests.tui.build import recipe_text
from tui.recipereading import read_recipe
from tui.recipes import RecipeReading, differing


def run_of(folder: Path, text: str, resolved: bytes | None = None) -> RecipeReading:
    """The reading of a run with that recipe file."""
    run_dir = RunDir(folder / "0001-desk")
    run_dir.path.mkdir(exist_ok=True)
    path = folder / "desk.toml"
    path.write_text(text)
    run_dir.recipe.write_text(text)
    run_dir.resolved.write_bytes(resolved_json(load_recipes(path)[0].recipe) if resolved is None else resolved)
    return read_recipe(run_dir)


def origins(reading: RecipeReading) -> dict[str, str]:
    return {setting.key: setting.origin for setting in reading.settings if setting.is_chosen}


def test_what_a_recipe_changes(tmp_path: Path) -> None:
    reading = run_of(tmp_path, recipe_text("desk-r18"))
    found = origins(reading)
    assert {"classes.names", "model.arch", "model.weights", "training.epochs", "dataset.train.images"} <= found.keys()
    assert set(found.values()) == {"recipe"}
    assert "optimizer.lr" not in found  # as by default
    lr = next(setting for setting in reading.settings if setting.key == "optimizer.lr")
    assert (lr.value, lr.default) == ("0.005", "0.005")
    assert "name" not in reading.values


def test_where_a_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(recipe_text("base") + "momentum = 0.5\n".replace("momentum", "gamma"))
    text = (
        'extends = "base.toml"\nname = "desk"\n[training]\nepochs = 3\n'
        '[sweep]\n"optimizer.lr" = [0.1, 0.2]\nseeds = [1, 2]\n'
    )
    found = origins(run_of(tmp_path, text))
    assert found["schedule.gamma"] == "base"
    assert found["optimizer.lr"] == "sweep"
    plain = recipe_text("desk")
    (tmp_path / "desk.toml").write_text(plain)
    options = ["training.epochs=7", "optimizer.momentum=0.8"]
    resolved = resolved_json(load_recipes(tmp_path / "desk.toml", overrides=options)[0].recipe)
    found = origins(run_of(tmp_path, plain, resolved))
    assert found["training.epochs"] == found["optimizer.momentum"] == "command line"


def test_classes_in_another_form_are_the_recipes_own(tmp_path: Path) -> None:
    text = recipe_text("desk").replace('names = ["mug", "laptop", "keyboard"]', "background = 0\nmug = 1\nlaptop = 2")
    assert tomli.loads(text)["classes"]["mug"] == 1
    assert origins(run_of(tmp_path, text))["classes.names"] == "recipe"


def test_a_recipe_of_another_version_is_read_as_it_stands(tmp_path: Path) -> None:
    newer = b'{"version": 9, "recipe": {"new": {"key": [1, {"a": 2}]}, "x": 1}}'
    reading = run_of(tmp_path, recipe_text("desk"), newer)
    assert reading.trouble == ""
    assert reading.values == {"new.key": "[1, { a = 2 }]", "x": "1"}


@pytest.mark.parametrize(
    "resolved", [b"", b"{", b"[]", b'{"recipe": 3}', b'{"recipe": null}', b"[" * 100_000, b"\xff\xfe"],
    ids=["empty", "torn", "list", "number", "null", "deep", "rubbish"],
)  # fmt: skip
def test_a_damaged_one_says_so(tmp_path: Path, resolved: bytes) -> None:
    assert "damaged" in run_of(tmp_path, recipe_text("desk"), resolved).trouble


def test_a_missing_one_says_so(tmp_path: Path) -> None:
    assert "No such file" in read_recipe(RunDir(tmp_path / "0001-desk")).trouble


def test_a_recipe_file_of_rubbish_leaves_the_values(tmp_path: Path) -> None:
    run_of(tmp_path, recipe_text("desk"))
    run_dir = RunDir(tmp_path / "0001-desk")
    run_dir.recipe.write_bytes(b"\xff = = [")
    assert read_recipe(run_dir).values["training.epochs"] == "30"


def test_differences_of_several(tmp_path: Path) -> None:
    readings = [run_of(tmp_path, recipe_text(name)) for name in ("desk", "desk-lr01", "desk-r18")]
    assert differing(readings) == [
        ("model.arch", ('"fasterrcnn_resnet50_fpn"', '"fasterrcnn_resnet50_fpn"', '"fasterrcnn_resnet18_fpn"')),
        ("optimizer.lr", ("0.005", "0.1", "0.005")),
    ]
    assert differing(readings[:1]) == differing([]) == []
