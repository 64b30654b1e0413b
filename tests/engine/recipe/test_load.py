"""Recipes from files: what is read, what is resolved, and the form kept in a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import RecipeError
from engine.recipe.load import load_recipes, read_resolved, recipe_hash, resolved_json
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one, problems_of

RECIPES = Path(__file__).parents[3] / "recipes"


def test_minimal_recipe_has_defaults_and_absolute_paths(write: WriteRecipe, tmp_path: Path) -> None:
    path = write()
    loaded = load_one(path)
    assert loaded.recipe.training.epochs == 50
    assert loaded.recipe.dataset.train.images == tmp_path.resolve() / "train/images"
    assert loaded.text == MINIMAL
    assert loaded.path == path


def test_paths_are_relative_to_the_recipe_not_to_the_current_folder(
    write: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(name="deep/er/desk.toml")
    monkeypatch.chdir(tmp_path / "deep")
    recipe = load_one(Path("er/desk.toml")).recipe
    assert recipe.dataset.val.images == path.resolve().parent / "val/images"


def test_numbers_may_be_whole_where_fractions_are_accepted(write: WriteRecipe) -> None:
    recipe = load_one(write(MINIMAL + "[optimizer]\nlr = 1\n")).recipe
    assert recipe.optimizer.lr == 1.0
    assert isinstance(recipe.optimizer.lr, float)


def test_every_key_of_the_schema_has_a_source(write: WriteRecipe) -> None:
    path = write(MINIMAL + "[optimizer]\nlr = 0.1\n")
    sources = load_one(path).sources
    assert str(sources["optimizer.lr"]) == f"{path}:10"
    assert str(sources["training.epochs"]) == "default"
    assert str(sources["dataset.train.annotations"]) == f"{path}:4"


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_load(recipe: Path) -> None:
    assert load_recipes(recipe)


def test_the_lessons_recipe_is_the_lesson() -> None:
    recipe = load_one(RECIPES / "custom-fasterrcnn.toml").recipe
    assert recipe.model.arch == "fasterrcnn_resnet50_fpn"
    assert recipe.model.weights == "coco"
    assert (recipe.training.epochs, recipe.training.batch_size) == (50, 4)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.005, 0.9, 0.0005)
    assert (recipe.schedule.kind, recipe.schedule.step_size, recipe.schedule.gamma) == ("step", 15, 0.1)
    assert recipe.schedule.warmup_steps == 0
    assert recipe.classes.names == ("mug", "laptop", "keyboard")
    assert recipe.augmentation.horizontal_flip == 0
    assert recipe.early_stopping is None
    assert recipe.dataset.train.images == RECIPES / "custom_dataset/train/images"


# --- the class map with ids ---


def with_classes(classes: str) -> str:
    return MINIMAL.replace('names = ["mug", "laptop", "keyboard"]\n', classes)


@pytest.mark.parametrize(
    "classes",
    [
        "background = 0\nmug = 1\nlaptop = 2",
        "laptop = 2\nbackground = 0\nmug = 1",
        "mug = 1\nlaptop = 2",
        "mug = 0\nlaptop = 1",
        "mug = 0\nlaptop = 1\naliases = { cup = 'mug' }",
        "mug = 1\nlaptop = 2\nignore = ['person']",
    ],
)
def test_class_map_with_ids_becomes_names_in_their_order(write: WriteRecipe, classes: str) -> None:
    assert load_one(write(with_classes(classes))).recipe.classes.names == ("mug", "laptop")


def test_class_map_with_ids_may_be_an_inline_table(write: WriteRecipe) -> None:
    text = MINIMAL.split("[classes]")[0].replace("[dataset]", "classes = { background = 0, mug = 1 }\n[dataset]")
    loaded = load_one(write(text))
    assert loaded.recipe.classes.names == ("mug",)
    assert loaded.sources["classes.names[0]"].line == 3


@pytest.mark.parametrize(
    ("classes", "key", "found"),
    [
        ("mug = 1\nlaptop = 3", "classes.laptop", "2 is next"),
        ("mug = 2", "classes.mug", "1 is next"),
        ("background = 1\nmug = 2", "classes.background", "always 0"),
        ("mug = 1\nlaptop = 1", "classes.laptop", 'classes "mug" and "laptop" both have id 1'),
        ("background = 0", "classes.background", "nothing but the background"),
        ("background = 0\nmug = 0", "classes.mug", "both have id 0"),
        ("mug = 1\nlaptop = '2'", "classes.laptop", '"2" is a string'),
        ("mug = 1\nlaptop = true", "classes.laptop", "true is a boolean"),
        ("mug = -1", "classes.mug", "1 is next"),
    ],
)
def test_wrong_class_ids_are_told(write: WriteRecipe, classes: str, key: str, found: str) -> None:
    [problem] = problems_of(write(with_classes(classes)))
    assert problem.code == "R206"
    assert problem.where.item == key
    assert problem.where.line is not None
    assert found in problem.found


def test_names_and_ids_do_not_mix(write: WriteRecipe) -> None:
    [problem] = problems_of(write(with_classes('names = ["mug"]\nlaptop = 1')))
    assert (problem.code, problem.where.item, problem.where.line) == ("R201", "classes.laptop", 9)


# --- the resolved form ---


def test_resolved_form_reads_back_as_the_same_recipe(write: WriteRecipe, tmp_path: Path) -> None:
    text = MINIMAL + 'aliases = { cup = "mug" }\n[early_stopping]\n[model]\nweights = "w/né.pth"\n'
    recipe = load_one(write(text)).recipe
    resolved = tmp_path / "resolved.json"
    resolved.write_bytes(resolved_json(recipe))
    assert read_resolved(resolved) == recipe
    assert recipe_hash(read_resolved(resolved)) == recipe_hash(recipe)


def test_the_hash_knows_meaning_not_spelling(write: WriteRecipe) -> None:
    one = load_one(write(MINIMAL)).recipe
    same = load_one(write("# comment\n" + MINIMAL + "[training]\nepochs = 50\n")).recipe
    other = load_one(write(MINIMAL + "[training]\nepochs = 51\n")).recipe
    assert recipe_hash(one) == recipe_hash(same)
    assert recipe_hash(one) != recipe_hash(other)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "R601"),
        (b"{", "R601"),
        (b"\xff\xfe", "R601"),
        (b"[]", "R601"),
        (b"null", "R601"),
        (b"[" * 100_000, "R601"),
        (b'{"version": 1}', "R601"),
        (b'{"version": 99, "recipe": {}}', "R602"),
        (b'{"version": 1, "recipe": {}}', "R602"),
        (b'{"version": 1, "recipe": []}', "R602"),
    ],
    ids=["empty", "torn", "binary", "list", "null", "deep", "half", "newer", "no-keys", "no-table"],
)
def test_damaged_resolved_form_is_told(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "resolved.json"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_resolved(path)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_missing_resolved_form_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        read_resolved(tmp_path / "resolved.json")


def test_key_of_another_version_is_named(write: WriteRecipe, tmp_path: Path) -> None:
    content = json.loads(resolved_json(load_one(write()).recipe))
    content["recipe"]["training"]["swa"] = True
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RecipeError) as caught:
        read_resolved(path)
    assert caught.value.problems[0].where.item == "training.swa"
