"""Everything the screens show at one moment, as the app hands it to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.standing import Board
from tui.feed import Fleet
from tui.gauges import Gauges
from tui.recipes import RecipeReading
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
        marked: Ids of the runs that were marked, to act on together or to compare.
        recipes: The recipes that panels asked for, by run; see `panels.panel.RecipesWanted`.
        board: Where the unfinished runs stand.
        gauges: How the machine does.
    """

    fleet: Fleet
    views: tuple[RunView, ...]
    chosen: RunView | None
    log: tuple[str, ...]
    now: float
    marked: frozenset[str] = field(default=frozenset())
    recipes: Mapping[str, RecipeReading] = field(default_factory=dict)
    board: Board = field(default=Board())
    gauges: Gauges = field(default=Gauges())
