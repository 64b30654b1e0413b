"""The log panel: what the chosen run's worker wrote, followed, searched and filtered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from engine.errors import printable
from tui.logcounting import CountRequest, LogCount
from tui.logreader import Asked, Level, LogLine, LogPage, LogRequest
from tui.panels.panel import Panel
from tui.scene import Scene
from tui.widgets.field import Field
from tui.widgets.inked import Piece
from tui.widgets.log import LogView
from tui.widgets.text_line import TextLine
from tui.words import joined

_LEVELS: tuple[Level, ...] = ("all", "warnings", "errors")
_LEVEL_WORDS = {"all": "", "warnings": "warnings and errors only", "errors": "errors only"}
# Lines to scroll through at once; what is farther away is read when one comes near it.
_MOST_LINES = 6_000
_SIDEWAYS = 16


@dataclass
class LogWanted(Message):
    """A page of a log is wanted; the app answers the screen."""

    request: LogRequest


@dataclass
class LogCountWanted(Message):
    """Matches should be counted; the app answers the screen."""

    request: CountRequest


class LogPanel(Panel):
    """The chosen run's log."""

    PANEL = "log"
    TITLE = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Log: search", show=False),
        Binding("n", "find('find before')", "Log: next match, upwards", show=False),
        Binding("N", "find('find after')", "Log: next match, downwards", show=False),
        Binding("v", "level", "Log: all, warnings, errors", show=False),
        Binding("w", "wrap", "Log: wrap lines or not", show=False),
        Binding("g,home", "start", "Log: its beginning", show=False),
        Binding("G,end", "end", "Log: its end, followed", show=False),
        Binding("K,shift+up", "line(-1)", "Log: a line up", show=False),
        Binding("J,shift+down", "line(1)", "Log: a line down", show=False),
        Binding("left", "sideways(-1)", "Log: to the left", show=False),
        Binding("right", "sideways(1)", "Log: to the right", show=False),
        Binding("escape", "give_up", "Log: stop searching", show=False),
    ]
    HINTS = (
        ("/", "search", "screen.on_panel('search')"), ("n N", "matches", "screen.on_panel('find(\"find before\")')"),
        ("v", "level", "screen.on_panel('level')"), ("w", "wrap", "screen.on_panel('wrap')"),
        ("G", "follow", "screen.on_panel('end')"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._view = LogView(id="log-lines")
        self._state = TextLine(id="log-state")
        self._search = Field("search the log; Enter finds, Esc closes", id="log-search")
        self._page = LogPage(LogRequest(""))
        self._pending: LogRequest | None = None
        self._count_asked: CountRequest | None = None
        self._progress = ""
        self._level: Level = "all"
        self._needle = ""
        self._told = self._counted = ""
        self._follows = True
        self._wraps = True
        self._tail: tuple[str, ...] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a page was asked for and hasn't come."""
        return self._pending is not None

    def compose(self) -> ComposeResult:
        """The lines, what they are, and the search."""
        yield self._view
        yield self._state
        yield self._search

    # --- what comes ---

    def show(self, scene: Scene) -> None:
        """Follow the log, or begin with another run's."""
        run_id = scene.chosen.run_id if scene.chosen else ""
        if run_id != self._page.request.run_id:
            self._page = LogPage(LogRequest(run_id))
            self._tail, self._told, self._follows = scene.log, "", True
            self._counted = ""
            self._view.show((), to_end=True)
            self._ask("end")
        elif scene.log is not self._tail and self._follows and self._pending is None:
            self._tail = scene.log
            self._ask("after", self._page.end)
        self._tell()

    def take_page(self, page: LogPage) -> None:
        """What was asked for has come, or how far it is."""
        if page.request != self._pending:
            return
        if not page.is_done:
            self._progress = _progress(page)
            self._tell()
            return
        self._pending, self._progress = None, ""
        asked = page.request.asked
        if page.files != self._page.files and asked not in {"end", "start"} and self._page.files:
            self._ask("end")  # the log was begun anew, or turned over: places have moved
            return
        if asked.startswith("find"):
            self._take_found(page)
        elif asked in {"end", "start"} or page.trouble:
            self._put(page, to_end=asked == "end")
        else:
            self._add(page)
        self._tell()

    def _take_found(self, page: LogPage) -> None:
        if page.found is None:
            end = "end" if page.request.asked == "find after" else "beginning"
            self._told = f"not found up to the {end}"
            return
        self._told, self._follows = "", False
        self._count(page.found)
        if any(line.place == page.found for line in self._page.lines):
            self._page = replace(self._page, size_bytes=page.size_bytes)
        else:
            self._put(page, to_end=False)
        self._view.mark(self._needle, page.found)

    def take_count(self, count: LogCount) -> None:
        """How many lines hold what is searched, and which of them is looked at."""
        if count.request == self._count_asked:
            which = f"{count.number:,} of " if count.number is not None else "of "
            self._counted = f"{which}{count.total:,}{'' if count.is_done else '+'}"
            self._tell()

    def _count(self, found: int) -> None:
        self._counted = ""
        self._count_asked = CountRequest(self._page.request.run_id, self._needle, self._level, found)
        self.post_message(LogCountWanted(self._count_asked))

    def _put(self, page: LogPage, *, to_end: bool) -> None:
        self._page = page
        self._view.nothing = printable(page.trouble) or self._nothing_words()
        self._view.show(*_columns(page.lines), to_end=to_end)
        if page.request.asked == "start":
            self._view.scroll_home(animate=False, force=True)

    def _add(self, page: LogPage) -> None:
        """Lines before or after those that are here; on the other side some are dropped where they get many."""
        old = self._page
        if page.request.asked == "before":
            lines = (*page.lines, *old.lines)
            kept = lines[:_MOST_LINES]
            end = old.end if len(kept) == len(lines) else kept[-1].end
            self._page = replace(old, lines=kept, begin=page.begin, end=end, size_bytes=page.size_bytes)
        else:
            lines = (*(line for line in old.lines if line.place < page.request.place), *page.lines)
            kept = lines[-_MOST_LINES:]
            begin = old.begin if len(kept) == len(lines) else kept[0].place
            self._page = replace(old, lines=kept, begin=begin, end=page.end, size_bytes=page.size_bytes)
        self._view.nothing = self._nothing_words()
        self._view.show(*_columns(self._page.lines), to_end=True if self._follows else None)

    def _nothing_words(self) -> str:
        return f"no {self._level} in it" if self._level != "all" and self._page.size_bytes else "no log"

    # --- what is asked ---

    def _ask(self, asked: Asked, place: int = 0) -> None:
        needle = self._needle if asked.startswith("find") else ""
        self._pending = LogRequest(self._page.request.run_id, asked, place, self._level, needle)
        self.post_message(LogWanted(self._pending))

    def _reach(self) -> None:
        """Read more where one has come to the end of what is here."""
        if self._pending is not None:
            return
        if self._view.scroll_offset.y == 0 and self._page.begin > 0:
            self._ask("before", self._page.begin)
        elif self._view.is_at_end and self._page.end < self._page.size_bytes and not self._follows:
            self._ask("after", self._page.end)

    def scroll_pages(self, pages: int) -> None:
        """Scroll the lines."""
        self._scroll(pages * max(1, self._view.size.height - 2))

    def action_line(self, lines: int) -> None:
        """Scroll by lines."""
        self._scroll(lines)

    def _scroll(self, rows: int) -> None:
        self._view.scroll_relative(y=rows, animate=False, force=True)
        self.call_after_refresh(self._settle)

    def on_mouse_scroll_up(self) -> None:
        """The wheel scrolls the lines."""
        self.call_after_refresh(self._settle)

    def on_mouse_scroll_down(self) -> None:
        """The wheel scrolls the lines."""
        self.call_after_refresh(self._settle)

    def _settle(self) -> None:
        """After scrolling: follow the log at its very end, read more where there is more."""
        at_end = self._view.is_at_end and self._page.end + _longest_rest(self._page) >= self._page.size_bytes
        self._follows = at_end
        self._reach()
        self._tell()

    def action_start(self) -> None:
        """The log's beginning."""
        self._follows = False
        self._ask("start")

    def action_end(self) -> None:
        """The log's end; what comes is followed."""
        self._follows = True
        self._ask("end")

    def action_sideways(self, times: int) -> None:
        """Scroll to a side."""
        self._view.scroll_relative(x=times * _SIDEWAYS, animate=False, force=True)

    def action_wrap(self) -> None:
        """Wrap long lines or not."""
        self._wraps = not self._wraps
        self._view.wrap(wraps=self._wraps)
        self._tell()

    def action_level(self) -> None:
        """Show all lines, or only loud ones; around the same place."""
        self._level = _LEVELS[(_LEVELS.index(self._level) + 1) % len(_LEVELS)]
        self._told, self._count_asked, self._counted = "", None, ""
        self._follows = True
        self._ask("end")

    # --- searching ---

    def action_search(self) -> None:
        """Open the search."""
        self._search.open()

    @on(Input.Submitted, "#log-search")
    def _submit(self, message: Input.Submitted) -> None:
        message.stop()
        self._needle, self._count_asked, self._counted = message.value, None, ""
        self._close_search()
        self._view.mark(self._needle)
        if self._needle:
            self._ask("find before", self._page.end if self._follows else self._place_in_sight())
        self._tell()

    def action_find(self, asked: Asked) -> None:
        """The next match."""
        if not self._needle:
            self.action_search()
            return
        found = self._view.found
        place = self._place_in_sight() if found is None else found
        after = next((line.end for line in self._page.lines if line.place == place), place)
        self._ask(asked, after if asked == "find after" else place)
        self._tell()

    def action_give_up(self) -> None:
        """Close the search, or stop it, or forget it."""
        if self._search.display:
            self._close_search()
        elif self._pending is not None and self._pending.asked.startswith("find"):
            self._ask("after", self._page.end)
            self._told = "search stopped"
        else:
            self._needle = self._told = self._counted = ""
            self._count_asked = None
            self._view.mark("")
        self._progress = ""
        self._tell()

    def _close_search(self) -> None:
        self._search.display = False
        self.focus()

    def _place_in_sight(self) -> int:
        key = self._view.first_key_in_sight()
        return self._page.end if key is None else key

    # --- what is told ---

    def _tell(self) -> None:
        page = self._page
        where = ""
        if self._follows:
            where = "follows"
        elif page.size_bytes and (key := self._view.first_key_in_sight()) is not None:
            where = f"at {key / page.size_bytes:.0%}"
        words = [
            where, _size(page.size_bytes), _LEVEL_WORDS[self._level], "" if self._wraps else "not wrapped",
            f"search: {printable(self._needle)}" if self._needle else "",
        ]
        pieces: list[Piece] = [(joined(words), "muted")]
        if self._counted:
            pieces.append((f" · {self._counted}", "accent"))
        if self._progress or self._told:
            pieces += [("  ", ""), (self._progress or self._told, "accent")]
        self._state.show(pieces)


def _columns(lines: tuple[LogLine, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return tuple(line.text for line in lines), tuple(line.place for line in lines)


def _longest_rest(page: LogPage) -> int:
    """Bytes of a last line that hasn't ended."""
    last = page.lines[-1] if page.lines else None
    return last.end - page.end if last is not None and last.place >= page.end else 0


def _progress(page: LogPage) -> str:
    size = max(1, page.size_bytes)
    if page.request.asked in {"end", "before", "find before"}:
        done = (page.request.place or size) - page.begin
    else:
        done = page.end - page.request.place
    word = "searching" if page.request.asked.startswith("find") else "reading"
    return f"{word}: {min(1.0, max(0.0, done / size)):.0%} of it looked through, Esc stops"


def _size(num_bytes: int) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"
