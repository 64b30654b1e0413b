"""`engine convert`: what it writes, what it prints for a recipe, and one clear message for bad input."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.annotations import read_split
from tests.builders import load_recipe, write_photo, write_recipe, write_voc
from tests.engine.cli.conftest import Ask


@pytest.mark.parametrize("form", ["voc", "coco", "yolo"])
@pytest.mark.parametrize("how", ["--link", "--copy"])
def test_the_printed_lines_make_a_recipe(engine: Ask, tmp_path: Path, dataset: Path, form: str, how: str) -> None:
    recipe = write_recipe(tmp_path / "recipes", dataset)
    answer = engine("convert", recipe, "out", "--to", form, how)
    assert answer.code == 0
    assert "wrote 9 images with" in answer.err
    assert "for a recipe in recipes:" in answer.err
    assert '"../out/train/images"' in answer.out
    other = tmp_path / "recipes/other.toml"
    rest = recipe.read_text().partition("[classes]")[2]
    other.write_text(f'name = "other"\n{answer.out}\n[classes]{rest}')
    first, again = (load_recipe(path) for path in (recipe, other))
    for split in ("train", "val"):
        records = [read_split(loaded.dataset, loaded.classes, split).records for loaded in (first, again)]  # type: ignore[arg-type]
        assert [[r.boxes_xyxy.tolist() for r in read] for read in records[:1]] == [
            [r.boxes_xyxy.tolist() for r in read] for read in records[1:]
        ]


def test_policies_go_along_and_what_is_settled_does_not(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    changes = [f"dataset.{change}" for change in ('empty_boxes="drop"', 'missing_images="skip"', "first_pixel=1")]
    options = [part for change in changes for part in ("--set", change)]
    answer = engine("convert", write_recipe(tmp_path, dataset), "out", "--to", "coco", *options)
    assert 'empty_boxes = "drop"' in answer.out
    assert "missing_images" not in answer.out
    assert "first_pixel" not in answer.out


def test_what_is_lost_is_told(engine: Ask, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        write_photo(data / split / "images/a.jpg", [], seed=len(split))
        xml = write_voc(data / split / "annotations/a.xml", [("mug", (1, 1, 20, 20))])
        xml.write_text(xml.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>"))
    answer = engine("convert", write_recipe(tmp_path, data), "out", "--to", "yolo")
    assert answer.code == 0
    assert "note D136 mark lost in conversion, 1 time in train" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(["none.toml", "out", "--to", "coco"], 1, "R101", id="no recipe"),
        pytest.param(["tiny.toml", "out"], 2, "Missing option '--to'", id="no format"),
        pytest.param(["tiny.toml", "out", "--to", "pascal"], 2, "'pascal' is not one of", id="unknown format"),
        pytest.param(["tiny.toml", ".", "--to", "coco"], 1, "D135 there is something already", id="taken"),
        pytest.param(["tiny.toml", "out\x1b[31m", "--to", "coco"], 1, "D135 the name holds", id="escapes"),
        pytest.param(["tiny.toml", "tiny.toml/x", "--to", "coco"], 1, "D135", id="below a file"),
        pytest.param(["sweep.toml", "out", "--to", "coco"], 1, "D137", id="several datasets"),
        pytest.param(["lost.toml", "out", "--to", "coco"], 1, "D100", id="no images"),
    ],
)
def test_bad_input(engine: Ask, tmp_path: Path, dataset: Path, arguments: list[str], code: int, told: str) -> None:
    write_recipe(tmp_path, dataset)
    write_recipe(tmp_path, dataset, "sweep", sweep={'"classes.names"': [["mug"], ["mug", "laptop"]]})
    write_recipe(tmp_path, tmp_path / "lost", "lost")
    answer = engine("convert", *arguments)
    assert answer.code == code
    assert told in answer.err
    assert answer.out == ""
    assert not (tmp_path / "out").exists()


def test_the_dataset_itself_is_never_written_to(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    target = dataset / "train/images/new"
    answer = engine("convert", write_recipe(tmp_path, dataset), target, "--to", "coco")
    assert answer.code == 1
    assert "lies within the dataset itself" in answer.err
    assert not target.exists()


def test_images_that_cannot_be_carried_over_end_with_code_1(engine: Ask, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        write_photo(data / split / f"images/{name}.jpg", [], seed=ord(name))
        write_voc(data / split / f"annotations/{name}.xml", [("mug", (1, 1, 20, 20))])
    (data / "train/annotations/b.xml").write_text("junk")
    answer = engine("convert", write_recipe(tmp_path, data), "out", "--to", "coco")
    assert answer.code == 1
    assert "error D110" in answer.err
    assert "wrote 2 images with 2 objects" in answer.err
    policy = 'dataset.unreadable_annotations="skip"'
    assert engine("convert", tmp_path / "tiny.toml", "out2", "--to", "coco", "--set", policy).code == 0
