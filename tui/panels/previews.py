"""The previews panel: what the detector sees in the same photos, epoch after epoch, and in the worst ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.message import Message
from textual.timer import Timer

from engine.errors import printable
from engine.previewfile import EpochPreviews
from tui.gallery import EpochKey, Gallery
from tui.graphics import Graphic
from tui.panels.panel import Panel
from tui.previewing import Looked, Previewing, Shot, no_preview_words
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.box_table import BoxTable, table_width
from tui.widgets.inked import Piece, spread
from tui.widgets.picture import Picture
from tui.widgets.scrubber import Scrubber
from tui.widgets.text_line import TextLine
from tui.words import fit, joined

PREVIEW_KEYS: list[BindingType] = [
    Binding("left", "epoch(-1)", "Previews: epoch before", show=False),
    Binding("right", "epoch(1)", "Previews: epoch after", show=False),
    Binding("n", "image(1)", "Previews: next image", show=False),
    Binding("p", "image(-1)", "Previews: image before", show=False),
]
PREVIEW_HINTS = (
    ("←→", "epoch", "screen.on_panel('epoch(1)')"), ("n p", "image", "screen.on_panel('image(1)')"),
)
# Slow enough to see what changed, quick enough for a night of 100 epochs.
_FRAME_S = 0.4
_WAYS = {"sixel": "sixel", "kitty": "kitty pixels", "halfblock": "blocks", "none": "no pictures"}


@dataclass
class BoxesCame(Message, bubble=False):
    """The boxes of an epoch were read, or can't be."""

    key: EpochKey
    boxes: EpochPreviews | None
    trouble: str


class PreviewKeys(Panel):
    """A panel that shows previews, and the keys that choose which."""

    previewing: Previewing
    gallery: Gallery
    _awaited: EpochKey | None = None

    @property
    def is_loading(self) -> bool:
        """Whether something that was ordered hasn't come."""
        return self._awaited is not None or any(picture.is_loading for picture in self.query(Picture))

    def look_at(self, view: RunView) -> Looked | None:
        """What is looked at in a run; None where there is nothing, or nothing yet: see `is_waiting`."""
        looked = self.previewing.look(view)
        if not isinstance(looked, EpochKey):
            self._awaited = None
            return looked
        if looked != self._awaited:
            self._awaited = looked
            self.gallery.read(self, looked, self._hear)
        return None

    @property
    def is_waiting(self) -> bool:
        """Whether the boxes were ordered and haven't come; what is shown may stay."""
        return self._awaited is not None

    def _hear(self, key: EpochKey, boxes: EpochPreviews | None, trouble: str) -> None:
        self.post_message(BoxesCame(key, boxes, trouble))  # called from the gallery's thread

    @on(BoxesCame)
    def _take_boxes(self, message: BoxesCame) -> None:
        self.previewing.take(message.key, message.boxes, message.trouble)
        if message.key == self._awaited:
            self._awaited = None
            self.show_again()

    @property
    def _view(self) -> RunView | None:
        return self.scene.chosen if self.scene is not None else None

    def action_epoch(self, places: int) -> None:
        """Look at the previews of another epoch."""
        if self._view is not None:
            self.previewing.move_epoch(self._view, places)
            self.show_again()

    def action_image(self, places: int) -> None:
        """Look at another image of the same epoch."""
        if self._view is not None and (looked := self.look_at(self._view)) is not None:
            self.previewing.move_image(looked, places)
            self.show_again()


class PreviewsPanel(PreviewKeys):
    """One preview or several, and a table of the boxes.

    Args:
        gallery: Who draws.
        previewing: Which ones.
        graphic: How pictures are drawn in this terminal.
    """

    PANEL = "pictures"
    TITLE = "Previews"
    IS_WHOLE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *PREVIEW_KEYS,
        Binding("h", "epoch(-1)", "Previews: epoch before", show=False),
        Binding("l", "epoch(1)", "Previews: epoch after", show=False),
        Binding("full_stop", "play", "Previews: play the epochs", show=False),
        Binding("left_square_bracket", "threshold(-1)", "Previews: lower score", show=False),
        Binding("right_square_bracket", "threshold(1)", "Previews: higher score", show=False),
        Binding("u", "truth", "Previews: ground truth", show=False),
        Binding("b", "found", "Previews: detections", show=False),
        Binding("w", "worst", "Previews: epoch's worst", show=False),
        Binding("v", "grid", "Previews: one or several", show=False),
        Binding("i", "table", "Previews: table of boxes", show=False),
        Binding("x", "graphics", "Previews: pixels, blocks", show=False),
    ]
    HINTS = (
        *PREVIEW_HINTS,
        ("[ ]", "score", "screen.on_panel('threshold(1)')"),
        ("w", "worst", "screen.on_panel('worst')"),
        ("v", "grid", "screen.on_panel('grid')"),
        (".", "play", "screen.on_panel('play')"),
        ("u", "truth", "screen.on_panel('truth')"),
        ("b", "found", "screen.on_panel('found')"),
        ("i", "table", "screen.on_panel('table')"),
        ("x", "blocks", "screen.on_panel('graphics')"),
    )

    def __init__(self, gallery: Gallery, previewing: Previewing, graphic: Graphic) -> None:
        super().__init__()
        self.gallery = gallery
        self.previewing = previewing
        self._graphic = graphic
        self._head = TextLine(id="pictures-head")
        self._pictures = [Picture(gallery) for _ in range(9)]
        self._grid = Grid(*self._pictures, id="pictures-grid")
        self._table = BoxTable(id="pictures-table")
        self._scrubber = Scrubber()
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """How one looks, pictures beside the table, the scrubber."""
        yield self._head
        with Horizontal(id="pictures-body"):
            yield self._grid
            yield self._table
        yield self._scrubber

    def on_mount(self) -> None:
        """The epochs stand until they are played."""
        self._timer = self.set_interval(_FRAME_S, self._next_frame, pause=True)

    def on_resize(self) -> None:
        """As many pictures as there is room for now."""
        self.show_again()

    def show(self, scene: Scene) -> None:
        """Show the previews that are looked at."""
        view = scene.chosen
        if view is None:
            return
        looked = self.look_at(view)
        if self.is_waiting:
            return
        self._head.show(self._head_pieces(view, looked))
        if looked is None or not looked.shots:
            self._show_nothing(view, looked)
            return
        self._scrubber.show(looked.at, looked.num_epochs, looked.title, looked.counts)
        self._show_pictures(looked)
        shot = looked.shots[looked.index]
        trouble = looked.trouble or (
            "pictures are switched off, and this run kept no boxes" if self._graphic.way == "none"
            else "this run kept no boxes: they are drawn in the picture"
        )
        self._table.show(shot.name, shot.judged(looked.threshold), printable(trouble))

    def _show_nothing(self, view: RunView, looked: Looked | None) -> None:
        words = no_preview_words(view)
        if looked is None:
            self._scrubber.show(0, 0, "", "")
        else:
            self._scrubber.show(looked.at, looked.num_epochs, looked.epoch_words, "")
            words = printable(looked.trouble) or "no image of this epoch has an error: w shows the others"
            if not looked.event.boxes:
                words = "this run kept no boxes, so that its worst images aren't known: w shows the others"
        self._arrange(1, has_table=False)
        self._pictures[0].show(None, self._graphic, words)

    def _head_pieces(self, view: RunView, looked: Looked | None) -> list[Piece]:
        left: list[Piece] = [(f"{view.number} ", "muted"), (fit(printable(view.name), 40), "strong")]
        if looked is None:
            return left
        shown = self.previewing.shown
        kind = "worst of the epoch, most errors first" if looked.kind == "worst" else ""
        hidden = joined(["" if shown.truth else "truth hidden", "" if shown.found else "detections hidden"])
        left.append((f"   {kind}", "accent"))
        right: list[Piece] = [("▶ playing   ", "accent!")] if self.previewing.is_playing else []
        if looked.shots and looked.shots[0].image is not None:
            legend = [("   ━ ", "text"), ("right ", "muted"), ("═ ", "text"), ("wrong ", "muted")]
            right += [("score ≥ ", "muted"), (f"{looked.threshold:.2f}", "strong"), *legend]
            right += [("╌ ", "text"), ("truth", "muted")]
        right += [(f"   {joined([hidden, _WAYS[self._graphic.way]])}", "muted")]
        while len(right) > 2 and sum(len(text) for text, _ in (*left, *right)) >= self.size.width:
            right.pop()
        return spread(left, right, self.size.width)

    # --- pictures ---

    def _show_pictures(self, looked: Looked) -> None:
        num = self._num_pictures(len(looked.shots))
        # Several pictures need all the room there is.
        has_table = self.previewing.has_table and self.size.width >= (60 if num == 1 else 170)
        names = [printable(name) for name in looked.shots[0].class_names]
        self._arrange(num, names, has_table=has_table or self._graphic.way == "none")
        first = looked.index // num * num
        page = looked.shots[first : first + num]
        for picture, shot in zip(self._pictures, page, strict=False):
            picture.set_class(shot is looked.shots[looked.index] and num > 1, "-chosen")
            caption = self._caption(looked, shot, page) if num > 1 else ""
            picture.show(looked.sight(shot, self.previewing.shown), self._graphic, title=caption)
        for picture in self._pictures[len(page) : num]:
            picture.show(None, self._graphic)

    def _caption(self, looked: Looked, shot: Shot, page: Sequence[Shot]) -> str:
        counts = looked.counts_of(shot)
        room = (self.size.width - (60 if self._table.display else 0)) // (3 if len(page) > 4 else 2) - len(counts) - 10
        mark = "▸ " if shot is looked.shots[looked.index] else ""
        return _plain(joined([mark + fit(printable(shot.name), max(4, room)), counts], "  "))

    def _num_pictures(self, num_shots: int) -> int:
        """How many pictures there is room for."""
        if not self.previewing.is_grid or num_shots < 2 or self._graphic.way == "none":
            return 1
        width, height = self.size
        if num_shots > 4 and width >= 100 and height >= 28:
            return 9 if num_shots > 6 else 6
        return 4 if num_shots > 2 and height >= 14 else 2

    def _arrange(self, num: int, names: Sequence[str] = (), *, has_table: bool) -> None:
        columns = {1: 1, 2: 2, 4: 2, 6: 3, 9: 3}[num]
        if self._grid.styles.grid_size_columns != columns or self._grid.styles.grid_size_rows != num // columns:
            self._grid.styles.grid_size_columns, self._grid.styles.grid_size_rows = columns, num // columns
        for place, picture in enumerate(self._pictures):
            if picture.display != (place < num):
                picture.display = place < num
        self._grid.set_class(num == 1, "-single")
        self._grid.display = self._graphic.way != "none" or not has_table
        self._table.display = has_table
        width = min(table_width(names, has_box=self.size.width >= 110), self.size.width // 2)
        self._table.styles.width = width if self._grid.display else "1fr"

    # --- keys ---

    def action_threshold(self, places: int) -> None:
        """Draw boxes from a higher score on, or a lower one."""
        if self._view is not None and (looked := self.look_at(self._view)) is not None:
            self.previewing.move_threshold(looked, places)
            self.show_again()

    def action_truth(self) -> None:
        """Draw the ground truth, or don't."""
        self.previewing.shown = replace(self.previewing.shown, truth=not self.previewing.shown.truth)
        self.show_again()

    def action_found(self) -> None:
        """Draw the detections, or don't."""
        self.previewing.shown = replace(self.previewing.shown, found=not self.previewing.shown.found)
        self.show_again()

    def action_worst(self) -> None:
        """Look at the worst images of the epoch, or at the same ones every epoch."""
        self.previewing.kind = "fixed" if self.previewing.kind == "worst" else "worst"
        self.show_again()

    def action_grid(self) -> None:
        """Show several pictures, or one."""
        self.previewing.is_grid = not self.previewing.is_grid
        self.show_again()

    def action_table(self) -> None:
        """Show the table, or don't."""
        self.previewing.has_table = not self.previewing.has_table
        self.show_again()

    def action_graphics(self) -> None:
        """Draw pictures another way."""
        choices = self._graphic.choices
        at = choices.index(self._graphic.way)
        self._graphic = replace(self._graphic, way=choices[(at + 1) % len(choices)])
        self.show_again()

    def action_play(self) -> None:
        """Let the epochs go by, or stop."""
        if self._view is not None and self._timer is not None:
            self.previewing.play(self._view)
            self._timer.reset()
            (self._timer.resume if self.previewing.is_playing else self._timer.pause)()
            self.show_again()

    def _next_frame(self) -> None:
        if self.is_loading:
            return  # every epoch is seen, however slow the terminal
        is_going = self.previewing.is_playing and self.display and self._view is not None
        if is_going and self._view is not None and self.previewing.move_epoch(self._view, 1):
            self.show_again()
            return
        self.previewing.is_playing = False
        if self._timer is not None:
            self._timer.pause()
        self.show_again()

    def scroll_pages(self, pages: int) -> None:
        """Scroll the table."""
        self._table.scroll_rows(pages)


def _plain(text: str) -> str:
    """A border's title is read as markup."""
    return text.replace("[", "\\[")
