"""A corrected copy: what is mended, what is left out, that each change is told, and that the original stays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.annotations import audit, read_split
from engine.annotations.fix import Fixed, fix
from engine.annotations.picture import load_rgb
from engine.annotations.spelling import corrections, distance
from engine.errors import DataError, has_errors
from engine.recipe.schema import Classes, Dataset
from tests.engine.annotations.builders import (
    MUG,
    SHARED_DATA,
    Labelled,
    VocFolder,
    classes,
    shared_dataset,
    voc_xml,
    write_image,
)

FORMATS = ["voc", "coco", "yolo"]
MAP = classes("mug", "keyboard")


def fixed(dataset: Dataset, out_dir: Path, class_map: Classes = MAP, *, clean: bool = True) -> Fixed:
    """Fix, and hold what is always so: the original is untouched, and the copy checks clean."""
    before = snapshot(dataset)
    done = fix(dataset, class_map, out_dir=out_dir)
    assert snapshot(dataset) == before
    assert has_errors(audit(done.dataset, done.classes).problems) is not clean
    assert len(json.loads((out_dir / "fixes.json").read_text())) == len(done.changes)
    return done


def snapshot(dataset: Dataset) -> dict[Path, bytes]:
    roots = [root.images.parent for split in ("train", "val") for root in dataset.roots(split)]  # type: ignore[arg-type]
    return {path: path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def told(done: Fixed) -> list[tuple[str, str]]:
    return [(change.code, change.done) for change in done.changes]


def boxes(done: Fixed, split: str = "train") -> list[list[float]]:
    read = read_split(done.dataset, done.classes, split)  # type: ignore[arg-type]
    return [box for record in read.records for box in record.boxes_xyxy.tolist()]


def labels(done: Fixed) -> list[int]:
    return [label for record in read_split(done.dataset, done.classes, "train").records for label in record.labels]


def labelled(root: Path, form: str, objects: Iterable[Any], names: tuple[str, ...] = ("mug", "lid")) -> Labelled:
    return Labelled(root, form, names).add("train", "sub/ä b.jpg", objects).add("val", "b.jpg")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("box", "expected", "change"),
    [
        pytest.param((5, 9, 5, 20), [], ("D102", "object left out"), id="empty"),
        pytest.param((40, 9, 10, 20), [[10, 9, 40, 20]], ("D102", "turned round"), id="inverted"),
        pytest.param((50, -4, 70, 20), [[50, 0, 64, 20]], ("D103", "cut off at the edge"), id="outside"),
        pytest.param((70, 4, 90, 20), [], ("D103", "object left out"), id="quite outside"),
        pytest.param(MUG[1], [], ("D126", "object left out, its twin is kept"), id="twice"),
    ],
)
def test_boxes(tmp_path: Path, form: str, box: Any, expected: list[Any], change: tuple[str, str]) -> None:
    data = labelled(tmp_path / "data", form, [MUG, ("mug", box), ("lid", (1, 1, 9, 9))])
    done = fixed(data.dataset(), tmp_path / "out", classes("mug", "lid"))
    assert told(done) == [change]
    assert boxes(done) == [[10, 10, 30, 30], *expected, [1, 1, 9, 9]]
    assert done.num_objects == len(boxes(done)) + 1


@pytest.mark.parametrize("form", FORMATS)
def test_a_clean_dataset_stays_as_it_is(tmp_path: Path, form: str) -> None:
    data = labelled(tmp_path / "data", form, [MUG, ("lid", (1.25, 2.5, 11.7, 30.3))])
    done = fixed(data.dataset(), tmp_path / "out", classes("mug", "lid"))
    assert done.changes == ()
    first, again = (read_split(dataset, done.classes, "train") for dataset in (data.dataset(), done.dataset))
    np.testing.assert_array_equal(first.records[0].boxes_xyxy, again.records[0].boxes_xyxy)
    if form != "coco":
        suffix = {"voc": ".xml", "yolo": ".txt"}[form]
        [place] = done.dataset.roots("train")
        copy = (place.annotations / "sub/ä b.jpg").with_suffix(suffix)
        assert copy.read_bytes() == (data.root / "train/labels/sub/ä b.jpg").with_suffix(suffix).read_bytes()
    assert "nothing to correct" in (tmp_path / "out/FIXES.md").read_text()


@pytest.mark.parametrize("form", FORMATS)
def test_classes_by_alias_and_misspelt(tmp_path: Path, form: str) -> None:
    names = ("mug", "keybord", "Cup")
    objects = [MUG, ("keybord", (1, 1, 9, 9)), ("Cup", (2, 2, 9, 9))]
    data = labelled(tmp_path / "data", form, objects, names)
    (tmp_path / "names.txt").write_text("\n".join(names))
    files = {"names_file": tmp_path / "names.txt"} if form == "yolo" else {}
    done = fixed(data.dataset(**files), tmp_path / "out", classes("mug", "keyboard", aliases={"Cup": "mug"}))
    assert sorted(told(done)) == [("D105", 'renamed to "keyboard"'), ("D105", 'renamed to "mug"')]
    assert sorted(labels(done)) == [0, 0, 1]
    assert not has_errors(audit(done.dataset, classes("mug", "keyboard")).problems)


@pytest.mark.parametrize("form", FORMATS)
def test_unknown_classes_are_left_for_a_person_to_decide(tmp_path: Path, form: str) -> None:
    names = ("mug", "zebra", "person")
    data = labelled(tmp_path / "data", form, [("zebra", (1, 1, 9, 9)), ("person", (5, 5, 80, 20))], names)
    (tmp_path / "names.txt").write_text("\n".join(names))
    files = {"names_file": tmp_path / "names.txt"} if form == "yolo" else {}
    done = fixed(data.dataset(**files), tmp_path / "out", classes("mug", ignore=["person"]), clean=False)
    assert done.unknown == {"zebra": 1}
    assert done.classes.ignore == ("person", "zebra")
    assert told(done) == [("D103", "cut off at the edge")]
    problems = audit(done.dataset, classes("mug")).problems
    assert [problem.where.item.partition('"')[2] for problem in problems if problem.code == "D105"] == [
        'zebra"', 'person"'
    ]  # fmt: skip


def test_yolo_ids_without_a_name_keep_them(tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", "yolo", [MUG])
    label = data.root / "train/labels/sub/ä b.txt"
    label.write_text("7 .5 .5 .2 .2\n-1 .5 .5 .2 .2\n0 .5 .5 0 .2\n0 .5 .5 .3 .3\n")
    done = fixed(data.dataset(), tmp_path / "out")
    assert done.unknown == {"class id -1": 1, "class id 7": 1}
    assert labels(done) == [0]
    [place] = done.dataset.roots("train")
    assert (place.annotations / "sub/ä b.txt").read_text().splitlines()[0] == "7 0.5 0.5 0.2 0.2"


def test_polygons_of_untouched_labels_stay(tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", "yolo", [MUG])
    label = data.root / "train/labels/sub/ä b.txt"
    label.write_text("0 .1 .1 .5 .1 .5 .5\n")
    done = fixed(data.dataset(), tmp_path / "out")
    [place] = done.dataset.roots("train")
    assert (place.annotations / "sub/ä b.txt").read_text() == label.read_text()


def test_marks_are_kept(tmp_path: Path) -> None:
    marks = "<difficult>1</difficult><truncated>1</truncated><iscrowd>1</iscrowd>"
    folder = VocFolder(tmp_path / "data").add("val", "b")
    folder.add("train", "a", xml=voc_xml([MUG, ("mug", (50, 1, 70, 9))], extra=marks))
    done = fixed(folder.dataset(), tmp_path / "out")
    text = (done.dataset.roots("train")[0].annotations / "a.xml").read_text()
    assert [text.count(f"<{mark}>1<") for mark in ("difficult", "truncated", "iscrowd")] == [2, 2, 2]


def test_sizes(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b")
    folder.add("train", "none", xml=voc_xml(size=None)).add("train", "wrong", xml=voc_xml(size=(640, 480)))
    folder.add("train", "other", xml=voc_xml([("mug", (300, 10, 400, 60))], size=(640, 480)))
    done = fixed(folder.dataset(), tmp_path / "out")
    assert told(done) == [
        ("D118", "the image's size is written"),
        ("D106", "image left out: it was labelled on another version of the picture"),
        ("D106", "the image's size is written"),
    ]
    assert done.num_images == 3
    assert audit(done.dataset, done.classes.model_copy(update={"names": ("mug",)})).problems == ()


def test_names_in_annotations_and_pixels_from_one(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b")
    xml = voc_xml([("mug", (1, 1, 64, 48))]).replace("<size>", "<filename>old.jpg</filename><size>")
    folder.add("train", "a", xml=xml)
    done = fixed(folder.dataset(first_pixel=1), tmp_path / "out")
    assert told(done) == [("D122", "the image's name is written")]
    assert (done.dataset.first_pixel, boxes(done)) == (0, [[0, 0, 64, 48]])
    assert boxes(done, "val") == [[9, 9, 30, 30]]


# Where the policy is "auto", a half turn and a mirror leave a doubt; that is tested below.
@pytest.mark.parametrize(
    ("orientation", "policy"), [*((way, "auto") for way in range(5, 9)), *((way, "ignore") for way in range(2, 9))]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_pictures_that_must_be_turned(tmp_path: Path, orientation: int, policy: str, suffix: str) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b")
    folder.add("train", "a", suffix=suffix, orientation=orientation, xml=voc_xml([("mug", (2, 3, 10, 30))]))
    source = folder.image("train", "a", suffix)
    before = np.asarray(load_rgb(source, apply_exif=False)).astype(int)
    done = fixed(folder.dataset(exif_orientation=policy), tmp_path / "out")
    assert told(done) == [("D119", "picture and boxes are turned")]
    [record] = read_split(done.dataset, MAP, "train").records
    picture = np.asarray(load_rgb(record.image_path, apply_exif=record.apply_exif)).astype(int)
    with Image.open(record.image_path) as image:
        assert image.getexif().get(274, 1) == 1
    x_min, y_min, x_max, y_max = map(int, record.boxes_xyxy[0])
    # What the box shows is what it showed before: the same pixels, in another order.
    shown, wanted = picture[y_min:y_max, x_min:x_max], before[3:30, 2:10]
    assert shown.size == wanted.size
    tolerance = 0 if suffix != ".jpg" else 3
    assert abs(shown.mean() - wanted.mean()) <= tolerance


@pytest.mark.parametrize(("form", "orientation"), [("voc", 3), ("yolo", 6)])
def test_doubt_about_rotation_ends(tmp_path: Path, form: str, orientation: int) -> None:
    data = labelled(tmp_path / "data", form, [MUG])
    write_image(data.root / "train/images/sub/ä b.jpg", orientation=orientation)
    before = read_split(data.dataset(), MAP, "train")
    assert [problem.code for problem in before.problems] == ["D120"]
    done = fixed(data.dataset(), tmp_path / "out")
    [(code, action)] = told(done)
    assert code == "D120"
    assert "look whether they fit" in action
    after = read_split(done.dataset, MAP, "train")
    assert after.problems == ()
    np.testing.assert_array_equal(before.records[0].boxes_xyxy, after.records[0].boxes_xyxy)


def test_a_picture_that_loses_its_last_object_is_no_negative(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b").add("train", "good").add("train", "none", xml=voc_xml([]))
    folder.add("train", "a", xml=voc_xml([("mug", (5, 5, 5, 9))]))
    done = fixed(folder.dataset(), tmp_path / "out")
    assert [change.code for change in done.changes] == ["D102", "D121"]
    assert sorted(path.name for path in (tmp_path / "out/train/images").iterdir()) == ["good.jpg", "none.jpg"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b").add("train", "caf_").add("train", "x")
    for part, suffix in (("images", ".jpg"), ("annotations", ".xml")):
        path = folder.root / "train" / part / f"x{suffix}"
        try:
            path.rename(path.with_name(f"caf\udce9{suffix}"))
        except OSError:
            pytest.skip("this file system keeps such names out")
    done = fixed(folder.dataset(), tmp_path / "out")
    assert told(done) == [("D135", "written as caf_-2.jpg")]


def test_class_names_that_no_recipe_can_hold(tmp_path: Path) -> None:
    objects = [("mug\u202e", (1, 1, 9, 9)), ("", (1, 2, 9, 9)), ("x" * 500, (1, 3, 9, 9)), MUG]
    folder = VocFolder(tmp_path / "data").add("val", "b").add("train", "a", xml=voc_xml(objects))
    done = fixed(folder.dataset(), tmp_path / "out")
    assert sorted(told(done)) == [("D105", "object left out")] * 2 + [("D105", 'renamed to "mug"')]


def test_what_cannot_be_read_or_paired_is_left_out(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b").add("train", "good")
    folder.add("train", "cut").add("train", "junk", xml="junk").add("train", "alone").add("train", "unlabelled")
    folder.image("train", "alone").unlink()
    (folder.root / "train/annotations/unlabelled.xml").unlink()
    folder.image("train", "cut").write_bytes(folder.image("train", "cut").read_bytes()[:900])
    folder.image("train", "neither").write_bytes(b"neither a picture nor labelled")
    done = fixed(folder.dataset(), tmp_path / "out")
    assert sorted(told(done)) == [
        ("D107", "image left out"), ("D108", "annotation left out"), ("D109", "image left out"),
        ("D109", "image left out"), ("D110", "left out with its image"),
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "out/train/images").iterdir()] == ["good.jpg"]


def test_an_unlabelled_picture_is_a_negative_only_where_the_recipe_says_so(tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", "voc", [MUG])
    write_image(data.root / "train/images/none.jpg", seed=77)
    done = fixed(data.dataset(missing_annotations="negative"), tmp_path / "out")
    assert told(done) == [("D107", "written as a picture without objects")]
    assert (done.dataset.missing_annotations, done.num_images) == ("error", 3)


def test_copies(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "data").add("val", "b").add("train", "a")
    other = voc_xml([("mug", (1, 1, 9, 9))])
    for split, name, source in [("train", "twin", "a"), ("train", "leak", "b"), ("val", "c", "b")]:
        folder.add(split, name, xml=other)
        folder.image(split, name).write_bytes(
            folder.image("train" if source == "a" else "val", source).read_bytes()
        )  # fmt: skip
    done = fixed(folder.dataset(), tmp_path / "out")
    assert [(change.code, Path(change.where.path).stem) for change in done.changes] == [
        ("D130", "twin"), ("D129", "leak"),
    ]  # fmt: skip
    assert "with other labels" in done.changes[0].found
    strict = fixed(folder.dataset(duplicate_images="error"), tmp_path / "strict")
    assert [Path(change.where.path).stem for change in strict.changes] == ["twin", "leak", "c"]
    lenient = fixed(folder.dataset(leaked_images="warn"), tmp_path / "lenient")
    assert [Path(change.where.path).stem for change in lenient.changes] == ["twin"]
    assert lenient.dataset.leaked_images == "warn"


def test_images_of_one_name_in_two_places(tmp_path: Path) -> None:
    data = Labelled(tmp_path / "data", "voc").add("train", "a.jpg").add("val", "a.jpg").add("val", "b.jpg")
    data.add("train", "c.jpg")
    place = {"images": tmp_path / "more/all", "annotations": tmp_path / "more/all"}
    write_image(tmp_path / "more/all/a.png", seed=99)
    (tmp_path / "more/all/a.xml").write_text(voc_xml())
    done = fixed(data.dataset(train=[data.place("train"), place]), tmp_path / "out")
    assert told(done) == [("D112", "written as a-2.png")]
    assert sorted(path.name for path in (tmp_path / "out/train/images").iterdir()) == ["a-2.png", "a.jpg", "c.jpg"]


def test_a_drawn_val_becomes_a_folder(tmp_path: Path) -> None:
    data = Labelled(tmp_path / "data", "coco")
    for index in range(12):
        data.add("train", f"{index}.jpg")
    done = fixed(data.dataset(val=None, val_fraction=0.4), tmp_path / "out")
    assert (done.dataset.val_fraction, done.num_images) == (None, 12)
    assert done.dataset.val is not None


def test_policies_that_ask_for_something_else_are_followed(tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", "voc", [MUG, MUG, ("mug", (50, 1, 70, 9))])
    done = fixed(data.dataset(duplicate_boxes="keep", outside_boxes="drop"), tmp_path / "out")
    assert told(done) == [("D103", "object left out")]
    assert len(boxes(done)) == 2


@pytest.mark.parametrize(
    "break_it", ["no folder", "no json", "ids in doubt", "nothing left", "within", "taken", "below a file"]
)
def test_what_cannot_be_corrected_is_refused_and_nothing_is_written(tmp_path: Path, break_it: str) -> None:
    form = {"no json": "coco", "ids in doubt": "yolo"}.get(break_it, "voc")
    data, out = labelled(tmp_path / "data", form, [MUG]), tmp_path / "out"
    dataset = data.dataset()
    if break_it == "no folder":
        dataset = data.dataset(val={"images": tmp_path / "none", "annotations": tmp_path / "none"})
    elif break_it == "no json":
        (data.root / "val/labels/coco.json").write_text("junk")
    elif break_it == "ids in doubt":
        (data.root / "train/labels/classes.txt").write_text("lid\nmug\n")
    elif break_it == "nothing left":
        (data.root / "val/images/b.jpg").write_bytes(b"junk")
    elif break_it == "within":
        out = data.root / "train/images/new"
    elif break_it == "taken":
        (out / "something").mkdir(parents=True)
    else:
        (tmp_path / "file").touch()
        out = tmp_path / "file/out"
    with pytest.raises(DataError) as refused:
        fix(dataset, MAP, out_dir=out)
    codes = {"no folder": "D100", "no json": "D110", "ids in doubt": "D128", "nothing left": "D101"}
    assert [problem.code for problem in refused.value.problems] == [codes.get(break_it, "D135")]
    assert break_it == "taken" or not out.exists()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("keybord", "keyboard"), ("kyeboard", "keyboard"), ("Key_Board", "keyboard"), ("KEYBOARD", "keyboard"),
        ("Coffee-mug", "coffee mug"), ("cofee_mugg", "coffee mug"), ("skateboard", None), ("mig", None),
        ("player1", None), ("player3", None), ("tables", None), ("lap", "laptop"), ("laptp", "laptop"), ("", None),
        ("mug\u202e", "mug"), ("persons", None), ("person", None), ("mug", None),
    ],
)  # fmt: skip
def test_only_plain_slips_are_corrected(name: str, meant: str | None) -> None:
    names = ("keyboard", "mug", "coffee mug", "player1", "player2", "table", "tablet", "laptop")
    class_map = classes(*names, aliases={"lap": "laptop"}, ignore=["person"])
    assert corrections([name], class_map).get(name) == meant


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "acb", 1), ("abc", "abd", 1), ("kitten", "sitting", 3)],
)
def test_distance(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == distance(other, one) == expected


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the sample photographs aren't here")
def test_bccd_and_raccoon(tmp_path: Path) -> None:
    blood = Classes(names=("RBC", "WBC", "Platelets"))
    done = fixed(shared_dataset("bccd", ("train", "val")), tmp_path / "bccd", blood)
    assert [(Path(change.where.path).stem, change.code) for change in done.changes] == [
        ("BloodImage_00343", "D102"), ("BloodImage_00338", "D102"),
    ]  # fmt: skip
    done = fixed(shared_dataset("raccoon", ("train", "val")), tmp_path / "raccoon", classes("raccoon"))
    assert [change.code for change in done.changes] == ["D130"] * 4
    assert done.num_images == 196


def a_mess(root: Path, form: str, seed: int) -> Labelled:
    """Pictures with boxes of every kind: fine, empty, inverted, outside, twice, tiny, misspelt."""
    random = np.random.default_rng(seed)
    data = Labelled(root, form, ("mug", "keyboard", "keybord", "MUG"))
    for index in range(12):
        width, height = (int(side) for side in random.integers(8, 70, 2))
        objects = []
        for _ in range(random.integers(0, 6)):
            corners = random.choice([0, 1, 2.5, 7.3, width, height, width / 3, -3, 80, 1e-6], 4)
            objects.append((data.names[random.integers(4)], tuple(map(float, corners))))
        objects += objects[: random.integers(0, 2)]
        split = "val" if index % 3 == 2 else "train"
        data.add(split, f"{index}{random.choice(['.jpg', '.png', '.JPG'])}", objects, (width, height))
    data.add("train", "good.jpg")
    return data.add("val", "good too.jpg")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_corrected_checks_clean_and_needs_no_second_correction(
    tmp_path: Path, form: str, seed: int
) -> None:
    data = a_mess(tmp_path / "data", form, seed)
    (tmp_path / "names.txt").write_text("\n".join(data.names))
    files = {"names_file": tmp_path / "names.txt"} if form == "yolo" else {}
    done = fixed(data.dataset(**files), tmp_path / "out")
    assert done.unknown == {}
    again = fixed(done.dataset, tmp_path / "again")
    assert again.changes == ()
    assert boxes(done) == boxes(again)
