"""Reads a run's events, while they are written or afterwards, and passes them on to trackers.

A tracker that fails is left out from then on, with its reason in the log; the others go on. One that keeps what it
is told elsewhere (a server) is told every step once: how far it was told is written beside the run.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from engine.events import EpochEvent, Event, EventTail, PreviewEvent, RunEnded, StepEvent
from engine.rundir import RunDir, write_bytes_atomic
from engine.tracking.facts import RunFacts, epoch_values, read_facts, state_path, step_values

_POLL_S = 2.0
_KINDS = ("step", "epoch", "pictures")


class Tracker(Protocol):
    """One tracker."""

    name: str
    keeps: bool
    """What it was told stays told: a run that went back to a checkpoint doesn't tell its steps again."""

    def begin(self, facts: RunFacts, known_as: str) -> str:
        """A run is to be told of; returns what it is known by there, given that of before or ""."""

    def values(self, step: int, values: dict[str, float], when: float) -> None:
        """Figures of a step, one-based; `when` in seconds since 1970."""

    def picture(self, step: int, name: str, path: Path, when: float) -> None:
        """A drawn validation image."""

    def flush(self) -> None:
        """Send what is still here."""

    def end(self, ended: RunEnded | None) -> None:
        """Nothing more is told for now; `ended` says whether the run is over."""


class _Told:
    """How far a tracker was told of a run."""

    def __init__(self, tracker: Tracker, run_dir: RunDir) -> None:
        self.tracker, self._path = tracker, state_path(run_dir, tracker.name)
        state: dict[str, object] = {}
        if tracker.keeps:
            with contextlib.suppress(OSError, ValueError):
                state = json.loads(self._path.read_bytes())
        # Zero-based step and epoch, and the epoch whose pictures were sent; -1 for none.
        self.far = {name: known if isinstance(known := state.get(name), int) else -1 for name in _KINDS}
        self.known_as = str(state.get("known_as") or "")
        self._saved = dict(self.far)

    def begin(self, facts: RunFacts) -> None:
        self.known_as = self.tracker.begin(facts, self.known_as)
        self._save()

    def tell_all(self, events: Sequence[Event], run_dir: RunDir) -> None:
        for event in events:
            self._tell(event, run_dir)
        self.flush()

    def _tell(self, event: Event, run_dir: RunDir) -> None:
        match event:
            case StepEvent() if self._is_new("step", event.step):
                self.tracker.values(event.step + 1, step_values(event), event.time)
            case EpochEvent() if self._is_new("epoch", event.epoch):
                self.tracker.values(event.step + 1, epoch_values(event), event.time)
            case PreviewEvent() if self._is_new("pictures", event.epoch):
                for preview in event.previews:
                    path = run_dir.path / preview.path
                    if path.is_file():
                        name = f"previews/{Path(preview.image).stem}"
                        self.tracker.picture(self.far["step"] + 1, name, path, event.time)
            case _:
                pass

    def begin_anew(self, facts: RunFacts) -> None:
        """The run went back: what doesn't keep what it was told is told all again."""
        if not self.tracker.keeps:
            self.far = dict.fromkeys(_KINDS, -1)
            self.begin(facts)

    def flush(self) -> None:
        self.tracker.flush()
        if self.far != self._saved:
            self._save()

    def _is_new(self, kind: str, number: int) -> bool:
        if number <= self.far[kind]:
            return False
        self.far[kind] = number
        return True

    def _save(self) -> None:
        self._saved = dict(self.far)
        if self.tracker.keeps:
            write_bytes_atomic(self._path, json.dumps({"known_as": self.known_as, **self.far}).encode())


def follow(
    run_dir: RunDir, trackers: Sequence[Tracker], *, is_live: Callable[[], bool] = lambda: False,
    poll_s: float = _POLL_S,
) -> list[str]:
    """Tell trackers all that a run tells, and what it tells from now on for as long as it is live.

    Args:
        run_dir: The run.
        trackers: Who is told.
        is_live: Asked before each look; once it says no, one last look is taken.
        poll_s: Seconds between two looks.

    Returns:
        What went wrong, a line for each tracker that had to be left out.
    """
    told = [_Told(tracker, run_dir) for tracker in trackers]
    facts, tail = read_facts(run_dir), EventTail(run_dir.events)
    troubles: list[str] = []
    ended: RunEnded | None = None
    restarts = 0

    def each(what: Callable[[_Told], None]) -> None:
        for one in list(told):
            try:
                what(one)
            except Exception as error:  # noqa: BLE001 - whatever a tracker's library raises is its own affair
                told.remove(one)
                troubles.append(f"{one.tracker.name} isn't told any more: {type(error).__name__}: {error}")
                sys.stderr.write(troubles[-1] + "\n")

    each(lambda one: one.begin(facts))
    while told:
        live = is_live()
        events = tail.read_all()
        if tail.restarts != restarts:  # the run went back to a checkpoint
            restarts = tail.restarts
            each(lambda one: one.begin_anew(facts))
        for event in events:
            ended = event if isinstance(event, RunEnded) else None if isinstance(event, StepEvent) else ended
        each(lambda one: one.tell_all(events, run_dir))  # noqa: B023 - called at once
        if not live:
            break
        time.sleep(poll_s)
    each(lambda one: one.tracker.end(ended))
    return troubles
