"""Everything the screens show at one moment, as the app hands it to them."""

from __future__ import annotations

from dataclasses import dataclass

from tui.feed import Fleet
from tui.view import RunView


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of things.

    Attributes:
        fleet: The runs folder.
        views: Its runs, by number.
        chosen: The run that is looked at.
        log: That run's log.
        now: Seconds since 1970.
    """

    fleet: Fleet
    views: tuple[RunView, ...]
    chosen: RunView | None
    log: tuple[str, ...]
    now: float
