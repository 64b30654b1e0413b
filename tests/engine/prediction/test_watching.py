"""Which pictures have arrived, told by a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.prediction.watching import Arrivals
from tests.builders import write_photo


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def names(arrivals: Arrivals, clock: Clock, after_s: float = 2.0) -> list[str]:
    clock.now_s += after_s
    return [picture.name for picture in arrivals.look()]


def test_what_lies_there_isnt_new_and_what_comes_is_told_once(tmp_path: Path, clock: Clock) -> None:
    write_photo(tmp_path / "old.jpg", [])
    arrivals = Arrivals(tmp_path, clock)
    write_photo(tmp_path / "deep" / "new.jpg", [])
    assert names(arrivals, clock) == []  # seen, but maybe still written
    assert arrivals.look() == []  # and not a moment has passed
    clock.now_s += 2
    [picture] = arrivals.look()
    assert picture.name == "deep/new.jpg"
    arrivals.done(picture)
    assert names(arrivals, clock) == []


def test_a_file_that_grows_isnt_whole(tmp_path: Path, clock: Clock) -> None:
    arrivals = Arrivals(tmp_path, clock)
    growing = tmp_path / "growing.jpg"
    for size in range(1, 5):
        growing.write_bytes(b"x" * size)
        assert names(arrivals, clock) == []
    assert names(arrivals, clock) == ["growing.jpg"]


def test_a_file_that_cant_be_decoded_has_ten_seconds(tmp_path: Path, clock: Clock) -> None:
    arrivals = Arrivals(tmp_path, clock)
    (tmp_path / "half.jpg").write_bytes(b"half of it")
    arrivals.look()
    clock.now_s = 5
    [picture] = arrivals.look()
    assert not arrivals.is_hopeless(picture)
    clock.now_s = 11
    [picture] = arrivals.look()
    assert arrivals.is_hopeless(picture)
    assert names(arrivals, clock) == []


def test_a_file_written_anew_is_told_again(tmp_path: Path, clock: Clock) -> None:
    write_photo(tmp_path / "a.png", [], seed=0)
    arrivals = Arrivals(tmp_path, clock)
    write_photo(tmp_path / "a.png", [], size=(80, 20), seed=1)
    assert names(arrivals, clock) == []
    assert names(arrivals, clock) == ["a.png"]


def test_a_file_that_goes_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    arrivals = Arrivals(tmp_path, clock)
    path = write_photo(tmp_path / "a.png", [])
    assert names(arrivals, clock) == []
    path.unlink()
    assert names(arrivals, clock) == []
