"""The three formats read into the same records; where a split may live; what each format can get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.annotations import ImageRecord, audit, read_split
from engine.annotations.coco import read_coco
from engine.annotations.sources import is_drawn
from engine.annotations.yolo import read_names, read_yolo
from engine.errors import DataError, has_errors
from engine.recipe.schema import Dataset
from tests.engine.annotations.builders import SHARED_DATA, Labelled, classes, codes_of, write_image

FORMATS = ["voc", "coco", "yolo"]
MAP = classes("mug", "lid")


@pytest.fixture(params=FORMATS)
def labelled(request: pytest.FixtureRequest, tmp_path: Path) -> Labelled:
    return Labelled(tmp_path, request.param)


@pytest.fixture
def yolo(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path, "yolo")


@pytest.fixture
def coco(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path, "coco")


def names_of(records: tuple[ImageRecord, ...]) -> list[str]:
    return [record.image_path.name for record in records]


def test_all_formats_give_the_same_records(labelled: Labelled) -> None:
    labelled.add("train", "b.jpg", [("lid", (1, 2, 11, 30)), ("mug", (0, 0, 64, 48))])
    labelled.add("train", "sub/a.png", []).add("val", "c.jpg")
    read = read_split(labelled.dataset(), MAP, "train")
    assert read.problems == ()
    first, second = read.records
    assert names_of(read.records) == ["b.jpg", "a.png"]
    np.testing.assert_allclose(first.boxes_xyxy, [[1, 2, 11, 30], [0, 0, 64, 48]], atol=1e-5)
    assert first.labels.tolist() == [1, 0]
    assert (first.width, first.height) == (64, 48)
    assert second.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize("box", [(5, 9, 5, 20), (5, 9, 30, 9)], ids=["width", "height"])
def test_empty_boxes_in_all_formats(labelled: Labelled, box: Any) -> None:
    labelled.add("train", "a.jpg", [("mug", box)])
    (problem,) = read_split(labelled.dataset(), MAP, "train").problems
    assert problem.code == "D102"
    assert '"mug"' in problem.where.item
    assert codes_of(read_split(labelled.dataset(empty_boxes="drop"), MAP, "train").problems) == [("D102", "note")]


def test_boxes_outside_in_all_formats(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg", [("mug", (40, 10, 74, 40))])
    (problem,) = read_split(labelled.dataset(), MAP, "train").problems
    assert problem.code == "D103"
    assert "reaches 10 px over the edge" in problem.found
    (record,) = read_split(labelled.dataset(outside_boxes="clip"), MAP, "train").records
    np.testing.assert_allclose(record.boxes_xyxy, [[40, 10, 64, 40]], atol=1e-5)


def test_unknown_classes_in_all_formats(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg", [("lid", (1, 2, 11, 30))])
    names_file = {} if labelled.form != "yolo" else {"names_file": labelled.root / "classes.txt"}
    (labelled.root / "classes.txt").write_text("mug\nlid\n")
    read = read_split(labelled.dataset(**names_file), classes("mug"), "train")
    assert codes_of(read.problems) == [("D105", "error")]


def test_an_image_that_nothing_is_written_about(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg")
    write_image(labelled.root / "train/images/b.jpg")
    assert codes_of(read_split(labelled.dataset(), MAP, "train").problems) == [("D107", "error")]
    negative = read_split(labelled.dataset(missing_annotations="negative"), MAP, "train")
    assert codes_of(negative.problems) == [("D107", "note")]
    assert [len(record.labels) for record in negative.records] == [1, 0]


def test_what_is_written_about_a_missing_image(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg").add("train", "b.jpg")
    (labelled.root / "train/images/b.jpg").unlink()
    assert codes_of(read_split(labelled.dataset(), MAP, "train").problems) == [("D108", "error")]
    assert codes_of(read_split(labelled.dataset(missing_images="skip"), MAP, "train").problems) == [("D108", "note")]


# --- where a split lives ---


def test_a_split_may_have_several_places(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg").add("val", "b.jpg")
    dataset = labelled.dataset(train=[labelled.place("train"), labelled.place("val")])
    assert names_of(read_split(dataset, MAP, "train").records) == ["a.jpg", "b.jpg"]


def test_the_same_place_twice_is_an_error(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg")
    dataset = labelled.dataset(train=[labelled.place("train")] * 2)
    assert codes_of(read_split(dataset, MAP, "train").problems) == [("D115", "error")]


def test_val_fraction_splits_train_without_loss(labelled: Labelled) -> None:
    every = [f"{index:03}.png" for index in range(60)]
    for name in every:
        labelled.add("train", name, size=(64, 48))
    dataset = labelled.dataset(val=None, val_fraction=0.3)
    found = audit(dataset, classes("mug"))
    assert found.problems == ()
    train, val = names_of(found.splits["train"].records), names_of(found.splits["val"].records)
    assert sorted(train + val) == every
    assert 8 <= len(val) <= 28
    other = read_split(labelled.dataset(val=None, val_fraction=0.3, split_seed=1), MAP, "val")
    assert names_of(other.records) != val


def test_val_fraction_tells_a_fault_once(labelled: Labelled) -> None:
    for index in range(20):
        labelled.add("train", f"{index}.png", [("mug", (5, 9, 5, 20))])
        write_image(labelled.root / f"train/images/lonely{index}.png")
    found = audit(labelled.dataset(val=None, val_fraction=0.5), MAP)
    assert codes_of(p for p in found.problems if p.code == "D102") == [("D102", "error")] * 20
    assert codes_of(p for p in found.problems if p.code == "D107") == [("D107", "error")] * 20


def test_a_val_fraction_that_draws_nothing_is_told(labelled: Labelled) -> None:
    labelled.add("train", "a.jpg")
    found = audit(labelled.dataset(val=None, val_fraction=1e-9), classes("mug"))
    assert codes_of(found.problems) == [("D101", "error")]
    assert "val_fraction" in found.problems[0].found


@given(names=st.sets(st.text(max_size=8), max_size=40), more=st.sets(st.text(max_size=8), max_size=40))
def test_new_images_move_none_between_train_and_val(names: set[str], more: set[str]) -> None:
    before = {name: is_drawn(name, 0.2, 0) for name in names}
    after = {name: is_drawn(name, 0.2, 0) for name in names | more}
    assert before.items() <= after.items()


@given(name=st.text(max_size=8), low=st.floats(0.01, 0.99), high=st.floats(0.01, 0.99))
def test_a_greater_fraction_keeps_what_was_drawn(name: str, low: float, high: float) -> None:
    assert not is_drawn(name, min(low, high), 0) or is_drawn(name, max(low, high), 0)


def test_the_draw_is_the_same_on_every_machine() -> None:
    drawn = [name for name in "abcdefghijklmnopqrst" if is_drawn(name, 0.2, 0)]
    assert drawn == ["a", "c", "d", "n", "o", "p", "q"]


# --- YOLO ---


@pytest.mark.parametrize(
    ("line", "numbers", "fault"),
    [
        pytest.param("0 0.5 0.5 0.2 0.1", (0.5, 0.5, 0.2, 0.1), "", id="box"),
        pytest.param("0.0 .5 5e-1 2.0E-1 1", (0.5, 0.5, 0.2, 1.0), "", id="spellings"),
        pytest.param("0 0.1 0.1 0.5 0.1 0.5 0.3", (0.3, 0.2, 0.4, 0.2), "", id="polygon"),
        pytest.param("0 0.5 0.5 0.2", None, "3 numbers after the class", id="three"),
        pytest.param("0", None, "0 numbers after the class", id="none"),
        pytest.param("0 0.5 0.5 0.2 0.1 0.9", None, "5 numbers after the class", id="score"),
        pytest.param("0 0.5 0.5 0.2 x", None, '"x" is not a number', id="word"),
        pytest.param("0 0.5 0.5 0.2 1_0", None, '"1_0" is not a number', id="underscore"),
        pytest.param("0 320 240 20 10", None, "are the numbers pixels?", id="pixels"),
    ],
)
def test_yolo_lines(tmp_path: Path, line: str, numbers: tuple[float, ...] | None, fault: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"\ufeff\n{line}\r\n\n", encoding="utf-8")
    (written,) = read_yolo(path, {0: "mug"}).objects
    assert (written.name, written.line, written.ref) == ("mug", 2, "object 1")
    assert fault in written.fault
    if numbers is not None:
        assert written.fault == ""
        np.testing.assert_allclose(written.numbers, numbers)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        *(("1", "lid"), ("1.0", "lid"), ("2", "class id 2"), ("-1", "class id -1"), ("mug", "class id mug")),
        *(("9" * 5000, "class id " + "9" * 40), ("²", "class id ²")),
    ],
)
def test_yolo_class_ids(tmp_path: Path, written: str, name: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{written} 0.5 0.5 0.1 0.1", encoding="utf-8")
    assert read_yolo(path, {0: "mug", 1: "lid"}).objects[0].name == name


def test_an_empty_yolo_file_is_a_negative(yolo: Labelled) -> None:
    yolo.add("train", "a.jpg", [])
    assert [len(record.labels) for record in read_split(yolo.dataset(), MAP, "train").records] == [0]


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("data.yaml", "names: [mug, lid]", {0: "mug", 1: "lid"}),
        ("data.yaml", "nc: 2\nnames:\n  3: mug\n  0: lid\n", {3: "mug", 0: "lid"}),
        ("classes.txt", "mug\n\nlid\n", {0: "mug", 2: "lid"}),
    ],
)
def test_names_files(tmp_path: Path, name: str, text: str, names: dict[int, str]) -> None:
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == names


@pytest.mark.parametrize(
    "text",
    [
        *("", "names: 5", "names: []", "names: [1, 2]", "names: {a: b}", "- 1", "names: ["),
        *("[" * 5000, "a: 2026-99-99", "names: {true: mug}", "!!python/object:os.system {}"),
    ],
)
def test_names_files_that_name_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match="D110"):
        read_names(tmp_path / "data.yaml")


def test_a_names_file_gives_ids_their_names(yolo: Labelled) -> None:
    yolo.add("train", "a.jpg", [("lid", (1, 2, 11, 30))])
    (yolo.root / "data.yaml").write_text("names: {0: dog, 1: mug}")
    read = read_split(yolo.dataset(names_file=yolo.root / "data.yaml"), classes("lid", "mug"), "train")
    assert read.records[0].labels.tolist() == [1]


@pytest.mark.parametrize(("text", "expected"), [("mug\nlid\n", []), ("lid\nmug\n", [("D128", "error")])])
def test_a_classes_txt_among_labels_must_agree(yolo: Labelled, text: str, expected: list[tuple[str, str]]) -> None:
    yolo.add("train", "a.jpg")
    (yolo.root / "train/labels/classes.txt").write_text(text)
    assert codes_of(read_split(yolo.dataset(), MAP, "train").problems) == expected


def test_a_binary_label_file(yolo: Labelled) -> None:
    yolo.add("train", "a.jpg")
    (yolo.root / "train/labels/a.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n\xff\xfe")
    (problem,) = read_split(yolo.dataset(), MAP, "train").problems
    assert (problem.code, problem.where.line) == ("D110", 2)
    skipped = read_split(yolo.dataset(unreadable_annotations="skip"), MAP, "train")
    assert codes_of(skipped.problems) == [("D110", "note")]


# --- COCO ---


def test_crowds_and_undefined_categories(coco: Labelled) -> None:
    coco.add("train", "a.jpg", [("mug", (1, 2, 11, 30)), ("lid", (1, 2, 11, 30))])
    coco.coco("train")["annotations"][0]["iscrowd"] = 1
    coco.coco("train")["annotations"][1]["category_id"] = 99
    coco.save_coco("train")
    read = read_split(coco.dataset(), MAP, "train")
    assert read.records[0].crowd.tolist() == [True]
    (problem,) = read.problems
    assert problem.code == "D105"
    assert problem.where.item == 'a.jpg  annotation 2 "category id 99"'


@pytest.mark.parametrize(
    ("bbox", "fault"),
    [
        (None, "there is no bbox"),
        ([1, 2, 3], "isn't a list of four numbers"),
        ("box", "isn't a list of four numbers"),
        ([1, 2, 3, None], "isn't a list of four numbers"),
        ([1, 2, 3, True], "isn't a list of four numbers"),
        ([1, 2, 3, 10**400], "beyond all bounds"),
    ],
)
def test_coco_boxes_that_cannot_be_read(coco: Labelled, bbox: Any, fault: str) -> None:
    coco.add("train", "a.jpg")
    coco.coco("train")["annotations"][0]["bbox"] = bbox
    coco.save_coco("train")
    (problem,) = read_split(coco.dataset(), MAP, "train").problems
    assert problem.code == "D104"
    assert fault in problem.found
    dropped = read_split(coco.dataset(unreadable_boxes="drop"), MAP, "train")
    assert codes_of(dropped.problems) == [("D104", "note")]


def test_an_annotation_of_no_image(coco: Labelled) -> None:
    coco.add("train", "a.jpg")
    coco.coco("train")["annotations"][0]["image_id"] = "none"
    coco.save_coco("train")
    (problem,) = read_split(coco.dataset(), MAP, "train").problems
    assert problem.code == "D108"
    assert problem.where.item == "annotation 1 of image none"


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd.jpg", "a/../../b.jpg", "..\\b.jpg", ".."])
def test_file_names_must_stay_in_their_folder(coco: Labelled, name: str) -> None:
    coco.add("train", "a.jpg")
    coco.coco("train")["images"][0]["file_name"] = name
    coco.save_coco("train")
    read = read_split(coco.dataset(missing_annotations="skip"), MAP, "train")
    assert codes_of(read.problems) == [("D125", "error"), ("D107", "note")]
    assert read.records == ()


@pytest.mark.parametrize("name", ["./a.jpg", "sub\\..\\a.jpg"])
def test_harmless_spellings_of_file_names(coco: Labelled, name: str) -> None:
    coco.add("train", "a.jpg")
    coco.coco("train")["images"][0]["file_name"] = name
    coco.save_coco("train")
    assert len(read_split(coco.dataset(), MAP, "train").records) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "not JSON", id="empty"),
        pytest.param("{", "not JSON", id="torn"),
        pytest.param("[]", "not a COCO file", id="list"),
        pytest.param('{"images": [], "annotations": []}', "categories", id="without categories"),
        pytest.param('{"images": [{"id": 1}], "categories": []}', "file_name", id="without file name"),
        pytest.param("[" * 100_000, "not a COCO file", id="deep"),
        pytest.param('{"x": ' + "[" * 100_000, "not JSON", id="deep in a part that isn't needed"),
        pytest.param('{"images": [], "categories": [{"id": 1, "name": NaN}]}', "not JSON", id="nan"),
        pytest.param(
            '{"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "given twice", id="twice"
        ),
        pytest.param(
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "./a"}], "categories": []}',
            "listed twice",
            id="image twice",
        ),
    ],
)
def test_files_that_are_not_coco(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match="D110") as caught:
        read_coco(path)
    assert told in str(caught.value)


def test_a_torn_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n"images": [],\n"categories": ]\n}')
    with pytest.raises(DataError) as caught:
        read_coco(path)
    assert caught.value.problems[0].where.line == 3


def test_two_files_may_share_a_folder_of_images(coco: Labelled) -> None:
    coco.add("train", "a.jpg").add("val", "b.jpg")
    (coco.root / "val/images/b.jpg").rename(coco.root / "train/images/b.jpg")
    shared = {"images": coco.root / "train/images", "annotations": coco.root / "val/labels/coco.json"}
    found = audit(coco.dataset(val=shared), classes("mug"))
    assert found.problems == ()
    assert names_of(found.splits["val"].records) == ["b.jpg"]


def test_a_folder_in_place_of_the_json(coco: Labelled) -> None:
    coco.add("train", "a.jpg")
    place = {"images": coco.root / "train/images", "annotations": coco.root / "train/labels"}
    assert codes_of(read_split(coco.dataset(train=place), MAP, "train").problems) == [("D100", "error")]


def test_large_sizes_and_ids_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    images = [{"id": "x", "file_name": "a.jpg", "width": 1e300, "height": 0.5}, {"id": 2**70, "file_name": "b.jpg"}]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 0, "name": " mug "}]}))
    file = read_coco(path)
    assert [raw.size for raw in file.images.values()] == [None, None]
    assert file.names == ("mug",)


needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the sample photographs aren't here")


@needs_shared_data
def test_coco128_has_images_without_labels_and_labels_without_images() -> None:
    root = SHARED_DATA / "coco128-yolo"
    places = {
        split: {"images": root / f"images/{split}2017", "annotations": root / f"labels/{split}2017"}
        for split in ("train", "val")
    }
    base = {"format": "yolo", **places, "names_file": root / "config.yaml", "unknown_classes": "skip"}
    names = classes("cup", "laptop", "keyboard", "person")
    strict = audit(Dataset.model_validate(base), names)
    found = {(p.code, Path(p.where.path).stem) for p in strict.problems if p.severity == "error"}
    assert found == {
        ("D107", "000000000250"), ("D107", "000000000508"), ("D108", "000000000656"), ("D108", "000000000659"),
    }  # fmt: skip
    settled = audit(
        Dataset.model_validate({**base, "missing_annotations": "negative", "missing_images": "skip"}), names
    )
    assert not has_errors(settled.problems)
    assert {split: s.num_images for split, s in settled.summary.items()} == {"train": 65, "val": 32}
    everything = classes(*read_names(root / "config.yaml").values())
    every = audit(
        Dataset.model_validate({**base, "missing_annotations": "negative", "missing_images": "skip"}), everything
    )
    seen = [count for count in every.summary["train"].boxes_per_class.values() if count]
    assert len(seen) == 61
