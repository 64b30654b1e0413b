"""`[sweep]`: which runs come out, how they are named, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Problem
from engine.recipe.load import load_recipes
from engine.recipe.naming import MAX_LENGTH, Choice, run_names
from engine.recipe.sweep import MAX_RUNS
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, problems_of


def runs_of(write: WriteRecipe, sweep: str, overrides: tuple[str, ...] = ()) -> list[tuple[str, float, str, int]]:
    recipes = [loaded.recipe for loaded in load_recipes(write(MINIMAL + sweep), overrides=overrides)]
    return [(recipe.name, recipe.optimizer.lr, recipe.optimizer.name, recipe.training.seed) for recipe in recipes]


def test_grid_of_two_by_three(write: WriteRecipe) -> None:
    runs = runs_of(write, '[sweep]\n"optimizer.lr" = [0.005, 0.001]\nseeds = [0, 1, 2]\n')
    assert runs == [
        ("desk-lr0.005-seed0", 0.005, "sgd", 0),
        ("desk-lr0.005-seed1", 0.005, "sgd", 1),
        ("desk-lr0.005-seed2", 0.005, "sgd", 2),
        ("desk-lr0.001-seed0", 0.001, "sgd", 0),
        ("desk-lr0.001-seed1", 0.001, "sgd", 1),
        ("desk-lr0.001-seed2", 0.001, "sgd", 2),
    ]


@pytest.mark.parametrize(
    "keys",
    ['"optimizer.lr" = [0.1, 0.2]', "optimizer.lr = [0.1, 0.2]", "optimizer = { lr = [0.1, 0.2] }",
     "[sweep.optimizer]\nlr = [0.1, 0.2]", "'optimizer.\"lr\"' = [0.1, 0.2]"],
)  # fmt: skip
def test_a_swept_key_may_be_written_in_any_way(write: WriteRecipe, keys: str) -> None:
    assert [run[0] for run in runs_of(write, "[sweep]\n" + keys)] == ["desk-lr0.1", "desk-lr0.2"]


def test_zip_goes_side_by_side_and_seeds_repeat(write: WriteRecipe) -> None:
    sweep = '[sweep]\nzip = true\n"optimizer.lr" = [0.1, 0.001]\n"optimizer.name" = ["sgd", "adamw"]\nseeds = [1, 2]\n'
    assert runs_of(write, sweep) == [
        ("desk-lr0.1-name_sgd-seed1", 0.1, "sgd", 1),
        ("desk-lr0.1-name_sgd-seed2", 0.1, "sgd", 2),
        ("desk-lr0.001-name_adamw-seed1", 0.001, "adamw", 1),
        ("desk-lr0.001-name_adamw-seed2", 0.001, "adamw", 2),
    ]


@pytest.mark.parametrize("sweep", ["[sweep]\n", "[sweep]\nzip = true\n", "[sweep]\nzip = false\n", "sweep = false\n"])
def test_empty_sweep_is_one_run(write: WriteRecipe, sweep: str) -> None:
    text = sweep + MINIMAL if sweep.startswith("sweep") else MINIMAL + sweep
    assert [loaded.recipe.name for loaded in load_recipes(write(text))] == ["desk"]


def test_one_value_still_names_the_run(write: WriteRecipe) -> None:
    assert [run[0] for run in runs_of(write, "[sweep]\noptimizer.lr = [0.5]\n")] == ["desk-lr0.5"]


def test_option_beats_the_sweep(write: WriteRecipe) -> None:
    sweep = '[sweep]\n"optimizer.lr" = [0.005, 0.001]\nseeds = [0, 1]\n'
    assert runs_of(write, sweep, ("optimizer.lr=0.5",)) == [
        ("desk-seed0", 0.5, "sgd", 0), ("desk-seed1", 0.5, "sgd", 1),
    ]  # fmt: skip
    assert runs_of(write, sweep, ("training.seed=7", "optimizer.lr=1")) == [("desk", 1.0, "sgd", 7)]


def test_option_may_change_the_sweep(write: WriteRecipe) -> None:
    assert [run[3] for run in runs_of(write, "[sweep]\nseeds = [0, 1]\n", ("sweep.seeds=[5, 6, 7]",))] == [5, 6, 7]


def test_sweep_is_inherited_and_its_sources_are_told(write: WriteRecipe) -> None:
    base = write(MINIMAL + '[sweep]\n"optimizer.lr" = [0.1,\n 0.2]\n', "base.toml")
    recipes = load_recipes(write('extends = "base.toml"\nname = "mine"\n[optimizer]\nlr = 0.3\n'))
    assert [loaded.recipe.name for loaded in recipes] == ["mine-lr0.1", "mine-lr0.2"]
    assert [str(loaded.sources["optimizer.lr"]) for loaded in recipes] == [f"{base}:10 [sweep]", f"{base}:11 [sweep]"]
    assert recipes[0].sources["optimizer.lr"].replaced[-1][1] == "0.3"
    assert recipes[0].sources["name"].kind == "sweep"


def test_tables_and_optional_values_may_be_swept(write: WriteRecipe) -> None:
    recipes = load_recipes(write(MINIMAL + "[sweep]\nearly_stopping = [false, { patience = 2 }]\n"))
    assert [loaded.recipe.name for loaded in recipes] == ["desk-early_stopping_false", "desk-early_stopping2"]
    assert recipes[0].recipe.early_stopping is None
    patience = recipes[1].recipe.early_stopping
    assert patience is not None
    assert patience.patience == 2


def test_runs_of_a_sweep_do_not_share_what_one_of_them_takes_out(write: WriteRecipe) -> None:
    text = MINIMAL + "[training]\nclip_grad_norm = 3\n[sweep]\n'training.clip_grad_norm' = [false, 1.0, 2.0]\n"
    clips = [loaded.recipe.training.clip_grad_norm for loaded in load_recipes(write(text))]
    assert clips == [None, 1.0, 2.0]


def test_swept_paths_are_absolute(write: WriteRecipe, tmp_path: Path) -> None:
    text = MINIMAL + "[sweep]\n'model.weights' = ['none', 'a/w.pth']\n'dataset.train.images' = ['x', '/y']\n"
    recipes = [loaded.recipe for loaded in load_recipes(write(text, "in/desk.toml"))]
    assert [recipe.model.weights for recipe in recipes[::2]] == ["none", str(tmp_path.resolve() / "in/a/w.pth")]
    images = [recipe.dataset.roots("train")[0].images for recipe in recipes[:2]]
    assert images == [tmp_path.resolve() / "in/x", Path("/y")]
    assert [recipe.name for recipe in recipes[:2]] == ["desk-weights_none-images_x", "desk-weights_none-images_y"]


def test_swept_tables_with_paths_are_absolute(write: WriteRecipe, tmp_path: Path) -> None:
    tables = "[{ images = 'a', annotations = 'b' }, { images = 'c', annotations = 'd' }]"
    recipes = load_recipes(write(MINIMAL + f"[sweep]\n'dataset.train' = {tables}\n"))
    images = [loaded.recipe.dataset.roots("train")[0].images for loaded in recipes]
    assert images == [tmp_path.resolve() / "a", tmp_path.resolve() / "c"]


def test_swept_names_are_taken_as_they_are(write: WriteRecipe) -> None:
    text = MINIMAL + "[sweep]\nzip = true\nname = ['slow', 'fast']\n'optimizer.lr' = [0.1, 0.2]\n"
    assert [loaded.recipe.name for loaded in load_recipes(write(text))] == ["slow", "fast"]


# --- what is refused ---


@pytest.mark.parametrize(
    ("sweep", "code", "item", "found", "fix"),
    [
        ("seeds = 3", "R401", "sweep.seeds", "3 is a whole number; a list", "write seeds = [3]"),
        ("seeds = []", "R401", "sweep.seeds", "is empty", "at least one"),
        ("seeds = [1, 2, 1]", "R401", "sweep.seeds[2]", "1 is listed twice", "remove one"),
        ("seeds = [1, 'a']", "R202", "training.seed", '"a" is a string', "seed"),
        ("zip = 1", "R401", "sweep.zip", "true or false is expected", "zip = true"),
        ("lr = [1]", "R402", "sweep.lr", 'no key "lr"', 'write "optimizer.lr"'),
        ("name2 = [1]", "R402", "sweep.name2", 'no key "name2"', "did you mean"),
        ("'optimiser.lr' = [1]", "R402", 'sweep."optimiser.lr"', "no key", 'did you mean "optimizer.lr"?'),
        ("optimizer.lrr = [1]", "R402", "sweep.optimizer.lrr", "no key", 'did you mean "optimizer.lr"?'),
        ("zipp = true", "R402", "sweep.zipp", "no key", 'did you mean "zip"?'),
        ("'a b' = [1]", "R402", 'sweep."a b"', "no key", ""),
        ("'' = [1]", "R402", 'sweep.""', "no key", ""),
        ("optimizer = {}", "R401", "sweep.optimizer", "is a table; a list", '"optimizer" = [...]'),
        ("'optimizer.lr' = 0.1", "R401", 'sweep."optimizer.lr"', "0.1 is a number", '"optimizer.lr" = [...]'),
        ("'optimizer.lr' = [0.1, -1]", "R203", "optimizer.lr", "-1 isn't accepted", ""),
        ("seeds = [1]\n'training.seed' = [2]", "R403", 'sweep."training.seed"', "both set training.seed", "remove one"),
        ("early_stopping = [false]\n'early_stopping.patience' = [2]", "R403", "sweep.early_stopping", "both set", ""),
        ("zip = true\n'optimizer.lr' = [1, 2]\n'training.epochs' = [1]", "R403", "sweep.zip",
         "optimizer.lr has 2, training.epochs has 1", "remove zip"),
        ("'training.epochs' = [1, 2, 3, 4, 5, 6, 7]\n'training.batch_size' = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"  # noqa: ISC004
         "seeds = [1, 2, 3, 4, 5, 6, 7, 8]", "R404", "sweep", "makes 560 runs; at most 500", "fewer"),
        ("'model.weights' = ['$ENGINE_TEST_UNSET/w']", "R207", 'sweep."model.weights"[0]', "isn't set", ""),
    ],
)  # fmt: skip
def test_refused(write: WriteRecipe, sweep: str, code: str, item: str, found: str, fix: str) -> None:
    problems = problems_of(write(MINIMAL + "[sweep]\n" + sweep + "\n"))
    problem = next(problem for problem in problems if problem.where.item == item)
    assert problem.code == code
    assert problem.where.line is not None
    assert problem.where.line >= 9
    assert found in problem.found
    assert fix in problem.fix


@pytest.mark.parametrize("value", ["3", "true", "[]", "'x'"])
def test_sweep_that_is_no_table(write: WriteRecipe, value: str) -> None:
    [problem] = problems_of(write(f"sweep = {value}\n{MINIMAL}"))
    assert (problem.code, problem.where.line, problem.where.item) == ("R401", 1, "sweep")


def test_a_fault_outside_the_sweep_is_told_once(write: WriteRecipe) -> None:
    text = MINIMAL + "[training]\nepochs = 0\n[sweep]\nseeds = [0, 1, 2]\n'optimizer.lr' = [1, 2, 'x']\n"
    problems = problems_of(write(text))
    assert [(problem.code, problem.where.line) for problem in problems] == [("R203", 10), ("R202", 13)]


def test_combination_that_contradicts_itself_is_told(write: WriteRecipe) -> None:
    text = MINIMAL + "[sweep]\n'model.arch' = ['fasterrcnn_resnet50_fpn', 'fasterrcnn_resnet18_fpn']\n"
    [problem] = problems_of(write(text))
    assert problem.code == "R205"
    assert "fasterrcnn_resnet18_fpn" in problem.found


def test_invalid_name_is_told_and_not_hidden_by_the_runs_names(write: WriteRecipe) -> None:
    text = MINIMAL.replace('"desk"', '"de sk"') + "[sweep]\nseeds = [0, 1]\n"
    found: list[Problem] = problems_of(write(text))
    assert [(problem.code, problem.where.line) for problem in found] == [("R203", 1)]


# --- names ---

VALID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
swept = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(max_size=90), st.booleans(), st.lists(st.integers(), max_size=2)
)


def choices_of(keys: dict[str, list[Any]]) -> list[list[Choice]]:
    grid: list[list[Choice]] = [[]]
    for key, values in keys.items():
        path = tuple(key.split("."))
        column = [Choice(path, index, value, ("sweep", key)) for index, value in enumerate(values)]
        grid = [[*run, choice] for run in grid for choice in column]
    return grid


@given(
    st.from_regex(VALID, fullmatch=True),
    st.dictionaries(
        st.sampled_from(["optimizer.lr", "optimizer.name", "model.arch", "training.seed", "name2.lr"]),
        st.lists(swept, min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
)
def test_names_are_valid_and_unique(base: str, keys: dict[str, list[Any]]) -> None:
    choices = choices_of(keys)
    names = run_names(base, choices)
    assert len(names) == len(choices)
    assert len(set(names)) == len(names)
    assert all(VALID.match(name) and len(name) <= MAX_LENGTH for name in names)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"a.lr": [1.0, 0.00001]}, ["desk-lr1", "desk-lr1e-05"]),
        ({"a.lr": [1, -2]}, ["desk-lr1", "desk-lr-2"]),
        ({"a.lr": [1, 2], "b.lr": [3, 4]}, ["desk-a_lr1-b_lr3", "desk-a_lr1-b_lr4", "desk-a_lr2-b_lr3",
                                             "desk-a_lr2-b_lr4"]),
        ({"a.on": [True, False]}, ["desk-on_true", "desk-on_false"]),
        ({"a.file": ["x/y/one.pth", "z/two words.pth"]}, ["desk-file_one.pth", "desk-file_two_words.pth"]),
        ({"a.file": ["x/one.pth", "y/one.pth"]}, ["desk-file_one.pth", "desk-2"]),
        ({"a.lr": [1, 2], "b.same": [5]}, ["desk-lr1", "desk-lr2"]),
        ({"a.text": ["x" * 80, "y" * 80]}, ["desk-1", "desk-2"]),
    ],
    ids=["floats", "ints", "same-last-part", "booleans", "files", "alike", "constant", "long"],
)  # fmt: skip
def test_names(keys: dict[str, list[Any]], names: list[str]) -> None:
    assert run_names("desk", choices_of(keys)) == names


def test_long_base_is_cut_not_the_ending() -> None:
    names = run_names("b" * 64, choices_of({"a.lr": [0.1, 0.2]}))
    assert names == ["b" * 58 + "-lr0.1", "b" * 58 + "-lr0.2"]


def test_many_runs_have_names(write: WriteRecipe) -> None:
    seeds = ", ".join(str(seed) for seed in range(MAX_RUNS))
    assert len({run[0] for run in runs_of(write, f"[sweep]\nseeds = [{seeds}]\n")}) == MAX_RUNS
