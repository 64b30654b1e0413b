"""`engine preview-data`: one picture, a few lines about it, and one clear message for bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.builders import make_voc_dataset, write_recipe
from tests.engine.cli.conftest import Ask


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_voc_dataset(tmp_path / "data", num_train=6)


def test_it_draws_a_sheet_beside_the_person_and_draws_it_again(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path / "recipes", dataset)
    answer = engine("preview-data", recipe)
    assert (answer.code, answer.err.strip()) == (0, "drew tiny-data.png")
    with Image.open(tmp_path / "tiny-data.png") as sheet:
        first = sheet.convert("RGB").tobytes()
    assert "mug" in answer.out
    assert "dropped" not in answer.out
    assert "repeat" not in answer.out
    assert engine("preview-data", recipe, "--seed", 3).code == 0
    with Image.open(tmp_path / "tiny-data.png") as sheet:
        assert sheet.convert("RGB").tobytes() != first


def test_it_tells_what_is_cut_and_what_is_repeated(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(
        tmp_path, dataset, augmentation={"iou_crop": 1.0, "min_visible": 0.9}, training={"repeat_threshold": 1.0}
    )
    answer = engine("preview-data", recipe, "-o", "out.png", "--num", 5)
    assert answer.code == 0
    assert "less than 0.9 of them to be seen" in answer.out
    assert "images come more often" in answer.out
    rare = engine("preview-data", recipe, "--set", "training.repeat_threshold=0.001")
    assert "no image is repeated" in rare.out


def test_someone_elses_file_is_never_overwritten(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset)
    for name in ("tiny-data.png", "mine.png"):
        (tmp_path / name).write_text("mine")
    for options in ((), ("-o", "mine.png")):
        answer = engine("preview-data", recipe, *options)
        assert answer.code == 1
        assert "X104 this file would be overwritten" in answer.err
    assert (tmp_path / "tiny-data.png").read_text() == (tmp_path / "mine.png").read_text() == "mine"


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_drawn(
    engine: Ask, tmp_path: Path, dataset: Path
) -> None:
    broken = dataset / "train/images/train03.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    answer = engine("preview-data", write_recipe(tmp_path, dataset))
    assert answer.code == 1
    assert "train03.jpg" in answer.err
    assert "D109" in answer.err
    assert (tmp_path / "tiny-data.png").exists()


@pytest.mark.parametrize(
    ("sweep", "options", "code"),
    [
        pytest.param({'"optimizer.lr"': [0.1, 0.01]}, [], 0, id="same pictures"),
        pytest.param({'"augmentation.mosaic"': [0.0, 1.0]}, [], 1, id="other pictures"),
        pytest.param({'"augmentation.mosaic"': [0.0, 1.0]}, ["--set", "augmentation.mosaic=1.0"], 0, id="one chosen"),
    ],
)
def test_a_sweep_is_drawn_when_its_runs_see_the_same(
    engine: Ask, tmp_path: Path, dataset: Path, sweep: dict[str, list[float]], options: list[str], code: int
) -> None:
    answer = engine("preview-data", write_recipe(tmp_path, dataset, sweep=sweep), *options)
    assert answer.code == code
    assert ("E107 nothing was drawn: the 2 runs" in answer.err) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(["none.toml"], 1, "R101", id="no recipe"),
        pytest.param(["tiny.toml", "-o", "a.jpg"], 1, "E101 only PNG", id="no png"),
        pytest.param(["tiny.toml", "-o", "tiny.toml/a.png"], 1, "E101 can't be written", id="below a file"),
        pytest.param(["tiny.toml", "--epoch", "2"], 2, "the run has only 1 epoch", id="epoch too late"),
        pytest.param(["tiny.toml", "--epoch", "0"], 2, "--epoch", id="epoch 0"),
        pytest.param(["tiny.toml", "--num", "0"], 2, "--num", id="no images"),
        pytest.param(["tiny.toml", "--seed", "99999999999"], 1, "R203 99999999999 isn't accepted", id="seed"),
        pytest.param(["lost.toml"], 1, "D100", id="no images there"),
    ],
)
def test_bad_input(engine: Ask, tmp_path: Path, dataset: Path, arguments: list[str], code: int, told: str) -> None:
    write_recipe(tmp_path, dataset)
    write_recipe(tmp_path, tmp_path / "lost", "lost")
    answer = engine("preview-data", *arguments)
    assert answer.code == code
    assert told in answer.err
    assert answer.out == ""
    assert not list(tmp_path.glob("*.png"))
