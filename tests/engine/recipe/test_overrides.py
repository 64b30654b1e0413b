"""`--set key=value`: what is read, what it wins over, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.recipe.overrides import parse_override
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one, problems_of


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("optimizer.lr=0.001", ("optimizer", "lr"), 0.001),
        (" optimizer . lr = 1 ", ("optimizer", "lr"), 1),
        ("optimizer.name=adamw", ("optimizer", "name"), "adamw"),
        ('optimizer.name="adamw"', ("optimizer", "name"), "adamw"),
        ("name=desk-2", ("name",), "desk-2"),
        ("name=a=b", ("name",), "a=b"),
        ('name=""', ("name",), ""),
        ("hardware.device=cuda:1", ("hardware", "device"), "cuda:1"),
        ("hardware.num_workers=2", ("hardware", "num_workers"), 2),
        ("hardware.num_workers=auto", ("hardware", "num_workers"), "auto"),
        ("early_stopping=false", ("early_stopping",), False),
        ("early_stopping={ patience = 2 }", ("early_stopping",), {"patience": 2}),
        ("classes.names=['a', 'b']", ("classes", "names"), ["a", "b"]),
        ('classes.aliases."my cup"=mug', ("classes", "aliases", "my cup"), "mug"),
        ("sweep.seeds=[1]", ("sweep", "seeds"), [1]),
        ("sweep.'optimizer.lr'=[1]", ("sweep", "optimizer.lr"), [1]),
        ("not.a.key=word", ("not", "a", "key"), "word"),
    ],
)
def test_parsed(option: str, key: tuple[str, ...], value: Any) -> None:
    assert parse_override(option) == (key, value)


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("", "a key and a value are expected"),
        ("optimizer.lr", "a key and a value are expected"),
        ("=1", "a key and a value are expected"),
        ("optimizer..lr=1", "isn't a key"),
        ("a b=1", "isn't a key"),
        ("a\n[b]\nc=1", "isn't a key"),
        ("a#b=1", "isn't a key"),
        ("[a]=1", "isn't a key"),
        ("optimizer.lr=", "no value"),
        ("optimizer.lr=fast", "fast isn't a TOML value; a number above 0, at most 100 is expected"),
        ("optimizer.lr=[1", "isn't a TOML value"),
        ("training.epochs=1\nx=2", "one value is expected"),
        ("training.epochs=1\n[x]", "one value is expected"),
        ("training.epochs=" + "9" * 5000, "isn't a TOML value"),
        ("training.epochs=" + "[" * 1000, "isn't a TOML value"),
        ("training.epochs=" + "[" * 100 + "]" * 100, "isn't a TOML value"),
        ("training.epochs=[" + "1," * 30_000 + "]", "isn't a TOML value"),
        ("a." * 40 + "b=1", "isn't a key"),
        ("a." * 2000 + "b=1", "isn't a key"),
        ("extends=a.toml", "extends can't be set"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_refused(write: WriteRecipe, option: str, found: str) -> None:
    [problem] = problems_of(write(), [option])
    assert problem.code == "R501"
    assert found in problem.found
    assert problem.where.item.startswith("--set")


def test_options_win_over_recipe_and_parents_and_the_last_one_wins(write: WriteRecipe) -> None:
    write(MINIMAL + "[optimizer]\nlr = 0.1\n", "base.toml")
    path = write('extends = "base.toml"\n[optimizer]\nlr = 0.2\n')
    loaded = load_one(path, ["optimizer.lr=0.3", "optimizer.momentum=0", "optimizer.lr=0.4"])
    assert (loaded.recipe.optimizer.lr, loaded.recipe.optimizer.momentum) == (0.4, 0)
    assert str(loaded.sources["optimizer.lr"]) == "--set"
    assert [value for _, value in loaded.sources["optimizer.lr"].replaced] == ["0.1", "0.2"]
    assert loaded.text == path.read_text()


def test_paths_are_relative_to_the_current_folder(
    write: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(name="deep/desk.toml")
    monkeypatch.chdir(tmp_path)
    recipe = load_one(path, ["dataset.train.images=x", "model.weights=w.pth"]).recipe
    assert recipe.dataset.roots("train")[0].images == tmp_path.resolve() / "x"
    assert recipe.model.weights == str(tmp_path.resolve() / "w.pth")


@pytest.mark.parametrize(
    ("option", "code", "item", "fix"),
    [
        ("optimizr.lr=1", "R201", "--set optimizr", 'did you mean "optimizer"?'),
        ("optimizer.lrr=1", "R201", "--set optimizer.lrr", 'did you mean "lr"?'),
        ("optimizer.lr=-1", "R203", "--set optimizer.lr", "0.005"),
        ("optimizer.lr=true", "R202", "--set optimizer.lr", "0.005"),
        ("optimizer.name=adam", "R203", "--set optimizer.name", 'did you mean "adamw"?'),
        ("optimizer=3", "R202", "--set optimizer", "optimizer = {"),
        ("dataset.train.images=$ENGINE_TEST_UNSET", "R207", "--set dataset.train.images", "set it before"),
        ("early_stopping.patience=0", "R203", "--set early_stopping.patience", "8"),
        ("early_stopping={ patience = 0 }", "R203", "--set early_stopping.patience", "8"),
    ],
)
def test_wrong_value_is_told_as_an_option(write: WriteRecipe, option: str, code: str, item: str, fix: str) -> None:
    found = problems_of(write(), [option])
    problem = next(problem for problem in found if problem.where.item == item)
    assert (problem.code, problem.where.path, problem.where.line) == (code, "", None)
    assert fix in problem.fix


def test_fault_of_the_recipe_is_still_told_in_the_recipe(write: WriteRecipe) -> None:
    path = write(MINIMAL + "[training]\nepochs = 0\n")
    [problem] = problems_of(path, ["training.seed=1"])
    assert (problem.where.path, problem.where.line) == (str(path), 10)
