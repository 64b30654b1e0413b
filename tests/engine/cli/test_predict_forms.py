"""`engine predict` beyond a table and pictures: labels, videos, streams, watched folders, choices."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.analysis import Thresholds
from engine.prediction.video import read_video
from engine.rundir import RunDir
from tests.builders import write_photo
from tests.engine.cli.conftest import Ask
from tests.engine.prediction.test_video import write_clip


@pytest.fixture
def photos(tmp_path: Path, run: RunDir) -> Path:
    """A folder with two photos, one below another, beside a run whose model has learnt nothing."""
    for index, name in enumerate(("a.png", "deep/b.jpg")):
        write_photo(tmp_path / "photos" / name, [("mug", (5, 5, 40, 40))], seed=index)
    return tmp_path / "photos"


def recipe_of(folder: Path, form: str, images: str, annotations: str) -> Path:
    path = folder / f"draft-{form}.toml"
    names_file = f'names_file = "{Path(annotations).parent / "data.yaml"}"' if form == "yolo" else ""
    places = f'{{ images = "{images}", annotations = "{annotations}" }}'
    path.write_text(
        f'name = "draft"\n[dataset]\nformat = "{form}"\n{names_file}\ntrain = {places}\nval_fraction = 0.5\n'
        '[classes]\nnames = ["mug", "laptop"]\n[model]\narch = "fasterrcnn_mobilenet_v2_fpn"\nweights = "none"\n'
    )
    return path


@pytest.mark.parametrize(("form", "place"), [("voc", "out/voc"), ("yolo", "out/yolo"), ("coco", "out/coco.json")])
def test_predictions_are_a_first_draft_of_labels(
    engine: Ask, photos: Path, tmp_path: Path, form: str, place: str
) -> None:
    for index in range(6):  # enough for a val_fraction
        write_photo(photos / "deep" / f"c{index}.jpg", [], seed=9 + index, size=(64 + index, 40))
    assert engine("predict", "4", photos, "--threshold", 0, "--save", form, "--out", "out").code == 0
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    num_objects = sum(len(image["detections"]) for image in told)
    answer = engine("check", recipe_of(tmp_path, form, "photos", place))
    assert answer.code == 0, answer.err
    checked = answer.out + answer.err
    assert "error" not in checked
    assert num_objects > 20
    assert sum(int(number) for number in re.findall(r"with (\d+) objects", checked)) == num_objects
    assert not (tmp_path / "out" / "a.jpg").exists(), "pictures weren't asked for"


def test_a_picture_on_its_side_is_labelled_as_shown(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for seed, name in enumerate("abcdefgh"):
        path = write_photo(tmp_path / "turned" / f"{name}.jpg", [], seed=seed)
        with Image.open(path) as photo:
            photo.save(path, exif=exif)
    assert engine("predict", "4", "turned", "--threshold", 0, "--save", "voc", "--out", "out").code == 0
    assert "<width>48</width>" in (tmp_path / "out/voc/a.xml").read_text()
    assert engine("check", recipe_of(tmp_path, "voc", "turned", "out/voc")).code == 0


def test_a_table_for_spreadsheets_and_cocos_results(engine: Ask, photos: Path, tmp_path: Path) -> None:
    engine("predict", "4", photos, "--threshold", 0, "--save", "csv,coco", "--out", "out")
    out = tmp_path / "out"
    images = json.loads((out / "predictions.json").read_text())["images"]
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [one["label"] for image in images for one in image["detections"]]
    results = json.loads((out / "coco_results.json").read_text())
    assert [one["score"] for one in results] == [float(row["score"]) for row in rows]
    assert {one["image_id"] for one in results} == {1, 2}


def test_only_some_classes(engine: Ask, photos: Path) -> None:
    answer = engine("predict", "4", photos, "--threshold", 0, "--class", "mug", "--json", "--out", "out")
    assert {one["label"] for image in json.loads(answer.out)["images"] for one in image["detections"]} == {"mug"}


def test_wrong_choices_are_told_before_anything_is_written(engine: Ask, photos: Path, tmp_path: Path) -> None:
    for arguments, told in (
        (("--class", "cup"), "the model knows no class 'cup'"), (("--save", "voc,pdf"), "no form 'pdf'"),
        (("--threshold", "high"), "valid float"), (("--tile", "3"), "32<=x"),
        (("--watch", photos, "--out", photos / "out"), "X114"),
    ):
        answer = engine("predict", "4", photos, *arguments)
        assert answer.code != 0
        assert told in answer.err
    assert "name pictures" in engine("predict", "4").err
    assert not RunDir(tmp_path / "runs" / "0004-desk").predictions.exists()


@pytest.mark.parametrize(
    ("wanted", "told"), [("best", "least score 0.77, the run's best by F1"), ("per-class", "mug 0.70, laptop 0.80")]
)
def test_the_runs_own_thresholds(
    engine: Ask, photos: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, told: str
) -> None:
    known = Thresholds(overall=0.77, per_class={"mug": 0.7, "laptop": 0.8})
    monkeypatch.setattr("engine.evaluation.predict.read_thresholds", lambda _: known)
    answer = engine("predict", "4", photos, "--threshold", wanted, "--out", "out")
    assert told in answer.out
    content = json.loads((photos.parent / "out" / "predictions.json").read_text())
    assert content["threshold"] == 0.77
    assert content.get("thresholds", {}) == ({} if wanted == "best" else known.per_class)


def test_a_checkpoint_by_itself(engine: Ask, photos: Path, tmp_path: Path, run: RunDir) -> None:
    shutil.move(run.best_checkpoint, tmp_path / "mugs.pt")
    answer = engine("predict", "mugs.pt", photos / "a.png")
    assert answer.code == 0
    assert json.loads((tmp_path / "predictions" / "predictions.json").read_text())["run"] == "mugs.pt"


def test_many_pictures_are_told_by_class_and_a_broken_one_by_name(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    for index in range(21):
        write_photo(tmp_path / "many" / f"{index:02d}.jpg", [], size=(32, 32))
    (tmp_path / "many" / "07.jpg").write_bytes((tmp_path / "many" / "08.jpg").read_bytes()[:300])
    (tmp_path / "many" / "21.jpg").write_bytes(b"")
    answer = engine("predict", "4", "many", "--threshold", 0, "--save", "json", "--out", "out")
    assert answer.code == 1
    assert answer.err.count("D109") == 2
    assert "07.jpg" in answer.err
    assert "dataset." not in answer.err, "no recipe is about these pictures"
    images = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert [Path(image["image"]).stem for image in images] == [f"{i:02d}" for i in range(21) if i != 7]


def test_a_video_is_drawn_and_told_frame_by_frame(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", 5)
    answer = engine(
        "predict", "4", "clip.mp4", "--threshold", 0, "--every", 2, "--save", "pictures,voc,csv", "--out", "out"
    )
    assert answer.code == 0, answer.err
    out = tmp_path / "out"
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["time_s"]) for line in lines] == [(0, 0.0), (2, 0.2), (4, 0.4)]
    drawn = list(read_video(out / "clip.mp4"))
    assert [round(frame.time_s, 3) for frame in drawn] == [0.0, 0.2, 0.4]
    assert drawn[0].pixels.std() > 5, "boxes are drawn on the black first frame"
    assert {path.stem for path in (out / "frames/voc/clip").iterdir()} == {"000000", "000002", "000004"}
    assert engine("check", recipe_of(tmp_path, "voc", "out/frames/images", "out/frames/voc")).code == 0
    [told] = json.loads((out / "predictions.json").read_text())["videos"]
    assert told == {"video": "clip.mp4", "num_frames": 3, "detections": "clip.jsonl"}
    assert "3 images" in answer.out


def test_a_damaged_video_and_a_camera_that_isnt_there(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"noise")
    answer = engine("predict", "4", "noise.mp4", "camera:/dev/none", "--out", "out")
    assert answer.code == 1
    assert "X112" in answer.err
    assert "X113" in answer.err


def test_a_watched_folder(engine: Ask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = write_photo(tmp_path / "other" / "late.jpg", [], size=(200, 200)).read_bytes()
    (tmp_path / "inbox").mkdir()
    write_photo(tmp_path / "inbox" / "old.jpg", [])
    deadline = time.monotonic() + 60
    nap = time.sleep

    def meanwhile(_: float) -> None:
        """A picture arrives in two halves; once it was looked at, Ctrl-C is pressed."""
        late, lines = tmp_path / "inbox" / "late.jpg", tmp_path / "out" / "inbox.jsonl"
        if not late.exists():
            late.write_bytes(half[: len(half) // 2])
        elif len(half) > late.stat().st_size and time.time() - late.stat().st_mtime > 1.3:
            late.write_bytes(half)
        if lines.read_text() or time.monotonic() > deadline:
            raise KeyboardInterrupt
        nap(0.1)

    monkeypatch.setattr("engine.prediction.job.time.sleep", meanwhile)
    answer = engine("predict", "4", "--watch", "inbox", "--threshold", 0, "--out", "out", "--json")
    assert answer.code == 0, answer.err
    [line] = (tmp_path / "out" / "inbox.jsonl").read_text().splitlines()
    assert json.loads(line)["image"] == os.path.join("inbox", "late.jpg")  # noqa: PTH118
    assert answer.out.strip() == line
    assert (tmp_path / "out" / "late.jpg").exists()
    assert not (tmp_path / "out" / "old.jpg").exists()


def test_ctrl_c_keeps_what_was_found(
    engine: Ask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.prediction.saving import Saver

    real = Saver.picture

    def first_only(self: Saver, *arguments: object, **options: object) -> object:
        if self.images:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Saver, "picture", first_only)
    answer = engine("predict", "4", photos, "--out", "out")
    assert answer.code == 130
    assert "ended by Ctrl-C" in answer.out
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]) == 1


def test_a_name_that_isnt_text(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photos" / "a.png", [])
    odd = os.fsencode(photo.parent) + b"/caf\xe9.png"
    try:
        os.rename(photo, odd)  # noqa: PTH104 - bytes
    except OSError:
        pytest.skip("this file system takes text only")
    answer = engine("predict", "4", "photos", "--save", "pictures,csv,coco,voc,yolo", "--out", "out")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "out" / "voc").iterdir())) == 1
