"""`engine explain` and `engine diff`: what a recipe means, where values come from, what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.diff import command as diff_command
from engine.cli.explain import command as explain_command
from engine.errors import RecipeError
from engine.recipe.difference import differences
from engine.recipe.explain import explain_key, resolved_lines
from engine.recipe.keys import all_keys
from engine.recipe.load import load_recipes, resolved_json
from engine.recipe.values import dotted
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one

RICH = """\
extends = "base.toml"
name = "rich"

[dataset]
test = [{ images = "a b", annotations = "c" }, { images = "d", annotations = "e" }]

[classes]
aliases = { "my \\"cup\\"" = "mug", keybord = "keyboard" }

[early_stopping]
patience = 3
"""


@pytest.fixture
def rich(write: WriteRecipe) -> Path:
    write(MINIMAL + "[optimizer]\nlr = 0.1\n", "base.toml")
    return write(RICH, "rich.toml")


def test_resolved_lines_are_a_recipe_that_means_the_same(rich: Path, tmp_path: Path) -> None:
    recipes = load_recipes(rich)
    resolved = tmp_path / "elsewhere" / "resolved.toml"
    resolved.parent.mkdir()
    resolved.write_text("\n".join(f"{line.text}  # {line.remark}" for line in resolved_lines(recipes)))
    assert load_one(resolved).recipe == recipes[0].recipe


def test_every_value_names_its_source(rich: Path) -> None:
    lines = {line.text: line.remark for line in resolved_lines(load_recipes(rich, overrides=["training.epochs=9"]))}
    base = rich.with_name("base.toml")
    assert lines['name = "rich"'] == f"{rich}:2"
    assert lines["lr = 0.1"] == f"{base}:10"
    assert lines["momentum = 0.9"] == "default"
    assert lines["epochs = 9"] == "--set"
    assert lines["# min_size is not set"] == "default"


def test_values_of_a_sweep_are_told(write: WriteRecipe) -> None:
    path = write(MINIMAL + "[sweep]\n'optimizer.lr' = [0.1, 0.2]\n")
    lines = {line.text: line.remark for line in resolved_lines(load_recipes(path))}
    assert lines["lr = 0.1"] == f"one of 0.1, 0.2 - {path}:10 [sweep]"
    assert explain_key(load_recipes(path), "optimizer.lr").value == "0.1, 0.2"


def test_inherited_overridden_and_default_values(rich: Path) -> None:
    base = rich.with_name("base.toml")
    inherited = explain_key(load_recipes(rich), "optimizer.lr")
    assert (inherited.value, inherited.source, inherited.default) == ("0.1", f"{base}:10", "0.005")
    assert inherited.accepts == "a number above 0, at most 100"
    assert inherited.meaning.startswith("Learning rate after warm-up")
    overridden = explain_key(load_recipes(rich), "name")
    assert (overridden.source, overridden.replaced) == (f"{rich}:2", ((f"{base}:1", '"desk"'),))
    default = explain_key(load_recipes(rich), "optimizer.momentum")
    assert (default.value, default.source) == ("0.9", "default")


@pytest.mark.parametrize(
    ("key", "value", "source_line"),
    [
        ("early_stopping.patience", "3", 11),
        ("early_stopping.metric", '"val_loss"', None),
        ("model.min_size", "not set", None),
        ("classes.aliases.keybord", '"keyboard"', 8),
        ("classes . aliases . 'keybord'", '"keyboard"', 8),
        ("evaluation", "", None),
        ("dataset.train", "", 4),
    ],
)
def test_explained_key(rich: Path, key: str, value: str, source_line: int | None) -> None:
    told = explain_key(load_recipes(rich), key)
    assert told.value == value
    assert told.source == "default" if source_line is None else told.source.endswith(f":{source_line}")


def test_every_key_can_be_explained(rich: Path) -> None:
    recipes = load_recipes(rich)
    for key in all_keys():
        assert explain_key(recipes, dotted(key.path)).meaning


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("optimizer.lrr", 'did you mean "optimizer.lr"?'),
        ("lr", "did you mean optimizer.lr?"),
        ("images", "did you mean dataset.train.images or dataset.val.images or dataset.test.images?"),
        ("zzzzzz", "leave the key out"),
        ("", "leave the key out"),
        ("a=b", "leave the key out"),
        ("x" * 100_000, "leave the key out"),
    ],
    ids=["typo", "leaf", "several", "nothing-like-it", "empty", "no-key", "long"],
)
def test_unknown_key(rich: Path, key: str, fix: str) -> None:
    with pytest.raises(RecipeError) as caught:
        explain_key(load_recipes(rich), key)
    [problem] = caught.value.problems
    assert problem.code == "R201"
    assert problem.fix.startswith(fix)


def test_command_prints_the_recipe(rich: Path) -> None:
    result = CliRunner().invoke(explain_command, [str(rich), "--set", "optimizer.lr=0.5"])
    assert result.exit_code == 0
    assert "[optimizer]\n" in result.output
    [line] = [line for line in result.output.splitlines() if line.startswith("lr = ")]
    assert line.split() == ["lr", "=", "0.5", "#", "--set"]


def test_command_prints_a_key(rich: Path) -> None:
    result = CliRunner().invoke(explain_command, [str(rich), "name"])
    assert result.output.splitlines()[0] == 'name = "rich"'
    assert f"instead of \"desk\" from {rich.with_name('base.toml')}:1" in " ".join(result.output.split())


def test_command_prints_the_keys_of_a_section(rich: Path) -> None:
    result = CliRunner().invoke(explain_command, [str(rich), "optimizer"])
    assert result.output.startswith("[optimizer]\n")
    assert "keys       name, lr, backbone_lr_factor, momentum, weight_decay" in result.output


def test_command_names_the_runs_of_a_sweep(write: WriteRecipe) -> None:
    path = write(MINIMAL + "[sweep]\nseeds = [0, 1]\n")
    result = CliRunner().invoke(explain_command, [str(path)])
    assert result.output.startswith("# 2 runs: desk-seed0, desk-seed1\n")


# --- differences ---


def test_differences_are_told_by_key(write: WriteRecipe) -> None:
    left = load_one(write(MINIMAL)).recipe
    right = load_one(write(MINIMAL + "aliases = { cup = 'mug' }\n[optimizer]\nlr = 0.1\n[early_stopping]\n")).recipe
    found = [(one.key, one.left, one.right) for one in differences(left, right)]
    assert ("optimizer.lr", 0.005, 0.1) in found
    assert ("classes.aliases.cup", None, "mug") in found
    assert ("early_stopping.patience", None, 8) in found
    assert not [key for key, *_ in found if key.startswith(("dataset", "training"))]


def test_a_recipe_does_not_differ_from_itself(rich: Path) -> None:
    assert differences(load_one(rich).recipe, load_one(rich).recipe) == []


def test_diff_of_a_recipe_and_a_run(rich: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "0001-rich"
    run_dir.mkdir()
    (run_dir / "resolved.json").write_bytes(resolved_json(load_one(rich, ["optimizer.lr=0.3"]).recipe))
    result = CliRunner().invoke(diff_command, [str(rich), str(run_dir)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].split() == ["optimizer.lr", "0.1", "0.3"]
    told = json.loads(CliRunner().invoke(diff_command, [str(rich), str(run_dir), "--json"]).output)
    assert told["differences"] == [{"key": "optimizer.lr", "left": 0.1, "right": 0.3}]


def test_diff_of_equals(rich: Path) -> None:
    assert CliRunner().invoke(diff_command, [str(rich), str(rich)]).output == "no differences\n"


def test_diff_of_paths_and_lists_is_json(write: WriteRecipe) -> None:
    left = write(MINIMAL, "a/desk.toml")
    right = write(MINIMAL.replace('"keyboard"]', '"cat"]'), "b/desk.toml")
    told = json.loads(CliRunner().invoke(diff_command, [str(left), str(right), "--json"]).output)
    rows = {row["key"]: (row["left"], row["right"]) for row in told["differences"]}
    assert rows["classes.names"] == (["mug", "laptop", "keyboard"], ["mug", "laptop", "cat"])
    assert rows["dataset.train.images"][0] == str(left.resolve().parent / "train/images")


def test_diff_of_a_sweep_asks_for_runs(write: WriteRecipe) -> None:
    path = write(MINIMAL + "[sweep]\nseeds = [0, 1]\n")
    result = CliRunner().invoke(diff_command, [str(path), str(path)])
    assert isinstance(result.exception, RecipeError)
    assert result.exception.problems[0].code == "R405"


@pytest.mark.parametrize("arguments", [["explain", "{}"], ["explain", "{}", "lr"], ["diff", "{}", "{}"]])
def test_a_bad_recipe_is_told_without_a_traceback(write: WriteRecipe, arguments: list[str]) -> None:
    path = str(write("name = desk"))
    command = [sys.executable, "-m", "engine.cli.main", *(part.replace("{}", path) for part in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "R104" in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_imports_neither_torch_nor_textual(rich: Path) -> None:
    code = (
        "import sys\nfrom engine.cli.explain import command\n"
        f"command([{str(rich)!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'textual'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
