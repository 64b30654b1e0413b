"""What can be done to a run as it is, so that nothing else is offered. Pure.

The queue itself decides when it is asked (`engine/control.py`); a key that isn't offered still says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.runqueue import ACTIVE, WAITING
from tui.asking import Verb
from tui.scene import Scene
from tui.view import RunView


def is_held_up(view: RunView) -> bool:
    """Whether releasing it lets it go on."""
    row = view.row
    if row is None:
        return False
    is_postponed = row.state == "queued" and (row.not_before is not None or row.cause == "no space")
    return row.state == "held" or is_postponed or (row.state in ACTIVE and row.asked == "stop after epoch")


def _can_be_retried(view: RunView) -> bool:
    return view.state in ("failed", "cancelled")


def _waits(view: RunView) -> bool:
    return view.state in WAITING


def _is_queued(view: RunView) -> bool:
    return view.state == "queued"


def _is_active(view: RunView) -> bool:
    return view.state in ACTIVE


_CAN: Mapping[Verb, Callable[[RunView], bool]] = {
    "retry": _can_be_retried,
    "release": is_held_up,
    "go on": lambda view: _can_be_retried(view) or is_held_up(view),
    "hold": _is_queued,
    "stop": _is_active,
    "cancel": lambda view: _waits(view) or _is_active(view),
    "up": _is_queued, "down": _is_queued,
    "first": _waits, "last": _waits, "raise": _waits, "lower": _waits,
    "remove": lambda view: not _is_active(view),
}  # fmt: skip


def those_that_can(verb: Verb, views: Sequence[RunView]) -> list[RunView]:
    """The runs to which something can be done."""
    return [view for view in views if view.row is not None and _CAN[verb](view)]


def can_control(scene: Scene) -> bool:
    """Whether there is a queue to control."""
    return scene.fleet.has_queue and not scene.fleet.trouble


def can_start(scene: Scene) -> bool:
    """Whether runs wait and nobody is at work on them."""
    waits = any(standing.row.state == "queued" for standing in scene.board.standings)
    return can_control(scene) and waits and not scene.fleet.is_supervised


def can_pause(scene: Scene) -> bool:
    """Whether pausing, or going on, means anything: something is unfinished."""
    return can_control(scene) and (scene.fleet.is_paused or bool(scene.board.standings))


def targets(scene: Scene) -> list[RunView]:
    """The runs that a key acts on: the marked ones, or the chosen one where none is marked."""
    if scene.marked:
        return [view for view in scene.views if view.run_id in scene.marked]
    return [scene.chosen] if scene.chosen is not None else []
