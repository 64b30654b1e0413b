"""A preview picture in the terminal: orders what it is to show, and shows it when it comes."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.message import Message

from engine.errors import printable
from tui.gallery import Drawing, Gallery, Room, Sight
from tui.graphics import Graphic
from tui.widgets.picture_canvas import PictureCanvas


class Picture(Container):
    """One preview, or the words that stand in for it. It orders what it shows, once a change.

    Args:
        gallery: Who draws.
    """

    DEFAULT_CSS = "Picture { height: 1fr; align: center middle; }"

    @dataclass
    class Painted(Message, bubble=False):
        """What was ordered has come."""

        sight: Sight
        room: Room
        drawing: Drawing | None
        trouble: str

    class Settled(Message):
        """What was ordered is on the screen."""

    def __init__(self, gallery: Gallery, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._gallery = gallery
        self._graphic = Graphic()
        self._sight: Sight | None = None
        self._ordered: tuple[Sight, Room] | None = None
        self._title = ""
        self._canvas = PictureCanvas()
        self.is_loading = False

    def compose(self) -> ComposeResult:
        """What is drawn on."""
        yield self._canvas

    def show(self, sight: Sight | None, graphic: Graphic, words: str = "", title: str = "") -> None:
        """Show a preview, or words where there is none.

        Args:
            sight: What to show.
            graphic: How.
            words: Shown where there is no preview.
            title: Above it, as markup; it changes together with the picture, which would be sent twice else.
        """
        if graphic.way == "none" and sight is not None:
            sight, words = None, "pictures are switched off"
        self._graphic, self._sight, self._title = graphic, sight, title
        if sight is None:
            self._ordered, self.is_loading = None, False
            self._canvas.say(words)
        self._order()
        if not self.is_loading:
            self._entitle()

    def on_resize(self) -> None:
        """Have it drawn at the new size."""
        self._order()

    def on_hide(self) -> None:
        """Begin anew when it comes into sight again: by then it may be told to show something else."""
        self._ordered, self.is_loading = None, False
        self._canvas.drop()

    def _order(self) -> None:
        size = self.content_size
        if self._sight is None or not size:
            return
        cell = self._graphic.cell if self._graphic.is_pixels else None
        order = self._sight, Room(size.width, size.height, cell, self._graphic.way == "sixel")
        if order != self._ordered:
            self._ordered, self.is_loading = order, True
            self._gallery.paint(self, *order, self._hear)

    def _hear(self, sight: Sight, room: Room, drawing: Drawing | None, trouble: str) -> None:
        self.post_message(self.Painted(sight, room, drawing, trouble))  # called from the gallery's thread

    @on(Painted)
    def _take(self, message: Painted) -> None:
        if (message.sight, message.room) != self._ordered or not self.is_mounted:
            return
        self.is_loading = False
        if message.drawing is None:
            self._canvas.say(printable(message.trouble))
        else:
            room = Size(message.room.columns, message.room.rows)
            self._canvas.show(message.drawing, room, through_tmux=self._graphic.through_tmux)
        self._entitle()
        self.post_message(self.Settled())

    def _entitle(self) -> None:
        if (self.border_title or "") != self._title:  # assigning it draws the picture again
            self.border_title = self._title
