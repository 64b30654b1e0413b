"""Pictures that a dataset holds more than once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.annotations import audit
from engine.annotations.duplicates import duplicate_problems
from tests.engine.annotations.builders import SHARED_DATA, VocFolder, classes, codes_of, shared_dataset, voc_xml


@pytest.fixture
def folder(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path).add("train", "a").add("train", "b").add("val", "c")


def test_no_splits_hold_no_duplicates(folder: VocFolder) -> None:
    assert duplicate_problems(folder.dataset(), {}, {}) == []


@pytest.mark.parametrize("decode", [True, False], ids=["pixels", "headers"])
@pytest.mark.parametrize(
    ("split", "policies", "expected"),
    [
        pytest.param("train", {}, ("D130", "warning"), id="within a split"),
        pytest.param("train", {"duplicate_images": "error"}, ("D130", "error"), id="within, an error"),
        pytest.param("val", {}, ("D129", "error"), id="across splits"),
        pytest.param("val", {"leaked_images": "warn"}, ("D129", "warning"), id="across, a warning"),
    ],
)
def test_the_same_bytes(
    folder: VocFolder, split: str, policies: dict[str, str], expected: tuple[str, str], *, decode: bool
) -> None:
    folder.add(split, "z", xml=voc_xml([("mug", (1, 1, 9, 9))]))
    shutil.copy(folder.image("train", "a"), folder.image(split, "z"))
    found = audit(folder.dataset(**policies), classes(), decode=decode)
    assert codes_of(found.problems) == [expected]
    (problem,) = found.problems
    assert problem.where.path == str(folder.image(split, "z"))
    first = folder.image("train", "a")
    assert f"same picture as {first.name if split == 'train' else first}" in problem.found
    assert "with other labels" in problem.found


def test_files_of_one_size_may_differ(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path).add("train", "a", suffix=".bmp").add("val", "b", suffix=".bmp")
    assert folder.image("train", "a", ".bmp").stat().st_size == folder.image("val", "b", ".bmp").stat().st_size
    assert audit(folder.dataset(), classes()).problems == ()


def test_a_hard_link_is_the_same_file(folder: VocFolder) -> None:
    folder.add("val", "z")
    folder.image("val", "z").unlink()
    os.link(folder.image("train", "a"), folder.image("val", "z"))
    assert codes_of(audit(folder.dataset(), classes()).problems) == [("D115", "error")]


def smooth(seed: int) -> Image.Image:
    """A picture with structure that survives scaling, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("split", "expected"), [("train", [("D132", "note")]), ("val", [("D131", "warning")])], ids=["within", "across"]
)
@pytest.mark.parametrize("change", ["quality", "brightness", "none of these"])
def test_nearly_the_same_picture(tmp_path: Path, split: str, expected: list[tuple[str, str]], change: str) -> None:
    folder = VocFolder(tmp_path)
    xml = voc_xml(size=(320, 240))
    for index, (where, stem) in enumerate((("train", "a"), ("train", "b"), ("val", "c"), (split, "z"))):
        folder.add(where, stem, xml=xml)
        smooth(index).save(folder.image(where, stem), quality=95)
    copy = smooth(99 if change == "none of these" else 0)
    if change == "brightness":
        copy = copy.point(lambda level: min(level + 3, 255))
    copy.save(folder.image(split, "z"), quality=50)
    found = audit(folder.dataset(), classes())
    assert codes_of(found.problems) == ([] if change == "none of these" else expected)
    assert audit(folder.dataset(), classes(), decode=False).problems == ()


def test_pictures_without_structure_are_not_compared(tmp_path: Path) -> None:
    folder = VocFolder(tmp_path)
    for index, (split, stem) in enumerate((("train", "a"), ("val", "b"))):
        folder.add(split, stem)
        Image.new("RGB", (64, 48), (4 * index, 0, 0)).save(folder.image(split, stem))
    assert audit(folder.dataset(), classes()).problems == ()


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the sample photographs aren't here")
def test_raccoon_holds_four_pictures_twice() -> None:
    found = audit(shared_dataset("raccoon", ("train", "val")), classes("raccoon"))
    pairs = {
        frozenset((Path(p.where.path).stem, Path(p.found.split(" as ")[1].split(",")[0]).stem))
        for p in found.problems
        if p.code == "D130"
    }
    numbers = ((52, 74), (120, 83), (65, 98), (11, 116))
    assert pairs == {frozenset((f"raccoon-{a}", f"raccoon-{b}")) for a, b in numbers}
