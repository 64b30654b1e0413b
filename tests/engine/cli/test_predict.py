"""`engine predict` with a really trained, if hardly skilled, model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from engine.rundir import RunDir
from tests.builders import fill_run_dir, load_recipe, write_photo, write_recipe
from tests.engine.cli.conftest import Ask


@pytest.fixture
def photos(tmp_path: Path, trained: Path) -> Path:
    """Two photos beside a copy of the runs folder."""
    shutil.copytree(trained, tmp_path / "runs")
    write_photo(tmp_path / "photos" / "a.png", [("mug", (10, 10, 40, 40))])
    write_photo(tmp_path / "photos" / "deep" / "b.jpg", [], size=(80, 40))
    return tmp_path / "photos"


def test_a_table_pictures_and_json(engine: Ask, photos: Path) -> None:
    # Every guess is shown at threshold 0, whatever the model has learnt in a few steps.
    answer = engine("predict", "tiny", photos, "--threshold", 0)
    assert answer.code == 0
    out = RunDir(photos.parent / "runs" / "0001-tiny").predictions
    assert {path.name for path in out.iterdir()} == {"a.jpg", "b.jpg", "predictions.json"}
    with Image.open(out / "a.jpg") as picture:
        assert picture.size == (64, 48)
    told = json.loads((out / "predictions.json").read_text())
    assert (told["run"], told["epoch"], told["threshold"]) == ("0001-tiny", 1, 0)
    assert [Path(image["image"]).name for image in told["images"]] == ["a.png", "b.jpg"]
    found = [one for image in told["images"] for one in image["detections"]]
    assert f"{len(found)} objects in 2 images" in answer.out
    assert found
    for one in found:
        assert one["label"] in ("mug", "laptop")
        assert 0 <= one["score"] <= 1
        x0, y0, x1, y1 = one["box_xyxy"]
        assert 0 <= x0 <= x1 <= 80
        assert 0 <= y0 <= y1 <= 48
    scores = [one["score"] for one in told["images"][0]["detections"]]
    assert scores == sorted(scores, reverse=True)


def test_json_alone(engine: Ask, photos: Path, tmp_path: Path) -> None:
    answer = engine("predict", "1", photos / "a.png", "--json", "--threshold", 1, "--out", "out")
    assert answer.code == 0
    told = json.loads(answer.out)
    assert told["images"] == [{"image": str(photos / "a.png"), "detections": []}]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == told


def test_nothing_found_is_said(engine: Ask, photos: Path) -> None:
    answer = engine("predict", "tiny", photos / "a.png", "--threshold", 1)
    assert "nothing" in answer.out
    assert "0 objects in 1 image" in answer.out


def test_predictions_may_be_made_again_but_nothing_else_is_overwritten(engine: Ask, photos: Path) -> None:
    arguments = ("predict", "tiny", photos / "a.png", "--out", "out")
    assert engine(*arguments).code == 0
    assert engine(*arguments).code == 0


@pytest.mark.parametrize("out", [".", "photos"], ids=["a file of that name is there", "the input itself"])
def test_a_persons_file_isnt_overwritten(engine: Ask, photos: Path, tmp_path: Path, out: str) -> None:
    mine = write_photo(tmp_path / out / "c.jpg", [])
    source = mine if out == "photos" else write_photo(tmp_path / "photos" / "c.png", [])
    before = mine.read_bytes()
    answer = engine("predict", "tiny", source, "--out", out)
    assert answer.code == 1
    assert "would be overwritten" in answer.err
    assert mine.read_bytes() == before


def test_an_input_isnt_overwritten_among_former_predictions_either(engine: Ask, photos: Path) -> None:
    assert engine("predict", "tiny", photos / "a.png", "--out", "photos").code == 0
    drawn = (photos / "a.jpg").read_bytes()
    assert "would be overwritten" in engine("predict", "tiny", photos / "a.jpg", "--out", "photos").err
    assert (photos / "a.jpg").read_bytes() == drawn


def test_pictures_of_the_same_name_are_both_drawn(engine: Ask, photos: Path, tmp_path: Path) -> None:
    write_photo(photos / "deep" / "A.png", [])
    assert engine("predict", "tiny", photos, "--out", "out").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.jpg", "A-2.jpg", "b.jpg", "predictions.json"}


def test_a_missing_picture_stops_before_the_model_is_loaded(engine: Ask, photos: Path) -> None:
    (photos / "empty").mkdir()
    answer = engine("predict", "tiny", photos / "a.png", "gone.jpg", photos / "empty")
    assert answer.code == 1
    assert "gone.jpg" in answer.err
    assert "photos/empty" in answer.err
    assert answer.err.count("X103") == 2


def test_a_broken_picture_is_told_and_the_others_are_looked_at(engine: Ask, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"not a picture")
    answer = engine("predict", "tiny", photos, "--out", "out")
    assert answer.code == 1
    assert "photos/broken.jpg" in answer.err
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]) == 2


def test_a_run_without_a_model(engine: Ask, photos: Path) -> None:
    RunDir(photos.parent / "runs" / "0001-tiny").best_checkpoint.unlink()
    answer = engine("predict", "tiny", photos)
    assert answer.code == 1
    assert "no model yet" in answer.err


def test_a_damaged_model(engine: Ask, photos: Path) -> None:
    path = RunDir(photos.parent / "runs" / "0001-tiny").best_checkpoint
    path.write_bytes(path.read_bytes()[:5000])
    answer = engine("predict", "tiny", photos)
    assert answer.code == 1
    assert "checksum" in answer.err


def test_a_model_of_another_recipe(engine: Ask, photos: Path, tmp_path: Path, dataset: Path) -> None:
    other = load_recipe(write_recipe(tmp_path, dataset, classes={"names": ["laptop", "mug"]}))
    fill_run_dir(RunDir(tmp_path / "runs" / "0001-tiny"), other)
    answer = engine("predict", "tiny", photos)
    assert answer.code == 1
    assert "another recipe" in answer.err


@pytest.mark.parametrize("device", ["banana", "cuda:99", "cpu:x", ""])
def test_a_device_that_isnt_there_is_told(engine: Ask, photos: Path, device: str) -> None:
    answer = engine("predict", "tiny", photos / "a.png", "--device", device)
    assert answer.code in (1, 2)
    assert "device" in answer.err
