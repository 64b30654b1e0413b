"""`engine check --fix`: the copy, what is said of it, and the recipe that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import make_voc_dataset, write_photo, write_recipe, write_voc
from tests.engine.cli.conftest import Ask


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    data = make_voc_dataset(tmp_path / "data")
    objects = [("laptpo", (1, 1, 20, 20)), ("mug", (5, 5, 5, 20)), ("mug", (50, 10, 80, 30))]
    write_photo(data / "train/images/dirty.jpg", [], seed=999)
    write_voc(data / "train/annotations/dirty.xml", objects)
    write_photo(data / "train/images/unlabelled.jpg", [], seed=1000)
    return data


def test_the_printed_recipe_checks_clean(engine: Ask, tmp_path: Path, dirty: Path) -> None:
    recipe = write_recipe(tmp_path, dirty)
    before = {path: path.read_bytes() for path in dirty.rglob("*") if path.is_file()}
    answer = engine("check", recipe, "--fix", "fixed")
    assert answer.code == 0
    assert {path: path.read_bytes() for path in dirty.rglob("*") if path.is_file()} == before
    for line in (
        "tiny.toml: 4 errors",
        "fixed: corrected copy, 10 images with",
        "4 changes, each told in fixed/FIXES.md",
        "D102 empty box, 1 time: object left out",
        'D105 class not in the map, 1 time: renamed to "laptop"',
        "With these lines, engine check finds no error in the copy.",
    ):
        assert line in answer.out
    lines = answer.out.partition("For a recipe in .:\n")[2].partition("With these lines")[0]
    rest = recipe.read_text().partition("[classes]")[2]
    (tmp_path / "fixed.toml").write_text(f'name = "fixed"\n{lines}\n[classes]{rest}')
    again = engine("check", "fixed.toml")
    assert again.code == 0
    assert "error" not in again.out
    log = (tmp_path / "fixed/FIXES.md").read_text()
    assert 'annotations/dirty.xml:7  object 2 "mug"`: empty box: width is 0 px (xmin = 5, xmax = 5)' in log
    assert len(json.loads((tmp_path / "fixed/fixes.json").read_text())) == 4


def test_unknown_classes_are_asked_about(engine: Ask, tmp_path: Path, dirty: Path) -> None:
    write_voc(dirty / "train/annotations/unlabelled.xml", [("zebra", (1, 1, 9, 9)), ("zebra", (1, 9, 9, 19))])
    answer = engine("check", write_recipe(tmp_path, dirty), "--fix", "fixed")
    assert answer.code == 0
    assert '"zebra",  # 2 objects' in answer.out
    assert "Left for you to decide: 2 objects" in (tmp_path / "fixed/FIXES.md").read_text()


def test_what_only_a_person_can_mend_ends_with_code_1(engine: Ask, tmp_path: Path, dirty: Path) -> None:
    recipe = write_recipe(tmp_path, dirty, classes={"names": ["spoon"]})
    answer = engine("check", recipe, "--fix", "fixed")
    assert answer.code == 1
    assert "errors that only a person can mend" in answer.out
    assert "error D116" in answer.out


def test_json_stays_json(engine: Ask, tmp_path: Path, dirty: Path) -> None:
    answer = engine("check", write_recipe(tmp_path, dirty), "--json", "--fix", "fixed")
    assert json.loads(answer.out)[0]["ok"] is False
    assert "corrected copy" in answer.err


def test_a_folder_that_holds_something_and_two_datasets_are_refused(
    engine: Ask, tmp_path: Path, dirty: Path, dataset: Path
) -> None:
    first, second = write_recipe(tmp_path, dirty), write_recipe(tmp_path, dataset, "second")
    taken = engine("check", first, "--fix", "data")
    assert (taken.code, "D135 there is something already" in taken.err) == (1, True)
    several = engine("check", first, second, "--fix", "fixed")
    assert (several.code, "D137" in several.err) == (1, True)
    none = engine("check", "nothing.toml", "--fix", "fixed")
    assert (none.code, "no recipe can be read" in none.err) == (1, True)
    assert not (tmp_path / "fixed").exists()
