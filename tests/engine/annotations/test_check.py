"""The audit: what only shows when all splits are seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.annotations import audit
from engine.recipe.schema import Dataset
from tests.engine.annotations.builders import VocFolder, classes, codes_of, voc_xml


@pytest.fixture
def folder(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path)


def test_a_clean_dataset_has_no_problems_and_is_counted(folder: VocFolder) -> None:
    folder.add("train", "a").add("train", "b", xml=voc_xml([])).add("val", "c")
    found = audit(folder.dataset(), classes())
    assert found.problems == ()
    train = found.summary["train"]
    assert (train.num_images, train.num_negatives, train.num_boxes) == (2, 1, 1)
    assert train.boxes_per_class == train.images_per_class == {"mug": 1}
    assert train.smallest == train.largest == (64, 48)
    assert list(found.splits) == ["train", "val"]


def test_progress_covers_every_image(folder: VocFolder) -> None:
    folder.add("train", "a").add("train", "b").add("val", "c")
    calls: list[tuple[int, int]] = []
    audit(folder.dataset(), classes(), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("part", ["images", "annotations"])
def test_a_missing_folder_is_told_once(folder: VocFolder, part: str) -> None:
    folder.add("train", "a").add("val", "b")
    shutil.rmtree(folder.root / "val" / part)
    found = audit(folder.dataset(), classes())
    (problem,) = found.problems
    assert (problem.code, problem.severity) == ("D100", "error")
    assert problem.where.path == str(folder.root / "val" / part)


def test_a_file_in_place_of_a_folder(folder: VocFolder) -> None:
    folder.add("train", "a").add("val", "b")
    shutil.rmtree(folder.root / "val/images")
    (folder.root / "val/images").write_text("")
    assert codes_of(audit(folder.dataset(), classes()).problems) == [("D100", "error")]


def test_empty_splits_are_errors(folder: VocFolder) -> None:
    assert codes_of(audit(folder.dataset(), classes()).problems) == [("D101", "error")] * 2


def test_a_split_emptied_by_policies_is_an_error(folder: VocFolder) -> None:
    folder.add("train", "a").add("val", "b")
    (folder.root / "val/annotations/b.xml").unlink()
    found = audit(folder.dataset(missing_annotations="skip"), classes())
    assert codes_of(found.problems) == [("D101", "error"), ("D107", "note")]


def test_classes_never_seen(folder: VocFolder) -> None:
    folder.add("train", "a").add("val", "b", xml=voc_xml([("lid", (1, 1, 9, 9)), ("mug", (1, 1, 9, 9))]))
    found = audit(folder.dataset(), classes("mug", "lid", "jar"))
    assert codes_of(found.problems) == [("D114", "warning"), ("D113", "warning")]
    assert "1 in val" in found.problems[0].found


def test_no_boxes_in_train_is_an_error_and_in_val_a_warning(folder: VocFolder) -> None:
    folder.add("train", "a", xml=voc_xml([])).add("val", "b", xml=voc_xml([]))
    found = audit(folder.dataset(), classes())
    assert codes_of(found.problems) == [("D116", "error"), ("D117", "warning")]


@pytest.mark.parametrize("linked", [False, True], ids=["same folder", "linked folder"])
def test_the_same_file_in_two_splits(folder: VocFolder, linked: bool) -> None:
    folder.add("train", "a")
    train = folder.root / "train"
    if linked:
        (folder.root / "again").symlink_to(train)
    other = folder.root / "again" if linked else train
    splits = {
        split: {"images": root / "images", "annotations": root / "annotations"}
        for split, root in (("train", train), ("val", other))
    }
    found = audit(Dataset.model_validate(splits), classes())
    assert codes_of(found.problems) == [("D115", "error")]
