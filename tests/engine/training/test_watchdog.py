"""A training that hangs is noticed, one that is slow is not."""

from __future__ import annotations

import threading
import time

from engine.recipe.schema import Recovery
from engine.training.watchdog import Watchdog


def watchdog(stalls: list[str], **settings: float) -> Watchdog:
    return Watchdog(Recovery(**settings), stalls.append, look_every_s=0.01)  # type: ignore[arg-type]


def test_silence_after_some_beats_is_a_stall_and_stacks_are_written(capfd: object) -> None:
    stalls: list[str] = []
    dog = watchdog(stalls, stall_min_seconds=0.02, stall_factor=2)
    for _ in range(3):
        dog.beat()
    dog.start()
    deadline = time.monotonic() + 10
    while not stalls and time.monotonic() < deadline:
        time.sleep(0.01)
    [text] = stalls
    assert "nothing moved for" in text
    assert "test_watchdog.py" in capfd.readouterr().err  # type: ignore[attr-defined]
    assert not any(thread.name == "watchdog" and thread.is_alive() for thread in threading.enumerate())


def test_preparing_may_take_long() -> None:
    dog = watchdog([], stall_min_seconds=1)
    assert dog.limit_s() == 3600
    dog.beat()
    assert dog.limit_s() == 3600


def test_the_limit_follows_the_median_beat() -> None:
    dog = watchdog([], stall_min_seconds=1, stall_factor=50)
    for interval in (0.2, 0.2, 30.0):
        dog._intervals_s.append(interval)
    assert dog.limit_s() == 10
    dog._intervals_s.clear()
    dog._intervals_s.extend([0.001, 0.001])
    assert dog.limit_s() == 5


def test_it_ends_quietly() -> None:
    stalls: list[str] = []
    dog = watchdog(stalls, stall_min_seconds=0.01, stall_factor=2)
    dog.start()
    dog.stop()
    time.sleep(0.2)
    assert stalls == []
