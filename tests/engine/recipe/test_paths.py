"""Paths in recipes: relative to where they are written, expanded, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one, problems_of


def train_images(write: WriteRecipe, written: str) -> Path:
    recipe = load_one(write(MINIMAL.replace('"train/images"', written))).recipe
    return recipe.dataset.roots("train")[0].images


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGINE_TEST_DATA", "/data")
    monkeypatch.setenv("ENGINE_TEST_NAME", "photos")
    monkeypatch.setenv("ENGINE_TEST_EMPTY", "")
    monkeypatch.delenv("ENGINE_TEST_UNSET", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("'/abs/x'", "/abs/x"),
        ("'/abs/../x'", "/x"),
        ("'$ENGINE_TEST_DATA/x'", "/data/x"),
        ("'${ENGINE_TEST_DATA}x'", "/datax"),
        ("'/a/$ENGINE_TEST_NAME/${ENGINE_TEST_NAME}'", "/a/photos/photos"),
        ("'~/x'", "/home/someone/x"),
        ("'/a/~/x'", "/a/~/x"),
        ("'/a/$$x'", "/a/$x"),
        ("'/a/5$'", "/a/5$"),
        ("'/a/Ünï ço∂é'", "/a/Ünï ço∂é"),
    ],
)
def test_expanded(write: WriteRecipe, written: str, expected: str) -> None:
    assert train_images(write, written) == Path(expected)


def test_relative_paths_may_climb(write: WriteRecipe, tmp_path: Path) -> None:
    assert train_images(write, "'../x'") == tmp_path.resolve().parent / "x"


@pytest.mark.parametrize(
    ("written", "found", "fix"),
    [
        ("'$ENGINE_TEST_UNSET/x'", 'the environment variable "ENGINE_TEST_UNSET" isn\'t set', "set it before"),
        ("'${ENGINE_TEST_UNSET}'", 'the environment variable "ENGINE_TEST_UNSET" isn\'t set', "set it before"),
        ("'$ENGINE_TEST_EMPTY/x'", 'the environment variable "ENGINE_TEST_EMPTY" isn\'t set', "set it before"),
        ("'~engine_test_nobody/x'", "can't be followed", "correct the path"),
        ("''", "the path is empty", "relative to the recipe"),
        ("'  '", "the path is empty", "relative to the recipe"),
        ('"a\\u0000b"', "zero character", "remove it"),
        ("'" + "x/" * 3000 + "'", "longer than 4096", "shorten it"),
    ],
    ids=["unset", "braces", "empty-variable", "unknown-user", "empty", "blank", "zero", "long"],
)
def test_refused(write: WriteRecipe, written: str, found: str, fix: str) -> None:
    [problem] = problems_of(write(MINIMAL.replace('"train/images"', written)))
    assert (problem.code, problem.where.item, problem.where.line) == ("R207", "dataset.train.images", 4)
    assert found in problem.found
    assert fix in problem.fix


@pytest.mark.parametrize("word", ["coco", "imagenet", "none"])
def test_weights_words_are_no_paths(write: WriteRecipe, word: str) -> None:
    recipe = load_one(write(MINIMAL + f"[model]\nweights = '{word}'\n")).recipe
    assert recipe.model.weights == word
    assert recipe.model.weights_path is None


@pytest.mark.parametrize("written", ["w.pth", "./coco", "sub/weights", "$ENGINE_TEST_DATA/w"])
def test_weights_files_become_absolute(write: WriteRecipe, written: str, tmp_path: Path) -> None:
    recipe = load_one(write(MINIMAL + f"[model]\nweights = '{written}'\n")).recipe
    expected = tmp_path.resolve() / written.replace("$ENGINE_TEST_DATA", "/data")
    assert recipe.model.weights_path == expected


@pytest.mark.parametrize(
    ("word", "fix"), [("coc", 'did you mean "coco"?'), ("myweights", 'write "./myweights"'), ("", "write")]
)
def test_misspelt_weights_word_is_no_file(write: WriteRecipe, word: str, fix: str) -> None:
    [problem] = problems_of(write(MINIMAL + f"[model]\nweights = '{word}'\n"))
    assert (problem.code, problem.where.item) == ("R207", "model.weights")
    assert fix in problem.fix


def test_list_of_roots_is_resolved(write: WriteRecipe, tmp_path: Path) -> None:
    text = """\
name = "desk"
classes.names = ["mug"]
dataset.val_fraction = 0.2
dataset.train = [{ images = "a", annotations = "b" }, { images = "$ENGINE_TEST_DATA", annotations = "c" }]
"""
    roots = load_one(write(text)).recipe.dataset.roots("train")
    assert [root.images for root in roots] == [tmp_path.resolve() / "a", Path("/data")]
