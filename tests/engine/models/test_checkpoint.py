"""Checkpoints: at every moment a sound one is on disk, and a damaged one is never taken for sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import EngineError, TrainingError
from engine.models import checkpoint
from engine.models.checkpoint import load_checkpoint, load_newest, previous_path, remove_leftovers, save_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "last.pt"


def save(path: Path, step: int) -> None:
    # Large enough that a flipped bit hits a tensor, where no parser would notice it.
    save_checkpoint(path, {"step": step, "model": {"weight": torch.full((200, 200), float(step))}})


def step_of(path: Path) -> Any:
    content, _ = load_newest(path)
    return content and content["step"]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_nothing_to_resume_from(path: Path) -> None:
    assert load_newest(path) == (None, "")
    with pytest.raises(EngineError, match="T101"):
        load_checkpoint(path)


def test_what_is_saved_comes_back(path: Path) -> None:
    weight = torch.rand(3)
    plain = {"step": 3, "best": {"value": None}, "events_bytes": 12, "names": ["a"]}
    save_checkpoint(path, {"model": {"weight": weight}, **plain})
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.pop("model")["weight"], weight)
    assert loaded == {"format": 1, **plain}


def test_the_newest_is_loaded_and_the_one_before_is_kept(path: Path) -> None:
    for step in (1, 2, 3):
        save(path, step)
    assert load_newest(path)[1] == ""
    assert step_of(path) == 3
    assert load_checkpoint(previous_path(path))["step"] == 2
    assert len(list(path.parent.iterdir())) == 3  # both and their checksums


def test_the_best_keeps_no_former_one(path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(path, {"step": step}, keep_previous=False)
    assert step_of(path) == 2
    assert not previous_path(path).exists()


@pytest.mark.parametrize("damage", [flip_a_bit, cut, empty])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(path: Path, damage: Any) -> None:
    save(path, 1)
    save(path, 2)
    damage(path)
    content, warning = load_newest(path)
    assert content is not None
    assert content["step"] == 1
    assert "last.pt" in warning
    assert "going on from last.previous.pt" in warning


@pytest.mark.parametrize("damage", [flip_a_bit, cut, empty])
def test_with_both_damaged_the_run_says_that_it_cant_go_on(path: Path, damage: Any) -> None:
    save(path, 1)
    save(path, 2)
    damage(path)
    damage(previous_path(path))
    with pytest.raises(TrainingError) as caught:
        load_newest(path)
    [problem] = caught.value.problems
    assert problem.code == "T104"
    assert "last.pt" in problem.found
    assert "last.previous.pt" in problem.found


def test_a_lone_damaged_checkpoint_is_told(path: Path) -> None:
    save(path, 1)
    flip_a_bit(path)
    with pytest.raises(TrainingError, match="checksum"):
        load_newest(path)


def test_a_checkpoint_that_only_the_one_before_is_left_of(path: Path) -> None:
    save(path, 1)
    save(path, 2)
    path.unlink()
    assert step_of(path) == 1


# --- crashes ---


class Crash(BaseException):
    """What a power cut is to a test; nothing catches it."""


def crash_in(monkeypatch: pytest.MonkeyPatch, replacing: str, path: Path, step: int) -> None:
    """Save, and die just before the file `replacing` takes its name."""
    original = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if Path(target).name == replacing:
            raise Crash
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        # A real power cut wouldn't tidy up either.
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Crash):
            save(path, step)


@pytest.mark.parametrize("crashes", [1, 2, 3], ids=["once", "twice in a row", "three times in a row"])
@pytest.mark.parametrize(
    ("replacing", "kept"),
    [
        pytest.param(".last.pt.new", 2, id="before the new file is whole"),
        pytest.param("last.pt.sha256", 2, id="before the checksum"),
        pytest.param("last.previous.pt", 2, id="after the checksum"),
        pytest.param("last.pt", 2, id="between the two renames"),
    ],
)
def test_a_crash_while_saving_harms_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, replacing: str, kept: int, crashes: int
) -> None:
    save(path, 1)
    save(path, 2)
    for again in range(crashes):
        crash_in(monkeypatch, replacing, path, 3 + again)
        content, warning = load_newest(path)
        assert content is not None
        assert content["step"] == kept
        assert warning == ""
        remove_leftovers(path.parent)
        assert not list(path.parent.glob(".*"))
    save(path, 9)
    assert step_of(path) == 9


def test_leftovers_of_a_killed_worker_are_removed_and_nothing_else(path: Path) -> None:
    save(path, 1)
    (path.parent / ".last.pt.new").write_bytes(b"half")
    (path.parent / ".a-folder").mkdir()
    remove_leftovers(path.parent)
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".a-folder", "last.pt", "last.pt.sha256"]
    remove_leftovers(path.parent / "missing")


def test_a_failed_save_leaves_the_old_checkpoint(path: Path) -> None:
    save(path, 1)
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: None})
    assert step_of(path) == 1
    assert not list(path.parent.glob(".*"))


def test_a_checkpoint_of_a_newer_engine_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 99)
        save(path, 1)
    with pytest.raises(EngineError, match="T103"):
        load_checkpoint(path)
