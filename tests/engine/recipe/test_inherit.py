"""`extends`: merging, relative paths, cycles, and problems told at the right line of the right file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.recipe.inherit import MAX_FILES
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one, problems_of


def test_child_wins_and_the_rest_is_taken(write: WriteRecipe) -> None:
    write(MINIMAL + "[optimizer]\nlr = 0.1\nmomentum = 0.5\n[training]\nepochs = 3\n", "base.toml")
    recipe = load_one(write('extends = "base.toml"\nname = "child"\n[optimizer]\nlr = 0.2\n')).recipe
    assert (recipe.name, recipe.training.epochs) == ("child", 3)
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.2, 0.5)


def test_name_is_taken_when_absent(write: WriteRecipe) -> None:
    write(MINIMAL, "base.toml")
    assert load_one(write('extends = "base.toml"\n', "child.toml")).recipe.name == "desk"


def test_lists_are_replaced_tables_are_merged(write: WriteRecipe) -> None:
    write(MINIMAL + 'aliases = { cup = "mug", note = "laptop" }\nignore = ["cat", "dog"]\n', "base.toml")
    child = 'extends = "base.toml"\n[classes]\nignore = ["cow"]\naliases = { cup = "laptop", pad = "keyboard" }\n'
    classes = load_one(write(child)).recipe.classes
    assert classes.ignore == ("cow",)
    assert classes.aliases == {"cup": "laptop", "note": "laptop", "pad": "keyboard"}


def test_several_parents_later_wins(write: WriteRecipe) -> None:
    write(MINIMAL + "[training]\nepochs = 1\nbatch_size = 1\nseed = 1\n", "a.toml")
    write("[training]\nepochs = 2\nbatch_size = 2\n", "b.toml")
    training = load_one(write('extends = ["a.toml", "b.toml"]\n[training]\nepochs = 3\n')).recipe.training
    assert (training.epochs, training.batch_size, training.seed) == (3, 2, 1)


def test_chain_and_diamond(write: WriteRecipe) -> None:
    write(MINIMAL + "[training]\nepochs = 1\n", "root.toml")
    write('extends = "root.toml"\n[training]\nbatch_size = 2\n', "left.toml")
    write('extends = "root.toml"\n[training]\nseed = 3\n', "right.toml")
    training = load_one(write('extends = ["left.toml", "right.toml"]\n')).recipe.training
    assert (training.epochs, training.batch_size, training.seed) == (1, 2, 3)


def test_paths_are_relative_to_the_file_they_are_written_in(write: WriteRecipe, tmp_path: Path) -> None:
    write(MINIMAL, "common/base.toml")
    child = 'extends = "../common/base.toml"\n[dataset]\nval = { images = "x", annotations = "y" }\n'
    dataset = load_one(write(child, "mine/desk.toml")).recipe.dataset
    assert dataset.roots("train")[0].images == tmp_path.resolve() / "common/train/images"
    assert dataset.roots("val")[0].images == tmp_path.resolve() / "mine/x"


def test_parent_may_be_named_with_a_variable(
    write: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(MINIMAL, "common/base.toml")
    monkeypatch.setenv("ENGINE_TEST_COMMON", str(tmp_path / "common"))
    assert load_one(write('extends = "$ENGINE_TEST_COMMON/base.toml"\n')).recipe.name == "desk"


def test_false_takes_an_optional_value_out(write: WriteRecipe) -> None:
    base = MINIMAL + "[early_stopping]\npatience = 3\n[training]\nclip_grad_norm = 1.0\n[sweep]\nseeds = [0, 1]\n"
    write(base, "base.toml")
    child = 'extends = "base.toml"\nearly_stopping = false\nsweep = false\n[training]\nclip_grad_norm = false\n'
    recipe = load_one(write(child)).recipe
    assert recipe.early_stopping is None
    assert recipe.training.clip_grad_norm is None


def test_false_does_not_take_a_value_with_a_default_out(write: WriteRecipe) -> None:
    [problem] = problems_of(write(MINIMAL + "[training]\nepochs = false\n"))
    assert (problem.code, problem.where.item) == ("R202", "training.epochs")


def test_sources_remember_what_was_replaced(write: WriteRecipe) -> None:
    base = write(MINIMAL + "[optimizer]\nlr = 0.1\n", "base.toml")
    middle = write('extends = "base.toml"\n[optimizer]\nlr = 0.2\n', "middle.toml")
    child = write('extends = "middle.toml"\noptimizer.lr = 0.3\n')
    source = load_one(child).sources["optimizer.lr"]
    assert str(source) == f"{child}:2"
    assert [(str(earlier), value) for earlier, value in source.replaced] == [
        (f"{base}:10", "0.1"), (f"{middle}:3", "0.2"),
    ]  # fmt: skip


def test_class_ids_replace_inherited_names(write: WriteRecipe) -> None:
    write(MINIMAL, "base.toml")
    recipe = load_one(write('extends = "base.toml"\n[classes]\nbackground = 0\ncat = 1\n')).recipe
    assert recipe.classes.names == ("cat",)


# --- problems ---


def test_problem_of_a_parent_is_told_in_the_parent(write: WriteRecipe) -> None:
    base = write(MINIMAL + "[training]\nepochs = '5'\nepoch = 3\n", "base.toml")
    child = write('extends = "base.toml"\n[training]\nbatch_size = 0\n')
    problems = problems_of(child)
    assert {(problem.where.path, problem.where.line, problem.code) for problem in problems} == {
        (str(base), 10, "R202"), (str(base), 11, "R201"), (str(child), 3, "R203"),
    }  # fmt: skip


def test_missing_parent_hides_no_other_problem_and_invents_none(write: WriteRecipe) -> None:
    write(MINIMAL, "base.toml")
    problems = problems_of(write('name = "x"\nextends = "bass.toml"\n[training]\nepochs = 0\n'))
    assert [(problem.code, problem.where.line, problem.where.column) for problem in problems] == [
        ("R301", 2, 11), ("R203", 4, 10),
    ]  # fmt: skip
    assert "base.toml" in problems[0].fix


def test_parent_that_is_no_toml(write: WriteRecipe) -> None:
    base = write("name = desk", "base.toml")
    [problem] = problems_of(write('extends = "base.toml"\n'))
    assert (problem.code, problem.where.path, problem.where.line) == ("R104", str(base), 1)


def test_folder_as_parent(write: WriteRecipe) -> None:
    [problem] = problems_of(write('extends = "."\n'))
    assert problem.code == "R301"
    assert "folder" in problem.found


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("5", "R301"), ("true", "R301"), ("{}", "R301"), ("['base.toml', 5]", "R301"), ("''", "R207"),
        ("'$ENGINE_TEST_UNSET'", "R207"),
    ],
)
def test_extends_that_names_no_file(write: WriteRecipe, written: str, code: str) -> None:
    write(MINIMAL, "base.toml")
    [problem] = problems_of(write(f"extends = {written}\n"))
    assert (problem.code, problem.where.line) == (code, 1)


def test_cycle_is_told_with_its_chain(write: WriteRecipe) -> None:
    write('extends = "b.toml"\n', "a.toml")
    write('extends = "c.toml"\n', "b.toml")
    c = write('extends = "a.toml"\n', "c.toml")
    [problem] = problems_of(c.with_name("a.toml"))
    assert (problem.code, problem.where.path, problem.where.line) == ("R302", str(c), 1)
    steps = [Path(step).name for step in problem.found.split(": ", 1)[1].split(" -> ")]
    assert steps == ["a.toml", "b.toml", "c.toml", "a.toml"]


def test_recipe_that_extends_itself(write: WriteRecipe) -> None:
    [problem] = problems_of(write('extends = "desk.toml"\n'))
    assert problem.code == "R302"


def test_cycle_through_a_link_is_found(write: WriteRecipe, tmp_path: Path) -> None:
    path = write('extends = "link.toml"\n')
    (tmp_path / "link.toml").symlink_to(path)
    [problem] = problems_of(path)
    assert problem.code == "R302"


def test_number_of_files_is_bounded(write: WriteRecipe) -> None:
    for index in range(MAX_FILES + 5):
        write(f'extends = "{index + 1}.toml"\n', f"{index}.toml")
    problems = problems_of(write('extends = "0.toml"\n'))
    assert [problem.code for problem in problems] == ["R303"]


def test_problem_of_a_shared_ancestor_is_told_once(write: WriteRecipe) -> None:
    write(MINIMAL + "[training]\nepochs = 0\n[classes2]\n", "root.toml")
    write('extends = "root.toml"\n', "left.toml")
    write('extends = "root.toml"\n', "right.toml")
    problems = problems_of(write('extends = ["left.toml", "right.toml"]\n'))
    assert [problem.code for problem in problems] == ["R203", "R201"]
