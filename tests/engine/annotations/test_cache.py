"""A second check of unchanged data is answered from the cache, and every change is noticed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.annotations import Audit, audit, cache, check, picture, scan
from engine.recipe.schema import Classes, Dataset
from tests.engine.annotations.builders import VocFolder, classes, voc_xml


@pytest.fixture
def folder(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path / "data").add("train", "a").add("train", "b", xml=voc_xml([])).add("val", "c")


class Asked:
    """Audits with a cache, counting how often files were really looked at."""

    def __init__(self, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache_dir, self.num_reads, self.num_pictures = cache_dir, 0, 0
        inner, look = check._audit, picture.inspect

        def counted(*args: Any, **kwargs: Any) -> Audit:
            self.num_reads += 1
            return inner(*args, **kwargs)

        def looked(*args: Any, **kwargs: Any) -> Any:
            self.num_pictures += 1
            return look(*args, **kwargs)

        monkeypatch.setattr(check, "_audit", counted)
        monkeypatch.setattr(scan, "inspect", looked)

    def __call__(self, dataset: Dataset, names: Classes | None = None, *, decode: bool = True) -> Audit:
        return audit(dataset, names or classes(), decode=decode, cache_dir=self.cache_dir)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path / "cache", monkeypatch)


def settle() -> None:
    """Wait until what was just written is no longer too young for its times to be trusted."""
    time.sleep(cache._FINE_GRAIN_NS / 1e9 + 0.02)


def test_unchanged_data_is_answered_alike_without_reading_it(folder: VocFolder, ask: Asked) -> None:
    first, second = ask(folder.dataset()), ask(folder.dataset())
    assert ask.num_reads == 1
    assert (first.problems, first.summary) == (second.problems, dict(second.summary))
    assert list(first.splits) == list(second.splits)
    assert len(second.splits) == 2
    for split in first.splits:
        before, after = first.splits[split], second.splits[split]
        assert before.problems == after.problems
        for one, other in zip(before.records, after.records, strict=True):
            assert (one.image_path, one.annotation_path) == (other.image_path, other.annotation_path)
            assert (one.width, one.height, one.apply_exif) == (other.width, other.height, other.apply_exif)
            for field in ("boxes_xyxy", "labels", "difficult", "crowd"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
                assert getattr(one, field).dtype == getattr(other, field).dtype
                assert getattr(other, field).flags.writeable


def test_progress_is_told_from_the_cache_too(folder: VocFolder, ask: Asked) -> None:
    ask(folder.dataset())
    calls: list[tuple[int, int]] = []
    audit(folder.dataset(), classes(), cache_dir=ask.cache_dir, on_progress=lambda *call: calls.append(call))
    assert calls == [(3, 3)]


def rewrite_a_byte(folder: VocFolder) -> None:
    path = folder.root / "train/annotations/a.xml"
    status = path.stat()
    path.write_text(path.read_text().replace("<xmin>10<", "<xmin>11<"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def add_an_image(folder: VocFolder) -> None:
    folder.add("train", "new")


def remove_a_label(folder: VocFolder) -> None:
    (folder.root / "train/annotations/a.xml").unlink()


def change_an_image(folder: VocFolder) -> None:
    path = folder.image("train", "a")
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("young", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize("change", [rewrite_a_byte, add_an_image, remove_a_label, change_an_image])
def test_every_change_is_noticed(
    folder: VocFolder, ask: Asked, change: Callable[[VocFolder], None], *, young: bool
) -> None:
    if not young:
        settle()
    ask(folder.dataset())
    change(folder)
    after = ask(folder.dataset())
    assert ask.num_reads == 2
    fresh = audit(folder.dataset(), classes())
    assert after.problems == fresh.problems
    assert after.summary == fresh.summary


def test_another_question_is_another_answer(folder: VocFolder, ask: Asked) -> None:
    ask(folder.dataset())
    ask(folder.dataset(empty_boxes="drop"))
    ask(folder.dataset(), classes("mug", "lid"))
    ask(folder.dataset(), decode=False)
    assert ask.num_reads == 4


def test_a_changed_label_doesn_t_decode_the_pictures_again(folder: VocFolder, ask: Asked) -> None:
    settle()
    ask(folder.dataset())
    rewrite_a_byte(folder)
    ask(folder.dataset())
    assert ask.num_pictures == 3
    change_an_image(folder)
    ask(folder.dataset())
    assert ask.num_pictures == 4


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 64], ids=["empty", "junk", "zeros"])
def test_a_damaged_cache_is_as_good_as_none(folder: VocFolder, ask: Asked, content: bytes) -> None:
    settle()
    expected = ask(folder.dataset())
    for file in ask.cache_dir.iterdir():
        file.write_bytes(content)
    assert ask(folder.dataset()).problems == expected.problems
    assert ask.num_reads == 2


def test_a_cache_that_cannot_be_written_costs_nothing_else(folder: VocFolder, ask: Asked) -> None:
    ask.cache_dir.write_text("a file where the folder should be")
    assert ask(folder.dataset()).problems == ()


def test_only_so_many_answers_are_kept(folder: VocFolder, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 3)
    for seed in range(6):
        ask(folder.dataset(split_seed=seed))
    assert len(list(ask.cache_dir.iterdir())) == 3


def test_missing_folders_are_told_from_the_cache_until_they_are_there(folder: VocFolder, ask: Asked) -> None:
    (folder.root / "val/images").rename(folder.root / "elsewhere")
    assert ask(folder.dataset()).problems == ask(folder.dataset()).problems != ()
    (folder.root / "elsewhere").rename(folder.root / "val/images")
    assert ask(folder.dataset()).problems == ()


def test_another_judge_is_asked_anew(folder: VocFolder, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    ask(folder.dataset())
    monkeypatch.setattr(cache, "_judges", lambda: "of another version")
    ask(folder.dataset())
    assert (ask.num_reads, ask.num_pictures) == (2, 6)


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always text there")
def test_file_names_that_are_not_text(folder: VocFolder, ask: Asked) -> None:
    folder.add("train", os.fsdecode(b"caf\xe9"))
    found = ask(folder.dataset(val=None, val_fraction=0.3))
    assert sum(counts.num_images for counts in found.summary.values()) == 3
    assert all(str(problem).isprintable() for problem in found.problems)
    assert len(ask(folder.dataset()).splits["train"].records) == 3
