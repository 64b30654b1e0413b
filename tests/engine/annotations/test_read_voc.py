"""Reading a VOC split: what becomes a record, and what each policy makes of dirt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.annotations import SplitRead, audit, read_split
from engine.errors import has_errors
from tests.engine.annotations.builders import (
    MUG,
    SHARED_DATA,
    VocFolder,
    classes,
    codes_of,
    shared_dataset,
    voc_xml,
    write_image,
)


@pytest.fixture
def folder(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path)


def read(folder: VocFolder, **policies: Any) -> SplitRead:
    return read_split(folder.dataset(**policies), classes(), "train")


def test_a_record_holds_what_the_file_says(folder: VocFolder) -> None:
    xml = voc_xml([("mug", (1.5, 2, 30, 40)), ("lid", (5, 5, 9, 9))], extra="<difficult>1</difficult>")
    folder.add(xml=xml)
    read = read_split(folder.dataset(), classes("lid", "mug"), "train")
    assert read.problems == ()
    (record,) = read.records
    assert (record.width, record.height, record.apply_exif) == (64, 48, True)
    np.testing.assert_array_equal(record.boxes_xyxy, np.array([[1.5, 2, 30, 40], [5, 5, 9, 9]], np.float32))
    assert record.boxes_xyxy.dtype == np.float32
    assert record.labels.tolist() == [1, 0]
    assert record.labels.dtype == np.int64
    assert record.difficult.tolist() == [True, True]
    assert record.crowd.tolist() == [False, False]
    assert record.image_path.name == "a.jpg"
    assert record.annotation_path is not None


def test_an_annotation_without_objects_is_a_negative(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([]))
    (record,) = read(folder).records
    assert record.boxes_xyxy.shape == (0, 4)
    assert record.labels.shape == record.difficult.shape == record.crowd.shape == (0,)


def test_records_are_sorted_and_nested_folders_and_upper_case_suffixes_count(folder: VocFolder) -> None:
    for stem, suffix in (("b", ".JPG"), ("sub/ä b", ".png"), ("a", ".jpeg"), ("c.1", ".bmp")):
        folder.add(stem=stem, suffix=suffix)
    names = [str(r.image_path.relative_to(folder.root / "train/images")) for r in read(folder).records]
    assert names == ["a.jpeg", "b.JPG", "c.1.bmp", "sub/ä b.png"]


def test_decomposed_file_names_pair(folder: VocFolder) -> None:
    write_image(folder.image("train", "cafe\u0301"))
    folder.label("train", "caf\u00e9", voc_xml())
    assert len(read(folder).records) == 1


def test_hidden_files_are_passed_over(folder: VocFolder) -> None:
    folder.add()
    folder.image("train", "._a").write_bytes(b"AppleDouble")
    folder.label("train", "._a", "junk")
    assert codes_of(read(folder).problems) == []


@pytest.mark.parametrize(
    ("box", "code", "told"),
    [
        pytest.param((41, 5, 41, 9), "D102", "empty box: width is 0 px (xmin = 41, xmax = 41)", id="zero width"),
        pytest.param((5, 9, 8, 9), "D102", "empty box: height is 0 px (ymin = 9, ymax = 9)", id="zero height"),
        pytest.param((41, 5, 30, 9), "D102", "inverted box: width is -11 px (xmin = 41, xmax = 30)", id="inverted"),
        pytest.param((5, 5, 70, 9), "D103", "x reaches 6 px over the edge (xmin = 5, xmax = 70; ", id="right"),
        pytest.param((-3, 5, 30, 9), "D103", "x reaches 3 px over the edge (xmin = -3, xmax = 30; ", id="left"),
        pytest.param((5, 5, 9, 49), "D103", "y reaches 1 px over the edge (ymin = 5, ymax = 49; ", id="below"),
        pytest.param((5, 5, 1e300, 9), "D103", "over the edge", id="huge"),
        pytest.param(("nan", 5, 9, 9), "D104", "not a finite number (xmin = nan, xmax = 9)", id="nan"),
        pytest.param((1, 5, 9, "1e999"), "D104", "not a finite number", id="infinite"),
        pytest.param((1, 5, 9, ""), "D104", "ymax is missing", id="missing"),
        pytest.param((1, "five", 9, 9), "D104", 'ymin is "five", not a number', id="words"),
        pytest.param((30, 5, 30 + 1e-9, 9), "D102", "empty box", id="vanishes in float32"),
    ],
)
def test_a_bad_box_is_told_with_file_line_object_and_values(
    folder: VocFolder, box: tuple[Any, ...], code: str, told: str
) -> None:
    folder.add(xml=voc_xml([MUG, ("mug", box)]))
    (problem,) = read(folder).problems
    assert (problem.code, problem.severity) == (code, "error")
    assert told in problem.found
    assert problem.where.path.endswith("train/annotations/a.xml")
    assert problem.where.line == 8
    assert problem.where.item == 'object 2 "mug"'


@pytest.mark.parametrize(
    ("policies", "box", "kept"),
    [
        pytest.param({"empty_boxes": "drop"}, (41, 5, 41, 9), None, id="empty dropped"),
        pytest.param({"outside_boxes": "drop"}, (5, 5, 70, 9), None, id="outside dropped"),
        pytest.param({"outside_boxes": "clip"}, (-4, 5, 70, 9), [0, 5, 64, 9], id="outside clipped"),
        pytest.param({"outside_boxes": "clip"}, (70, 5, 90, 9), None, id="wholly outside"),
        pytest.param({"outside_boxes": "clip"}, (5, 5, 1e300, 9), [5, 5, 64, 9], id="huge"),
    ],
)
def test_a_policy_makes_one_note_a_kind(
    folder: VocFolder, policies: dict[str, str], box: tuple[float, ...], kept: list[float] | None
) -> None:
    for stem in "abcdefgh":
        folder.add(stem=stem, xml=voc_xml([MUG, ("mug", box)]))
    split = read(folder, **policies)
    (note,) = split.problems
    assert note.severity == "note"
    assert "8 times in train" in note.found
    assert "a.xml:8" in note.found
    assert "and 3 more" in note.found
    expected = [[10, 10, 30, 30], *([kept] if kept else [])]
    assert all(record.boxes_xyxy.tolist() == expected for record in split.records)


def test_the_far_edge_is_inside(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([("mug", (0, 0, 64, 48.05))]))
    split = read(folder)
    assert split.problems == ()
    assert split.records[0].boxes_xyxy.tolist() == [[0, 0, 64, 48]]


def test_an_unknown_class_names_its_line_and_the_likely_class(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([("mugg", (1, 1, 5, 5)), ("\x7fcup", (1, 1, 5, 5))]))
    first, second = read(folder).problems
    assert (first.code, first.where.line) == ("D105", 4)
    assert 'did you mean "mug"?' in first.found
    assert "did you mean" not in second.found
    assert "\x7f" not in str(second)


def test_aliases_and_ignored_classes(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([("mgu", (1, 1, 5, 5)), ("person", (1, 1, 5, 5)), (" mug ", (2, 2, 5, 5))]))
    split = read_split(folder.dataset(), classes("lid", "mug", aliases={"mgu": "mug"}, ignore=("person",)), "train")
    assert split.problems == ()
    assert split.records[0].labels.tolist() == [1, 1]


def test_skipped_classes_are_counted(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([("dog", (1, 1, 5, 5)), ("dog", (1, 1, 5, 5)), ("cat", (2, 2, 5, 5))]))
    (note,) = read(folder, unknown_classes="skip").problems
    assert '"dog" (2), "cat" (1)' in note.found


@pytest.mark.parametrize(
    ("policy", "expected", "num_records"),
    [
        pytest.param("error", [("D107", "error")], 1, id="error"),
        pytest.param("skip", [("D107", "note")], 1, id="skip"),
        pytest.param("negative", [("D107", "note")], 2, id="negative"),
    ],
)
def test_image_without_annotation(
    folder: VocFolder, policy: str, expected: list[tuple[str, str]], num_records: int
) -> None:
    folder.add()
    write_image(folder.image("train", "lonely"))
    split = read(folder, missing_annotations=policy)
    assert codes_of(split.problems) == expected
    assert len(split.records) == num_records


@pytest.mark.parametrize("content", [b"no picture", b"", None], ids=["rubbish", "empty", "truncated"])
@pytest.mark.parametrize(("policy", "severity"), [("error", "error"), ("skip", "note")])
def test_an_unreadable_image_without_annotation_is_told_as_unreadable(
    folder: VocFolder, content: bytes | None, policy: str, severity: str
) -> None:
    folder.add()
    lonely = write_image(folder.image("train", "lonely"))
    lonely.write_bytes(lonely.read_bytes()[:-500] if content is None else content)
    # By its header alone, too, as training reads it: else what the check let pass would stop the night.
    assert codes_of(read(folder, unreadable_images=policy).problems) == [("D109", severity)]


@pytest.mark.parametrize(("policy", "severity"), [("error", "error"), ("skip", "note")])
def test_annotation_without_image(folder: VocFolder, policy: str, severity: str) -> None:
    folder.add()
    folder.label("train", "lonely", voc_xml())
    assert codes_of(read(folder, missing_images=policy).problems) == [("D108", severity)]


def test_splits_may_share_an_annotation_folder(folder: VocFolder) -> None:
    folder.add("train", "a").add("val", "b")
    folder.label("train", "b", voc_xml())
    both = folder.root / "train/annotations"
    dataset = folder.dataset(val={"images": folder.root / "val/images", "annotations": both})
    assert audit(dataset, classes()).problems == ()


def test_splits_may_share_a_folder_of_images(folder: VocFolder) -> None:
    folder.add("train", "a").add("train", "b")
    (folder.root / "train/annotations/b.xml").rename(folder.root / "val/annotations/b.xml")
    images = folder.root / "train/images"
    dataset = folder.dataset(val={"images": images, "annotations": folder.root / "val/annotations"})
    found = audit(dataset, classes())
    assert found.problems == ()
    assert {split: counts.num_images for split, counts in found.summary.items()} == {"train": 1, "val": 1}
    write_image(folder.image("train", "c"))
    assert {problem.code for problem in audit(dataset, classes()).problems} == {"D107"}


def test_two_images_of_one_name(folder: VocFolder) -> None:
    folder.add(suffix=".jpg").add(suffix=".png")
    split = read(folder)
    assert codes_of(split.problems) == [("D112", "error")]
    assert split.records == ()


@pytest.mark.parametrize(
    ("xml", "code", "line", "told"),
    [
        pytest.param("", "D110", 1, "the file is empty", id="empty"),
        pytest.param("not XML at all", "D110", 1, "not XML", id="text"),
        pytest.param("<annotation>\n<object>\n</annotation>", "D110", 3, "not XML", id="torn"),
        pytest.param("<html></html>", "D110", 1, "the outermost element is <html>", id="html"),
        pytest.param('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "D110", 1, "DOCTYPE", id="entity"),
        pytest.param(
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
            "D110",
            1,
            "DOCTYPE",
            id="external entity",
        ),
        pytest.param("<annotation>" * 5000, "D110", 1, "not XML", id="deep"),
    ],
)
def test_an_annotation_that_cannot_be_read(folder: VocFolder, xml: str, code: str, line: int, told: str) -> None:
    folder.add(xml=xml)
    (problem,) = read(folder).problems
    assert (problem.code, problem.where.line) == (code, line)
    assert told in problem.found


def test_a_truncated_image_is_found_by_decoding(folder: VocFolder) -> None:
    folder.add(size=(640, 480), xml=voc_xml(size=(640, 480)))
    image = folder.image("train", "a")
    image.write_bytes(image.read_bytes()[:-4000])
    headers = read_split(folder.dataset(), classes(), "train", decode=False)
    pixels = read_split(folder.dataset(), classes(), "train", decode=True)
    assert (len(headers.records), len(pixels.records)) == (1, 0)
    assert codes_of(pixels.problems) == [("D109", "error")]
    skipped = read_split(folder.dataset(unreadable_images="skip"), classes(), "train", decode=True)
    assert codes_of(skipped.problems) == [("D109", "note")]


@pytest.mark.parametrize(
    "content", [b"", b"GIF but no", b"\xff\xd8\xff\xe0" + b"\0" * 50], ids=["empty", "text", "jpeg"]
)
def test_an_image_that_is_none(folder: VocFolder, content: bytes) -> None:
    folder.add()
    folder.image("train", "a").write_bytes(content)
    assert codes_of(read(folder).problems) == [("D109", "error")]


def test_size_mismatch(folder: VocFolder) -> None:
    folder.add(xml=voc_xml(size=(128, 96)))
    (problem,) = read(folder).problems
    assert problem.code == "D106"
    assert "the annotation says 128 x 96, the image has 64 x 48" in problem.found
    trusting = read(folder, size_mismatch="use_image")
    assert codes_of(trusting.problems) == [("D106", "note")]
    assert (trusting.records[0].width, trusting.records[0].height) == (64, 48)


@pytest.mark.parametrize("size", [None, (0, 0), ("", ""), ("nan", "inf"), ("9" * 400, 1)], ids=str)
def test_an_absent_size_is_no_mismatch(folder: VocFolder, size: tuple[Any, Any] | None) -> None:
    folder.add(xml=voc_xml(size=size))
    split = read(folder)
    assert codes_of(split.problems) == [("D118", "note")]
    assert len(split.records) == 1


@pytest.mark.parametrize(
    ("orientation", "labelled", "apply_exif", "expected"),
    [
        pytest.param(6, (48, 64), True, [], id="drawn after the rotation"),
        pytest.param(6, (64, 48), False, [("D119", "note")], id="drawn before the rotation"),
        pytest.param(3, (64, 48), True, [("D120", "warning")], id="the size can't tell"),
        pytest.param(6, None, True, [("D118", "note"), ("D120", "warning")], id="no size"),
        pytest.param(1, (64, 48), True, [], id="upright"),
        pytest.param(9, (64, 48), True, [], id="nonsense"),
    ],
)
def test_exif_orientation(
    folder: VocFolder, orientation: int, labelled: Any, apply_exif: bool, expected: list[tuple[str, str]]
) -> None:
    folder.add(orientation=orientation, xml=voc_xml(size=labelled))
    split = read(folder)
    assert sorted(codes_of(split.problems)) == expected
    (record,) = split.records
    assert record.apply_exif is apply_exif
    turned = apply_exif and orientation == 6
    assert (record.width, record.height) == ((48, 64) if turned else (64, 48))


@pytest.mark.parametrize(
    ("policy", "orientation", "labelled", "apply_exif", "told"),
    [
        pytest.param("apply", 6, (64, 48), True, [], id="apply, size before"),
        pytest.param("apply", 3, (64, 48), True, [], id="apply, size can't tell"),
        pytest.param("ignore", 6, (48, 64), False, [], id="ignore, size after"),
        pytest.param("ignore", 3, (64, 48), False, [], id="ignore, size can't tell"),
        pytest.param("ignore", 6, (99, 64), None, [("D106", "error")], id="ignore, other size"),
    ],
)
def test_exif_policies(
    *, folder: VocFolder, policy: str, orientation: int, labelled: Any, apply_exif: bool | None, told: Any
) -> None:
    folder.add(orientation=orientation, xml=voc_xml(size=labelled))
    split = read(folder, exif_orientation=policy)
    assert codes_of(split.problems) == told
    assert [record.apply_exif for record in split.records] == ([] if apply_exif is None else [apply_exif])


def test_the_pascal_voc_challenge_counts_pixels_from_one(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([("mug", (1, 1, 64, 48)), ("mug", (7, 7, 7, 7))]))
    split = read(folder, first_pixel=1)
    assert split.problems == ()
    assert split.records[0].boxes_xyxy.tolist() == [[0, 0, 64, 48], [6, 6, 7, 7]]
    folder.add(xml=voc_xml([("mug", (0, 1, 64, 48))]))
    assert codes_of(read(folder, first_pixel=1).problems) == [("D103", "error")]


@pytest.mark.parametrize(
    ("policy", "num_boxes", "expected"),
    [
        pytest.param("drop", 2, [("D126", "note")], id="drop"),
        pytest.param("keep", 3, [("D126", "note")], id="keep"),
        pytest.param("error", 2, [("D126", "error")], id="error"),
    ],
)
def test_boxes_drawn_twice(folder: VocFolder, policy: str, num_boxes: int, expected: list[tuple[str, str]]) -> None:
    folder.add(xml=voc_xml([MUG, ("mug", (5, 5, 9, 9)), MUG]))
    split = read(folder, duplicate_boxes=policy)
    assert codes_of(split.problems) == expected
    assert len(split.records[0].labels) == num_boxes


def test_the_same_box_of_two_classes_is_two_objects(folder: VocFolder) -> None:
    folder.add(xml=voc_xml([MUG, ("lid", MUG[1])]))
    assert len(read_split(folder.dataset(), classes("mug", "lid"), "train").records[0].labels) == 2


@pytest.mark.parametrize(
    ("flag", "policies", "difficult"),
    [
        pytest.param("difficult", {}, [True], id="excused"),
        pytest.param("difficult", {"difficult_objects": "keep"}, [False], id="kept"),
        pytest.param("difficult", {"difficult_objects": "drop"}, [], id="dropped"),
        pytest.param("truncated", {}, [False], id="truncated kept"),
        pytest.param("truncated", {"truncated_objects": "drop"}, [], id="truncated dropped"),
    ],
)
def test_flags(folder: VocFolder, flag: str, policies: dict[str, str], difficult: list[bool]) -> None:
    folder.add(xml=voc_xml(extra=f"<{flag}>1</{flag}>"))
    split = read(folder, **policies)
    assert split.records[0].difficult.tolist() == difficult
    assert codes_of(split.problems) == ([] if difficult else [("D127", "note")])


def test_negatives_may_be_left_out(folder: VocFolder) -> None:
    folder.add(stem="a", xml=voc_xml([])).add(stem="b")
    split = read(folder, negative_images="skip")
    assert codes_of(split.problems) == [("D121", "note")]
    assert [record.image_path.name for record in split.records] == ["b.jpg"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *((name, []) for name in ("a.jpg", "a", "photos/a.jpg", "C:\\photos\\a.jpg", "a.png", "")),
        *((name, [("D122", "note")]) for name in ("b.jpg", "ba.jpg", "a.jpg.jpg")),
    ],
)
def test_a_file_name_that_disagrees(folder: VocFolder, written: str, expected: list[tuple[str, str]]) -> None:
    folder.add(xml=voc_xml().replace("<object>", f"<filename>{written}</filename><object>", 1))
    split = read(folder)
    assert codes_of(split.problems) == expected
    assert len(split.records) == 1


def test_a_png_called_jpg_and_a_grey_picture_are_noted(folder: VocFolder) -> None:
    folder.add()
    Image.new("L", (64, 48)).save(folder.image("train", "a"), format="PNG")
    first, second = read(folder).problems
    assert (first.code, first.severity, "PNG (1)" in first.found) == ("D123", "note", True)
    assert (second.code, second.severity, "greyscale (1)" in second.found) == ("D124", "note", True)


@given(boxes=st.lists(st.tuples(*[st.floats(-200, 200, width=32) | st.integers(-200, 200)] * 4), max_size=8))
def test_every_box_that_is_kept_can_be_trained_on(boxes: list[tuple[float, ...]], tmp_path_factory: Any) -> None:
    folder = VocFolder(tmp_path_factory.mktemp("boxes"))
    folder.add(xml=voc_xml([("mug", box) for box in boxes]))
    split = read(folder, empty_boxes="drop", outside_boxes="clip")
    assert not has_errors(split.problems)
    kept = split.records[0].boxes_xyxy
    assert (kept[:, 2:] > kept[:, :2]).all()
    assert (kept >= 0).all()
    assert (kept <= np.array([64, 48, 64, 48])).all()


needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the sample photographs aren't here")


@needs_shared_data
def test_bccd_has_two_zero_size_boxes() -> None:
    blood = classes("RBC", "WBC", "Platelets")
    splits = ("train", "val", "test")
    found = audit(shared_dataset("bccd", splits), blood)
    assert [(p.code, Path(p.where.path).name, p.where.line, p.where.item) for p in found.problems] == [
        ("D102", "BloodImage_00343.xml", 50, 'object 4 "RBC"'),
        ("D102", "BloodImage_00338.xml", 158, 'object 13 "RBC"'),
    ]
    clean = audit(shared_dataset("bccd", splits, empty_boxes="drop"), blood)
    assert not has_errors(clean.problems)
    counts = {split: (s.num_images, s.num_boxes) for split, s in clean.summary.items()}
    assert counts == {"train": (205, 2804), "val": (87, 1137), "test": (72, 945)}


@needs_shared_data
def test_raccoon_reads_without_errors() -> None:
    found = audit(shared_dataset("raccoon", ("train", "val")), classes("raccoon"))
    assert not has_errors(found.problems)
    assert found.summary["train"].boxes_per_class == {"raccoon": 173}
