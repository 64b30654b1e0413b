"""The chosen run's head: state and what the worker does now, progress, the figures that matter."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import printable
from tui.view import RunView
from tui.widgets.inked import Piece, inked_strip, spread, width_of
from tui.words import NOTHING, bar, count, duration, fit, joined, precision, rate, sign

_MOST_LINES_TOLD = 3
_LEAST_NAME = 12
_FIELD_GAP = 2
_PHASE_WORDS = {
    "loading": "loading data and weights",
    "training": "training",
    "evaluating": "evaluating",
    "drawing": "drawing previews",
    "saving": "saving a checkpoint",
}


class RunHeader(Widget):
    """Six lines on a narrow screen, five on a wide one; one more when there is something to tell."""

    DEFAULT_CSS = "RunHeader { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._now = 0.0
        self._shown: list[list[Piece]] = []

    def show(self, view: RunView, now: float) -> None:
        """Show a run as of now (seconds since 1970)."""
        self._view, self._now = view, now
        old, self._shown = self._shown, self._lines()
        if len(old) != len(self._shown):
            self.refresh(layout=True)
            return
        for place, (before, after) in enumerate(zip(old, self._shown, strict=True)):
            if before != after:
                self.refresh(Region(0, place, self.content_size.width, 1))

    def on_resize(self) -> None:
        """Arrange the figures anew."""
        self._shown = self._lines()
        self.refresh(layout=True)

    def render_line(self, y: int) -> Strip:
        """One line, never wrapped: a line too long must not push the next ones out of sight."""
        return inked_strip(self, self._shown[y] if y < len(self._shown) else [], self.size.width)

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

    def get_content_height(self, container: object, viewport: object, width: int) -> int:  # noqa: ARG002
        """Lines there are; Textual asks for it."""
        return max(1, len(self._shown))

    def _lines(self) -> list[list[Piece]]:
        view, width = self._view, self.content_size.width
        if view is None or width < 20:
            return []
        lines = [_title(view, width), _progress(view, width), *_figures(view, width, self._now)]
        return [*lines, *_told(view, width)]


def _title(view: RunView, width: int) -> list[Piece]:
    state = view.state
    rest: list[Piece] = [(f" {view.number}  ", "muted"), (f"{sign(state)} {state}", f"{state}!")]
    doing = fit(_doing(view), width - width_of(rest) - _LEAST_NAME)
    rest += [(doing, "text")]
    left: list[Piece] = [(fit(printable(view.name), width - width_of(rest)), "strong"), *rest]
    device = printable(view.started.device) if view.started else ""
    attempt = f"attempt {view.started.attempt}" if view.started and view.started.attempt > 1 else ""
    return spread(left, [(joined([device, attempt]), "muted")], width)


def _doing(view: RunView) -> str:
    if view.is_starting:
        return " · starting"
    if not view.is_active:
        return ""
    phase = view.phase.phase if view.phase else view.progress.phase
    words = _PHASE_WORDS.get(phase, phase)
    if view.phase is not None and view.phase.total:
        words += f" {view.phase.done}/{view.phase.total}"
    return f" · {words}" if words else ""


def _progress(view: RunView, width: int) -> list[Piece]:
    fraction = view.progress.fraction
    percent = f" {fraction:4.0%}"
    done, rest = bar(fraction, width - len(percent))
    ink = view.state if view.state in {"finished", "failed", "cancelled"} else "done"
    return [(done, ink), (rest, "open"), (percent, "strong")]


def _figures(view: RunView, width: int, now: float) -> list[list[Piece]]:
    """Names over values, in as few bands of equal length as the width allows."""
    progress = view.progress
    epochs, steps = progress.num_epochs, progress.num_steps
    fields = [
        ("epoch", f"{progress.epoch}/{count(epochs)}" if epochs else NOTHING),
        ("step", f"{progress.step:,}/{count(steps)}" if steps else NOTHING),
        ("elapsed", duration(view.elapsed_s(now)) if view.started else NOTHING),
        ("left", duration(view.eta_s(now))),
        ("rate", rate(progress.lr)),
        ("AP", precision(progress.ap)),
        ("AP50", precision(progress.ap50)),
        ("best AP", _best(view)),
    ]
    for length in (8, 4, 3, 2):
        bands = [fields[at : at + length] for at in range(0, len(fields), length)]
        columns = [fields[at::length] for at in range(length)]
        rooms = [max(_field_width(field) for field in column) for column in columns]
        if sum(rooms) <= width + _FIELD_GAP:
            break
    spare = max(0, width + _FIELD_GAP - sum(rooms))
    rooms = [room + min(6, spare // length) for room in rooms]
    return [line for band in bands for line in _band(band, rooms)]


def _best(view: RunView) -> str:
    progress = view.progress
    if progress.best_ap is None:
        return NOTHING
    where = f" @{progress.best_epoch}" if progress.best_epoch else ""
    return f"{precision(progress.best_ap)}{where}"


def _field_width(field: tuple[str, str]) -> int:
    return max(cell_len(field[0]), cell_len(field[1])) + _FIELD_GAP


def _band(fields: list[tuple[str, str]], rooms: list[int]) -> list[list[Piece]]:
    names: list[Piece] = []
    values: list[Piece] = []
    for (name, value), room in zip(fields, rooms, strict=False):
        names.append((name.ljust(room), "muted"))
        values.append((value.ljust(room), "strong" if value != NOTHING else "faint"))
    return [names, values]


def _told(view: RunView, width: int) -> list[list[Piece]]:
    """Why it failed, or what else a person should know; as many lines as are allowed."""
    gone = "its worker is gone; `engine run` takes the queue up again" if view.is_orphaned else ""
    if view.trouble or gone:
        return _wrapped("!", view.trouble or gone, "warning", width)
    if view.state == "failed":
        told = joined([view.cause, view.reason], ": ") or "no reason recorded"
        return _wrapped(sign("failed"), told, "failed", width)
    if view.num_unknown and not view.reason:
        lines = "a line" if view.num_unknown == 1 else f"{view.num_unknown:,} lines"
        words = f"{lines} of its events can't be understood: damaged, or of another version of engine"
        return _wrapped("!", words, "warning", width)
    return _wrapped("i", view.reason or view.progress.message, "text", width)


def _wrapped(sign_char: str, text: str, ink: str, width: int) -> list[list[Piece]]:
    lines = textwrap.wrap(printable(text), width - 2, max_lines=_MOST_LINES_TOLD, placeholder=" … e tells all")
    return [
        [(f"{sign_char} " if index == 0 else "  ", "accent!" if ink == "text" else f"{ink}!"), (line, ink)]
        for index, line in enumerate(lines)
    ]
