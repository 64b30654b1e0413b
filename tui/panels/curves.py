"""The curves panel: every curve of the chosen run, one of them large, to zoom into and to read values off."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from tui.axes import XKind, time_text
from tui.bars import Bars
from tui.curves import CHARTS, ChartKind, part_name, shown_choices
from tui.happenings import KINDS, happenings, near
from tui.look import Look, Scale, Window, moved_to
from tui.panels.chart_panel import CHART_HINTS, CHART_KEYS, ChartPanel
from tui.panels.curve_panel import CURVE_HINTS, CURVE_KEYS, CurveStyle, notes_of, title_of
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.chart import Chart
from tui.widgets.inked import Piece
from tui.widgets.text_line import TextLine
from tui.words import figure, short_count

_LOWER = ("curves-2", "curves-3", "curves-4", "curves-5")


class CurvesPanel(ChartPanel):
    """Every curve of the chosen run."""

    PANEL = "curves"
    TITLE = "Curves"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "chart(1)", "Next chart large", show=False),
        Binding("V", "chart(-1)", "Chart before", show=False),
        Binding("z", "large", "One chart, or all", show=False),
        *CURVE_KEYS,
        Binding("o", "shown", "Which losses", show=False),
        Binding("b", "class_curves", "Classes: bars or curves", show=False),
        *CHART_KEYS,
        Binding("n", "happening(1)", "Cursor to next event", show=False),
        Binding("p", "happening(-1)", "Cursor to event before", show=False),
    ]
    HINTS = (
        *CHART_HINTS, ("v", "chart", "screen.on_panel('chart(1)')"), *CURVE_HINTS[:2],
        ("o", "which", "screen.on_panel('shown')"), CURVE_HINTS[2], ("z", "large", "screen.on_panel('large')"),
    )  # fmt: skip

    def __init__(self, style: CurveStyle) -> None:
        super().__init__(style)
        self._main = Chart("Loss", id="curves-main")
        self._reading = TextLine(id="curves-reading")
        self._lower = [Chart("", id=name) for name in _LOWER]
        self._at = 0
        self._run_id = ""

    def compose(self) -> ComposeResult:
        """One chart above, with the line that reads it; others below."""
        yield self._main
        yield self._reading
        with Horizontal(classes="curves-row"):
            yield from self._lower[:2]
        with Horizontal(classes="curves-row curves-last-row"):
            yield from self._lower[2:]

    def show(self, scene: Scene) -> None:
        """Draw the chosen run's curves."""
        view = scene.chosen
        if view is None:
            return
        if view.run_id != self._run_id:
            self._run_id = view.run_id
            self.forget_place()
        look = self.seen
        place = f"{self._at + 1}/{len(CHARTS)}"
        self._show_chart(self._main, self._chart, view, look, place)
        for index, chart in enumerate(self._lower):
            self._show_chart(chart, CHARTS[(self._at + 1 + index) % len(CHARTS)], view, look)
        self._reading.show(_reading(view, look, self._main.num_columns))

    @property
    def _chart(self) -> ChartKind:
        return CHARTS[self._at]

    def _show_chart(self, widget: Chart, chart: ChartKind, view: RunView, look: Look, place: str = "") -> None:
        zoomed = "zoomed, 0: all" if place and look.window is not None else ""
        notes = [place, zoomed, _shown_words(view, look) if chart is CHARTS[0] else "", *notes_of(chart, look)]
        drawing = chart.draw(view, look)
        title = chart.title if isinstance(drawing, Bars) else title_of(chart, look)
        widget.show(drawing, title=title, notes=notes, nothing=chart.nothing)

    # --- keys ---

    def action_chart(self, places: int) -> None:
        """Another chart large."""
        self._at = (self._at + places) % len(CHARTS)
        self.show_again()

    def action_large(self) -> None:
        """One chart only, or all."""
        self.toggle_class("-large")
        self.call_after_refresh(self.show_again)

    def action_shown(self) -> None:
        """All losses, the total and validation, or one part."""
        if self._view is not None:
            choices = shown_choices(self._view)
            at = choices.index(self.look.shown) if self.look.shown in choices else 0
            self.look = replace(self.look, shown=choices[(at + 1) % len(choices)])
            self.show_again()

    def action_class_curves(self) -> None:
        """AP of the classes as bars or as curves."""
        self.look = replace(self.look, class_curves=not self.look.class_curves)
        self.show_again()

    def action_x_axis(self) -> None:
        """The next thing that x axes count; what is in sight stays in sight."""
        before = self.look
        super().action_x_axis()
        if self._view is not None:
            self.look = moved_to(self._view, before, self.look.kind)
        self.show_again()

    def action_happening(self, places: int) -> None:
        """Put the cursor on what happened next, or before."""
        if self._view is None:
            return
        scale = Scale(self._view, self.look.kind)
        at = sorted({scale.at_step(one.num_done) for one in happenings(self._view)})
        start = self.look.cursor
        if places > 0:
            found = next((x for x in at if start is None or x > start + 1e-6 * abs(start)), None)
        else:
            found = next((x for x in reversed(at) if start is None or x < start - 1e-6 * abs(start)), None)
        if found is not None:
            self.put_cursor(found)

    # --- what the cursor and the window go by ---

    @property
    def main(self) -> Chart:
        """The large chart."""
        return self._main

    @property
    def whole(self) -> Window:
        """The range of the run's steps."""
        return Scale(self._view, self.look.kind).whole() if self._view is not None else (0.0, 1.0)

    def snapped(self, target: float, *, forward: bool) -> float:
        """The step, or epoch, nearest to a place."""
        return target if self._view is None else _snapped(self._view, self.look, self._chart, target, forward=forward)

    def carried(self, kind: XKind, x: float) -> float:
        """A place of another chart's x axis on the large one's."""
        view = self._view
        if view is None or kind == self.look.kind:
            return x
        return Scale(view, self.look.kind).at_step(Scale(view, kind).steps_at(x))

    @property
    def _view(self) -> RunView | None:
        return self.scene.chosen if self.scene is not None else None


def _snapped(view: RunView, look: Look, chart: ChartKind, target: float, *, forward: bool) -> float:
    """The step, or epoch, nearest to a place; another one than the cursor's where there is one."""
    scale = Scale(view, look.kind)
    cursor = look.cursor or 0.0
    if chart.is_by_epoch:
        at = [scale.at_epoch(epoch) for epoch in view.epochs]
        beyond = [x for x in at if (x > cursor * (1 + 1e-6) if forward else x < cursor * (1 - 1e-6))]
        return min(beyond, key=lambda x: abs(x - target), default=cursor)
    if not view.steps.length:
        return cursor
    here, there = scale.row_at(cursor), scale.row_at(target)
    if here == there:
        there = max(0, min(view.steps.length - 1, here + (1 if forward else -1)))
    return scale.at_step(float(view.steps.column("step")[there]) + 1)


def _shown_words(view: RunView, look: Look) -> str:
    if look.shown == "main":
        return "total and validation"
    return f"only {part_name(look.shown)}" if look.shown in view.loss_parts else ""


# --- the line that reads ---


def _reading(view: RunView, look: Look, columns: int) -> list[Piece]:
    """Where the cursor is and what happened there; without one, what the signs mean."""
    if look.cursor is None:
        return _legend(view)
    scale = Scale(view, look.kind)
    row = scale.row_at(look.cursor) if view.steps.length else None
    if row is None:
        return []
    at, steps = view.steps.column("step"), view.steps
    num_done = float(at[row]) + 1
    told: list[Piece] = [(f" step {num_done:,.0f}", "strong")]
    if scale.steps_an_epoch:
        told.append((f" · epoch {short_count(round(num_done / scale.steps_an_epoch, 1))}", "text"))
    happened = near(view, look, columns)
    if not happened:  # else the room is for that
        told.append((f" · {time_text(round(float(steps.column('elapsed_s')[row])))}", "text"))
        told.append((f" · its loss {figure(float(steps.column('loss')[row]))}", "total"))
    for one in happened:
        told += [("   ", ""), (f"{one.sign} ", f"{one.ink}!"), (one.words, one.ink)]
    return told


def _legend(view: RunView) -> list[Piece]:
    counts: dict[str, int] = {}
    for one in happenings(view):
        counts[one.kind] = counts.get(one.kind, 0) + 1
    told: list[Piece] = []
    for kind in reversed(KINDS):
        if kind in counts:
            sign, ink, plural, _ = KINDS[kind]
            words = kind if counts[kind] == 1 else plural
            told += [(f" {sign} ", f"{ink}!"), (f"{counts[kind]} {words}  ", "muted")]
    return told
