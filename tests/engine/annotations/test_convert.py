"""Converting to another format and back leaves every record as it was, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.annotations import ImageRecord, read_split
from engine.annotations.convert import Conversion, Format, convert
from engine.annotations.picture import load_rgb
from engine.annotations.raw import xyxy
from engine.annotations.writers import to_cxcywh_norm, to_xywh, turned
from engine.errors import DataError, has_errors
from engine.recipe.schema import Classes, Dataset
from tests.engine.annotations.builders import (
    SHARED_DATA,
    Labelled,
    VocFolder,
    classes,
    codes_of,
    shared_dataset,
    voc_xml,
    write_image,
)

FORMATS: list[Format] = ["voc", "coco", "yolo"]
MAP = classes("mug", "lid")


def converted_dataset(done: Conversion, form: Format, **policies: Any) -> Dataset:
    given: dict[str, Any] = {"format": form, "names_file": done.names_file, **done.places, **policies}
    return Dataset.model_validate({key: value for key, value in given.items() if value is not None})


def assert_same_records(before: tuple[ImageRecord, ...], after: tuple[ImageRecord, ...]) -> None:
    assert [record.image_path.name for record in before] == [record.image_path.name for record in after]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        assert one.labels.tolist() == other.labels.tolist()
        assert (one.width, one.height, one.apply_exif) == (other.width, other.height, other.apply_exif)
        np.testing.assert_array_equal(
            np.asarray(load_rgb(one.image_path, apply_exif=one.apply_exif)),
            np.asarray(load_rgb(other.image_path, apply_exif=other.apply_exif)),
        )


def messy(root: Path, form: Format) -> Labelled:
    labelled = Labelled(root, form)
    labelled.add("train", "b é.jpg", [("lid", (1.25, 2.1, 11.7, 30.3)), ("mug", (0, 0, 64, 48))])
    labelled.add("train", "sub/a.PNG", []).add("train", "c.jpg", [("mug", (5, 9, 5, 20)), ("lid", (50, 1, 70, 9))])
    return labelled.add("val", "d.bmp", size=(33, 77))


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_there_and_back_again(tmp_path: Path, source: Format, target: Format) -> None:
    policies = {"empty_boxes": "drop", "outside_boxes": "clip"}
    before = messy(tmp_path / "source", source).dataset(**policies)
    there = convert(before, MAP, to=target, out_dir=tmp_path / "there")
    assert there.problems == ()
    assert (there.num_images, there.num_objects) == (4, 5)
    middle = converted_dataset(there, target, **policies)
    back = convert(middle, MAP, to=source, out_dir=tmp_path / "back")
    after = converted_dataset(back, source, **policies)
    for split in ("train", "val"):
        first = read_split(before, MAP, split)
        for dataset in (middle, after):
            read = read_split(dataset, MAP, split)
            assert codes_of(read.problems) == codes_of(first.problems)
            assert_same_records(first.records, read.records)


def test_marks_are_kept_where_they_can_be_and_told_where_not(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "source").add("val", "b")
    folder.add("train", "a", xml=voc_xml(extra="<difficult>1</difficult><truncated>1</truncated><iscrowd>1</iscrowd>"))
    coco = convert(folder.dataset(), classes(), to="coco", out_dir=tmp_path / "coco")
    voc = convert(converted_dataset(coco, "coco"), classes(), to="voc", out_dir=tmp_path / "voc")
    yolo = convert(folder.dataset(), classes(), to="yolo", out_dir=tmp_path / "yolo")
    assert coco.problems == voc.problems == ()
    (note,) = yolo.problems
    assert (note.code, note.severity) == ("D136", "note")
    assert "difficult (1), truncated (1), crowd (1)" in note.found
    dataset: Dataset
    for dataset in (converted_dataset(coco, "coco"), converted_dataset(voc, "voc")):
        (kept,) = read_split(dataset, classes(), "train").records
        assert (kept.difficult.tolist(), kept.crowd.tolist()) == ([True], [True])
        dropped = read_split(dataset.model_copy(update={"truncated_objects": "drop"}), classes(), "train")
        assert len(dropped.records[0].labels) == 0


@pytest.mark.parametrize("target", FORMATS)
def test_classes_that_no_map_knows_are_carried_over(tmp_path: Path, target: Format) -> None:
    labelled = Labelled(tmp_path / "source", "voc").add("train", "a.jpg", [("lid", (1, 2, 11, 30))]).add("val", "b.jpg")
    done = convert(labelled.dataset(), classes("mug"), to=target, out_dir=tmp_path / "out")
    (problem,) = read_split(converted_dataset(done, target), classes("mug"), "train").problems
    assert '"lid"' in problem.where.item


def test_the_challenge_s_pixels_are_counted_from_zero_afterwards(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "source").add("train", "a", xml=voc_xml([("mug", (1, 1, 64, 48))])).add("val", "b")
    before = folder.dataset(first_pixel=1)
    for target in FORMATS:
        done = convert(before, classes(), to=target, out_dir=tmp_path / target)
        after = read_split(converted_dataset(done, target), classes(), "train")
        assert_same_records(read_split(before, classes(), "train").records, after.records)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("labelled", [(48, 64), (64, 48)], ids=["drawn after", "drawn before"])
def test_rotated_pictures(tmp_path: Path, target: Format, labelled: tuple[int, int]) -> None:
    xml = voc_xml([("mug", (2, 3, 10, 30))], size=labelled)
    folder = VocFolder(tmp_path / "source").add("train", "a", orientation=6, xml=xml).add("val", "b")
    (before,) = read_split(folder.dataset(), classes(), "train").records
    done = convert(folder.dataset(), classes(), to=target, out_dir=tmp_path / "out")
    (after,) = read_split(converted_dataset(done, target), classes(), "train").records
    same_frame = before.apply_exif or target != "yolo"
    assert after.apply_exif == (before.apply_exif if same_frame else True)
    expected = [[2, 3, 10, 30]] if same_frame else [[48 - 30, 2, 48 - 3, 10]]
    assert after.boxes_xyxy.tolist() == expected
    assert codes_of(done.problems) == ([] if same_frame else [("D119", "note")])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_picture(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[4:9, 12:25] = 255
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    shown = np.asarray(load_rgb(tmp_path / "a.png", apply_exif=True))[:, :, 0]
    x_min, y_min, x_max, y_max = map(int, turned((12, 4, 25, 9), orientation, (30, 20)))
    assert shown.sum() == 255 * 13 * 5
    assert (shown[y_min:y_max, x_min:x_max] == 255).all()
    assert (y_max - y_min) * (x_max - x_min) == 13 * 5


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "voc").add("train", "a.jpg").add("val", "b.jpg")
    (tmp_path / "out").mkdir()
    convert(labelled.dataset(), MAP, to="coco", out_dir=tmp_path / "out")
    with pytest.raises(DataError, match="D135"):
        convert(labelled.dataset(), MAP, to="yolo", out_dir=tmp_path / "out")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "voc").add("train", "a.jpg").add("val", "b.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="D135"):
        convert(labelled.dataset(), MAP, to="coco", out_dir=tmp_path / "file" / "out")


def test_two_images_that_would_share_a_label_file(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "coco").add("train", "a.jpg").add("train", "a.png").add("val", "b.jpg")
    done = convert(labelled.dataset(), MAP, to="voc", out_dir=tmp_path / "out")
    assert codes_of(done.problems) == [("D112", "error")]


def test_images_of_one_name_in_two_places(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "voc").add("train", "a.jpg").add("val", "a.jpg")
    dataset = labelled.dataset(train=[labelled.place("train"), labelled.place("val")])
    done = convert(dataset, MAP, to="coco", out_dir=tmp_path / "out")
    assert codes_of(done.problems) == [("D112", "error")]


def test_what_cannot_be_read_is_told_and_left_out(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "source").add("val", "b")
    folder.add("train", "a", xml=voc_xml([("mug", ("nan", 1, 5, 5)), ("mug", (1, 1, 5, 5))]))
    folder.add("train", "c", xml="junk").add("train", "d")
    folder.image("train", "d").write_bytes(b"junk")
    done = convert(folder.dataset(), MAP, to="coco", out_dir=tmp_path / "out")
    assert codes_of(done.problems) == [("D110", "error"), ("D109", "error"), ("D104", "warning")]
    assert (done.num_images, done.num_objects) == (2, 2)


def test_a_class_name_that_xml_cannot_hold(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "coco", ("\x1b[31mmug",)).add(
        "train", "a.jpg", [("\x1b[31mmug", (1, 1, 9, 9))]
    )
    labelled.add("val", "b.jpg", [])
    done = convert(labelled.dataset(), MAP, to="voc", out_dir=tmp_path / "out")
    assert codes_of(done.problems) == [("D110", "error")]


@pytest.mark.parametrize("link", [True, False])
def test_images_are_copied_or_linked(tmp_path: Path, *, link: bool) -> None:
    labelled = Labelled(tmp_path / "source", "voc").add("train", "sub/a.jpg").add("val", "b.jpg")
    calls: list[tuple[int, int]] = []
    done = convert(
        labelled.dataset(), MAP, to="yolo", out_dir=tmp_path / "out", link=link, on_progress=lambda *c: calls.append(c)
    )
    source, target = labelled.root / "train/images/sub/a.jpg", done.places["train"].images / "sub/a.jpg"
    assert source.read_bytes() == target.read_bytes()
    assert source.samefile(target) is link
    assert calls == [(1, 2), (2, 2)]


def test_a_missing_label_that_counts_as_negative_becomes_a_negative(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path / "source", "yolo").add("train", "a.jpg").add("val", "b.jpg")
    write_image(labelled.root / "train/images/none.jpg")
    done = convert(labelled.dataset(missing_annotations="negative"), MAP, to="coco", out_dir=tmp_path / "out")
    read = read_split(converted_dataset(done, "coco"), MAP, "train")
    assert [len(record.labels) for record in read.records] == [1, 0]
    assert not has_errors(read.problems)


coordinate = (
    st.floats(-10, 5000, width=32) | st.integers(-10, 5000).map(float) | st.decimals(0, 5000, places=2).map(float)
)


@given(low=st.tuples(coordinate, coordinate), side=st.tuples(coordinate, coordinate), size=st.integers(1, 5000))
def test_numbers_survive_every_form(low: Any, side: Any, size: int) -> None:
    corners = (low[0], low[1], low[0] + abs(side[0]), low[1] + abs(side[1]))
    wanted = np.array(corners, np.float32)
    np.testing.assert_array_equal(np.array(xyxy("xywh", to_xywh(corners), (1, 1)), np.float32), wanted)
    norm = to_cxcywh_norm(corners, (size, size))
    back = np.array(xyxy("cxcywh_norm", norm, (size, size)), np.float32)
    inside = np.abs(wanted) >= 2**-10  # beneath, float32 tells apart what no picture does
    np.testing.assert_array_equal(back[inside], wanted[inside])
    assert np.abs(back - wanted).max() < 1e-9


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the sample photographs aren't here")
@pytest.mark.parametrize("target", ["coco", "yolo"])
def test_bccd_there_and_back(tmp_path: Path, target: Format) -> None:
    blood = Classes(names=("RBC", "WBC", "Platelets"))
    before = shared_dataset("bccd", ("train", "val"), empty_boxes="drop", difficult_objects="keep")
    there = convert(before, blood, to=target, out_dir=tmp_path / "there", link=True)
    middle = converted_dataset(there, target)
    back = convert(middle, blood, to="voc", out_dir=tmp_path / "back", link=True)
    after = read_split(converted_dataset(back, "voc", empty_boxes="drop"), blood, "train")
    first = read_split(before, blood, "train")
    assert codes_of(after.problems) == codes_of(first.problems)
    assert_same_records(first.records, after.records)
