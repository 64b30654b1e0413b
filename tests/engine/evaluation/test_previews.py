from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from engine.annotations import ImageRecord
from engine.evaluation import previews
from engine.evaluation.coco import coco_figures
from engine.evaluation.previews import make_previews, pick_worst_images
from engine.evaluation.validate import Validation
from engine.models import Detection
from engine.previewfile import EpochPreviews, decode_previews
from engine.rundir import RunDir
from tests.builders import CLASS_NAMES, record, write_photo

Found = tuple[int, tuple[float, float, float, float], float]
MUG = (10.0, 10.0, 30.0, 30.0)
AWAY = (40.0, 40.0, 60.0, 60.0)


def detection(found: Sequence[Found]) -> Detection:
    return {
        "boxes_xyxy": torch.tensor([box for _, box, _ in found]).reshape(-1, 4),
        "labels": torch.tensor([label for label, _, _ in found], dtype=torch.int64),
        "scores": torch.tensor([score for _, _, score in found]),
    }


def validation(records: Sequence[ImageRecord], found: Sequence[Sequence[Found]], measured: Sequence[int]) -> Validation:
    detections = [detection(one) for one in found]
    return Validation({}, coco_figures(records, detections, CLASS_NAMES), detections, tuple(measured))


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Three photos with a mug each."""
    paths = [write_photo(tmp_path / f"{index}.jpg", [("mug", (10, 10, 30, 30))], size=(900, 600)) for index in range(3)]
    return [record([MUG], [0], path=path, size=(900, 600)) for path in paths]


def read(run_dir: RunDir, path: str) -> EpochPreviews:
    return decode_previews((run_dir.path / path).read_bytes())


def test_the_worst_have_the_most_errors_and_the_faultless_are_none(records: list[ImageRecord]) -> None:
    found = [
        [(0, MUG, 0.9)],  # right
        [(0, AWAY, 0.9), (1, AWAY, 0.8)],  # missed, twice false
        [(0, MUG, 0.4)],  # missed at this threshold
    ]
    whole = validation(records, found, [0, 1, 2])
    assert pick_worst_images(records, whole, CLASS_NAMES, 0.5) == [1, 2]
    assert pick_worst_images(records, whole, CLASS_NAMES, 0.3) == [1]
    assert pick_worst_images(records, whole, CLASS_NAMES, 0.5, count=1) == [1]


def test_images_that_were_not_measured_are_not_the_worst(records: list[ImageRecord]) -> None:
    part = validation(records, [[], [], [(0, MUG, 0.9)]], [2])
    assert pick_worst_images(records, part, CLASS_NAMES, 0.5) == []
    assert pick_worst_images(records, validation(records, [[], [], []], []), CLASS_NAMES, 0.5) == []


def test_boxes_and_photos_are_kept(tmp_path: Path, records: list[ImageRecord]) -> None:
    run_dir = RunDir(tmp_path / "run")
    found = [[(0, MUG, 0.91239), (1, AWAY, 0.2), (1, AWAY, 0.01)], [], [(0, MUG, 0.9)]]
    event = make_previews(run_dir, 3, records, validation(records, found, [0, 1, 2]), [0], CLASS_NAMES, 0.5)
    assert event.boxes == "previews/0003/boxes.json"
    kept = read(run_dir, event.boxes)
    [fixed], [worst] = kept.of("fixed"), kept.of("worst")
    assert (kept.epoch, kept.class_names, kept.score_threshold) == (3, tuple(CLASS_NAMES), 0.5)
    assert (fixed.width, fixed.height) == (900, 600)
    assert [(one.label, one.score) for one in fixed.found] == [(0, 0.9123), (1, 0.2)]
    assert fixed.truth[0].box_xyxy == MUG
    assert (worst.name, worst.found) == ("1.jpg", ())
    for image in (fixed, worst):
        with Image.open(run_dir.path / image.photo) as photo:
            assert photo.size == (640, 427)


def test_photos_are_written_once(tmp_path: Path, records: list[ImageRecord]) -> None:
    run_dir = RunDir(tmp_path / "run")
    nothing = validation(records, [[], [], []], [0, 1, 2])
    make_previews(run_dir, 0, records, nothing, [0], CLASS_NAMES, 0.5)
    before = {path: path.stat().st_mtime_ns for path in run_dir.preview_photo(0).parent.iterdir()}
    assert len(before) == 3
    make_previews(run_dir, 1, records, nothing, [0], CLASS_NAMES, 0.5)
    assert {path: path.stat().st_mtime_ns for path in run_dir.preview_photo(0).parent.iterdir()} == before


def test_an_epochs_pictures_are_not_waited_for(
    tmp_path: Path, records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, whole = RunDir(tmp_path / "run"), validation(records, [[], [], []], [0, 1, 2])
    make_previews(run_dir, 0, records, whole, [0, 1], CLASS_NAMES, 0.5)
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    event = make_previews(run_dir, 1, records, whole, [0, 1], CLASS_NAMES, 0.5)
    assert len(event.previews) == 2
    assert len(waits) == 2  # for the boxes and their folder


def test_the_number_of_boxes_is_bounded(tmp_path: Path, records: list[ImageRecord]) -> None:
    many = [(0, MUG, 0.1 + 0.001 * index) for index in range(500)]
    event = make_previews(
        RunDir(tmp_path), 0, records, validation(records, [many, [], []], [0, 1, 2]), [0], CLASS_NAMES, 0.5
    )
    [fixed] = read(RunDir(tmp_path), event.boxes).of("fixed")
    assert len(fixed.found) == 100
    assert fixed.found[0].score == pytest.approx(0.599, abs=1e-3)


def test_an_unreadable_photo_costs_the_picture_alone(tmp_path: Path, records: list[ImageRecord]) -> None:
    records[1].image_path.write_bytes(b"rubbish")
    run_dir = RunDir(tmp_path / "run")
    event = make_previews(run_dir, 0, records, validation(records, [[], [], []], [0, 1, 2]), [0, 1], CLASS_NAMES, 0.5)
    assert [preview.path for preview in event.previews] == ["previews/0000/00.jpg"]
    assert [image.name for image in read(run_dir, event.boxes).of("fixed")] == ["0.jpg", "1.jpg"]
    assert not run_dir.preview_photo(1).exists()


def test_a_full_disk_does_not_end_the_training(
    tmp_path: Path, records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(previews, "save_jpeg", full)
    monkeypatch.setattr(previews, "write_bytes_atomic", full)
    event = make_previews(
        RunDir(tmp_path), 0, records, validation(records, [[], [], []], [0, 1, 2]), [0], CLASS_NAMES, 0.5
    )
    assert (event.previews, event.boxes) == ((), "")
