"""The queue table's columns: which fit into a width, and what each says of a run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.errors import printable
from engine.forecast import clock_words
from engine.progress import RunProgress
from engine.runqueue import ACTIVE, OVER
from engine.standing import Standing
from tui.view import RunView
from tui.widgets.inked import Piece, width_of
from tui.words import bar, duration, figure, fit, joined, precision, sign, sparkline

_GAP = 2
_NUMBER = 4
_LEAST_NAME, _MOST_NAME = 10, 36
_LEAST_WHY = 24
_DAYS_BY_NAME_S = 6 * 86_400


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is laid out.

    Attributes:
        key: What is in it, and what the table is sorted by when its head is clicked.
        head: Its heading.
        width: In cells.
        is_right: Whether it ends at its right edge.
    """

    key: str
    head: str
    width: int
    is_right: bool = False


# The columns that may go, the first to go last.
_OPTIONAL = (
    Column("progress", "progress", 10), Column("epoch", "epoch", 7, is_right=True),
    Column("AP50", "AP50", 5, is_right=True), Column("left", "left", 9, is_right=True),
    Column("loss", "loss", 6, is_right=True), Column("state", "state", 9), Column("done", "done", 10, is_right=True),
    Column("spark", "", 10),
)  # fmt: skip
_ORDER = ("number", "name", "state", "progress", "epoch", "loss", "spark", "AP50", "left", "done", "why")
# Columns whose place a reason may take where there is nothing else to say.
_FIGURES = ("progress", "epoch", "loss", "spark", "AP50")
_FIGURES_OF_FAILED = ("loss", "spark", "AP50", "left", "done")


def columns_for(width: int, longest_name: int) -> list[Column]:
    """The columns that fit.

    Args:
        width: Cells there are, the edge and the sign left out.
        longest_name: Cells of the longest run's name.
    """
    name = max(_LEAST_NAME, min(_MOST_NAME, longest_name))
    chosen = [Column("number", "run", _NUMBER), Column("name", "", min(name, max(_LEAST_NAME, width // 4)))]
    for column in _OPTIONAL:
        if _total([*chosen, column]) <= width:
            chosen.append(column)
    spare = width - _total(chosen)
    wished = name - chosen[1].width
    if wished > 0:
        widened = min(wished, spare)
        chosen[1] = Column("name", "", chosen[1].width + widened)
        spare -= widened
    if spare - _GAP >= _LEAST_WHY:
        chosen.append(Column("why", "why", spare - _GAP))
    elif spare > 0:
        chosen = [_wider(column, spare) for column in chosen]
    return sorted(chosen, key=lambda column: _ORDER.index(column.key))


def _wider(column: Column, spare: int) -> Column:
    if column.key != "progress":
        return column
    return Column(column.key, column.head, column.width + min(spare, 14))


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1) - 1  # the number stands close


def heading(columns: Sequence[Column], sorted_by: str, *, is_reversed: bool) -> list[tuple[str, str, int]]:
    """Every column's key, its heading with the order's arrow, and its width with the gap after it."""
    told = []
    for index, column in enumerate(columns):
        arrow = ("▴" if is_reversed else "▾") if column.key == sorted_by else ""
        head = fit(f"{column.head}{arrow}", column.width)
        gap = 0 if index == len(columns) - 1 else gap_after(column)
        text = head.rjust(column.width) if column.is_right else head.ljust(column.width)
        told.append((column.key, text, column.width + gap))
    return told


def gap_after(column: Column) -> int:
    """Cells between a column and the next."""
    return 1 if column.key == "number" else _GAP


def row_pieces(view: RunView, standing: Standing | None, columns: Sequence[Column], now: float) -> list[Piece]:
    """A run's line, after its sign.

    Args:
        view: The run.
        standing: Where it stands, when it is unfinished.
        columns: What to say, and in how many cells.
        now: Seconds since 1970.
    """
    spanned, words, ink = _words_over(view, standing, columns)
    pieces: list[Piece] = []
    for index, column in enumerate(columns):
        gap = 0 if index == len(columns) - 1 else gap_after(column)
        if column.key in spanned:
            if column.key == spanned[0]:
                room = sum(one.width + gap_after(one) for one in columns if one.key in spanned) - gap_after(column)
                last = columns[-1].key == spanned[-1]
                pieces.append((_padded(words, room), ink))
                pieces.append((" " * (0 if last else _GAP), ""))
            continue
        cell = _cell(view, standing, column, now)
        pad = " " * max(0, column.width - width_of(cell))
        pieces += [(pad, ""), *cell] if column.is_right else [*cell, (pad, "")]
        pieces.append((" " * gap, ""))
    return pieces


def _padded(text: str, width: int) -> str:
    text = fit(text, width)
    return text + " " * max(0, width - width_of([(text, "")]))


def _words_over(view: RunView, standing: Standing | None, columns: Sequence[Column]) -> tuple[list[str], str, str]:
    """Columns that words take the place of, the words, and their ink."""
    if any(column.key == "why" for column in columns):
        return [], "", ""
    words, ink = why_words(view, standing)
    over: Sequence[str] = ()
    if view.state == "failed" or view.trouble:
        over = _FIGURES_OF_FAILED if view.progress.num_steps else (*_FIGURES, "left", "done")
    elif view.started is None and words:
        over = _FIGURES
    elif standing is not None and standing.row.asked and not view.has_answered:
        over = ("loss", "spark", "AP50")
    elif view.state in ("queued", "held", "cancelled") and words:
        over = _FIGURES_OF_FAILED[:3]
    return [column.key for column in columns if column.key in over], words, ink


def is_of(view: RunView, standing: Standing) -> bool:
    """Whether a standing is that of the run as it is now; after a change the board comes a moment later."""
    # One that the queue calls running though nobody is at work stands as the next supervisor will find it.
    return view.row is None or view.row.state in ACTIVE or view.row.state == standing.row.state


def why_words(view: RunView, standing: Standing | None) -> tuple[str, str]:
    """Why a run is as it is, in one line, and the ink; "" when there is nothing to say."""
    if view.trouble:
        return printable(view.trouble), "warning"
    if view.is_orphaned:
        return "its worker is gone", "warning"
    if view.state == "failed":
        return printable(joined([view.cause, view.reason], ": ") or "no reason recorded"), "failed"
    if standing is not None and is_of(view, standing) and not view.has_answered:
        told = [reason.words for reason in standing.why if not reason.is_general and reason.words != "held"]
        ink = "stopping" if standing.row.asked else "muted"
        if told or view.state != "queued":
            return printable(told[0] if told else ""), ink
    if view.state == "cancelled":
        return printable(view.reason) or "cancelled", "muted"
    return printable(view.reason), "muted"


# --- cells ---


def _cell(view: RunView, standing: Standing | None, column: Column, now: float) -> list[Piece]:
    progress = view.progress
    match column.key:
        case "number":
            return [(fit(view.number, _NUMBER), "muted")]
        case "name":
            return [(fit(printable(view.name), column.width), "strong" if view.is_active else "text")]
        case "state":
            return [state_word(view)]
        case "progress":
            return _progress(view, column.width)
        case "spark":
            return [(sparkline(view.steps.column("loss"), column.width), "total")]
        case "left":
            left = None if view.state in OVER else _left(view, standing, now)
            return [("" if left is None else duration(left), "text")]
        case "done":
            return [_done(view, standing, now)]
        case "why":
            words, ink = why_words(view, standing)
            return [(fit(words, column.width), ink)]
    return [_figure(progress, column.key)]


def _figure(progress: RunProgress, key: str) -> Piece:
    if key == "epoch":
        return (f"{progress.epoch}/{progress.num_epochs}" if progress.num_epochs else ""), "text"
    if key == "loss":
        return ("" if progress.loss is None else figure(progress.loss)), "text"
    return ("" if progress.best_ap50 is None else precision(progress.best_ap50)), "strong"


def state_word(view: RunView) -> tuple[str, str]:
    """A run's state in a word, and its ink."""
    if view.is_orphaned:
        return "no worker", "warning"
    return ("starting" if view.is_starting and view.state == "running" else view.state), view.state


def sign_piece(view: RunView) -> Piece:
    """The one character for a run's state, in its ink."""
    return sign(view.state), f"{state_word(view)[1]}!"


def _progress(view: RunView, width: int) -> list[Piece]:
    progress = view.progress
    if not progress.num_steps and view.state != "finished":
        return [("─" * width, "grid")] if view.is_active else []
    fraction = progress.fraction if progress.num_steps else 1.0
    done, rest = bar(fraction, width)
    ink = view.state if view.state in OVER else "done"
    return [(done, ink), (rest, "open")]


def _left(view: RunView, standing: Standing | None, now: float) -> float | None:
    live = view.eta_s(now)
    return live if live is not None or standing is None else standing.left_s


def _done(view: RunView, standing: Standing | None, now: float) -> Piece:
    if view.state in OVER:
        ended = view.row.ended_at if view.row is not None else view.progress.last_time
        return ("", "") if ended is None else (past_words(ended, now), "muted")
    if standing is None or standing.done_at is None:
        return "", ""
    return f"{'≤' if standing.at_the_latest else ''}{clock_words(standing.done_at, now)}", "text"


def past_words(when: float, now: float) -> str:
    """A time gone by, for people: "21:40", "Tue 02:10", "12 Dec 02:10"."""
    if now - when < _DAYS_BY_NAME_S:
        return clock_words(when, now)
    then = datetime.fromtimestamp(when).astimezone()
    return f"{then.day} {then:%b} {then:%H:%M}"
