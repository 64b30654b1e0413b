"""The compare panel: marked runs in one chart, their best figures side by side, and what differs in their recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message

from tui.axes import XKind, x_text
from tui.comparing import CONTESTS, Contest, columns_of, compared, whole_of
from tui.look import Window
from tui.panels.chart_panel import CHART_HINTS, CHART_KEYS, ChartPanel
from tui.panels.curve_panel import CURVE_HINTS, CURVE_KEYS, CurveStyle
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.chart import Chart
from tui.widgets.comparison import Comparison
from tui.widgets.text_line import TextLine


@dataclass
class RunsCompared(Message):
    """Runs are compared and should be read whole."""

    run_ids: tuple[str, ...]


class ComparePanel(ChartPanel):
    """Several runs."""

    PANEL = "compare"
    TITLE = "Compare"
    IS_WHOLE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "contest(1)", "Next figure to compare", show=False),
        Binding("V", "contest(-1)", "Figure before", show=False),
        *CURVE_KEYS,
        *CHART_KEYS,
    ]
    HINTS = (("v", "figure", "screen.on_panel('contest(1)')"), *CHART_HINTS, *CURVE_HINTS)

    def __init__(self) -> None:
        super().__init__(CurveStyle())
        self.look = replace(self.look, kind="epoch")
        self._words = TextLine(id="compare-words")
        self._charts = (Chart("", id="compare-left"), Chart("", id="compare-right"))
        self._comparison = Comparison()
        self._views: list[RunView] = []
        self._at = 0

    def compose(self) -> ComposeResult:
        """Which runs, charts of two figures, tables below."""
        yield self._words
        with Horizontal(id="compare-charts"):
            yield from self._charts
        with VerticalScroll(id="compare-scroll", can_focus=False):
            yield self._comparison

    def show(self, scene: Scene) -> None:
        """Compare the marked runs."""
        views, words = compared(scene)
        if [view.run_id for view in views] != [view.run_id for view in self._views]:
            self.forget_place()
            self.post_message(RunsCompared(tuple(view.run_id for view in views)))
        self._views = views
        self._words.show([(f" {words}", "muted")])
        look = self.seen
        for index, chart in enumerate(self._charts):
            contest = self._contest(index)
            notes = [_place(look.cursor, look.kind), "log axis" if look.log and not contest.is_unit else "",
                     "smoothed" if look.share and contest.value_of is None else ""]
            title = f"{contest.title} by {look.kind}"
            chart.show(contest.plot(views, look), title=title, notes=notes, nothing="nothing measured yet")
        runs = [view.run_id for view in views]
        self.want_recipes(runs)
        recipes = [scene.recipes.get(run) for run in runs]
        width = self._comparison.size.width or self.size.width
        self._comparison.show(views, columns_of(views, scene.now), recipes, width)

    def on_resize(self) -> None:
        """Arrange the tables anew."""
        self.call_after_refresh(self.show_again)

    def _contest(self, index: int) -> Contest:
        return CONTESTS[(self._at + index) % len(CONTESTS)]

    def action_contest(self, places: int) -> None:
        """Compare by another figure."""
        self._at = (self._at + places) % len(CONTESTS)
        self.show_again()

    def scroll_pages(self, pages: int) -> None:
        """Scroll the tables."""
        self.scroll_widget("#compare-scroll", pages)

    @property
    def main(self) -> Chart:
        """The chart on the left."""
        return self._charts[0]

    @property
    def whole(self) -> Window:
        """The range of all the runs."""
        return whole_of(self._views, self.look)


def _place(cursor: float | None, kind: XKind) -> str:
    return "" if cursor is None else f"at {x_text(cursor, kind)}"
