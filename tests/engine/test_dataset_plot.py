"""The picture of a dataset: every kind of dataset can be drawn, and no name upsets it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.annotations import Audit, ImageRecord, SplitRead
from engine.annotations.records import summarise
from engine.report.dataset import draw_dataset
from engine.report.mosaic import WIDTH_PX, mosaic
from tests.builders import process_environment, record, write_photo

SIZES = [(64, 48), (48, 64), (400, 20), (20, 400)]


def found(names: Sequence[str], **splits: Sequence[ImageRecord]) -> Audit:
    """An audit of these records."""
    summary = {split: summarise(tuple(records), tuple(names)) for split, records in splits.items()}
    return Audit({split: SplitRead(tuple(records), ()) for split, records in splits.items()}, (), summary)


def photos(folder: Path, count: int, num_classes: int) -> list[ImageRecord]:
    """Photos of all shapes with one object each, the classes in turn."""
    made = []
    for index in range(count):
        size = SIZES[index % len(SIZES)]
        path = write_photo(folder / f"{index}.jpg", [("mug", (2, 2, 18, 18))], size=size)
        made.append(record([[2, 2, 18, 18]], [index % num_classes], path=path, size=size))
    return made


@pytest.mark.parametrize(
    ("names", "num_train", "num_val"),
    [
        pytest.param(["mug"], 0, 0, id="no-images"),
        pytest.param(["mug"], 1, 0, id="one-image"),
        pytest.param(["mug", "laptop"], 5, 3, id="few"),
        pytest.param([f"class {index}" for index in range(13)], 13, 2, id="as-many-classes-as-have-a-bar"),
        pytest.param([f"class {index}" for index in range(90)], 90, 9, id="many-classes"),
        pytest.param(["$x^", "[bold]", "\x1b[31m", "杯子", "a" * 200], 10, 5, id="odd-names"),
    ],
)
def test_every_dataset_can_be_drawn(tmp_path: Path, names: list[str], num_train: int, num_val: int) -> None:
    train, val = photos(tmp_path / "train", num_train, len(names)), photos(tmp_path / "val", num_val, len(names))
    path = tmp_path / "out" / "dataset.png"
    draw_dataset(found(names, train=train, val=val), names, path, title="desk $5")
    with Image.open(path) as picture:
        assert picture.width == 1560
        assert 500 < picture.height < 2000
    assert [entry.name for entry in path.parent.iterdir()] == ["dataset.png"]


def test_an_unknown_format_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        draw_dataset(found(["mug"], train=[]), ["mug"], tmp_path / "dataset.xyz", title="")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="none"),
        pytest.param([record([], [])], id="only-negatives"),
        pytest.param([record([[1, 1, 9, 9]], [0], path=Path("missing.jpg"))], id="only-missing-files"),
    ],
)
def test_without_samples_there_is_no_mosaic(records: list[ImageRecord]) -> None:
    assert mosaic(records, ["mug"]) is None


def test_the_mosaic_shows_every_class_first(tmp_path: Path) -> None:
    many = photos(tmp_path, 60, 1)
    rare = record([[2, 2, 18, 18]], [1], path=write_photo(tmp_path / "rare.jpg", [], size=(64, 48), seed=9))
    sheet = mosaic([*many, rare], ["mug", "laptop"])
    assert sheet is not None
    assert sheet.width == WIDTH_PX
    first = np.asarray(sheet)[: sheet.height // 3, : WIDTH_PX // 6]
    blue = np.array([0x56, 0xB4, 0xE9])  # the second class's colour
    assert (np.abs(first.astype(int) - blue).sum(axis=2) < 40).any()


def test_the_mosaic_is_the_same_each_time(tmp_path: Path) -> None:
    records = photos(tmp_path, 12, 2)
    one, other = mosaic(records, ["mug", "laptop"]), mosaic(records, ["mug", "laptop"])
    assert one is not None
    assert other is not None
    assert one.tobytes() == other.tobytes()


def test_a_file_gone_since_the_check_is_left_out(tmp_path: Path) -> None:
    records = photos(tmp_path, 3, 1)
    sheet = mosaic([*records, replace(records[0], image_path=tmp_path / "gone.jpg")], ["mug"])
    assert sheet is not None


def test_drawing_needs_no_torch() -> None:
    code = "import sys, engine.report.dataset; sys.exit(bool({'torch', 'textual'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=process_environment(), check=False).returncode == 0
