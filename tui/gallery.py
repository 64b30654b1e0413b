"""Reads boxes, decodes photos and draws both, in a thread of its own, for whoever waits for a picture.

A later order of the same customer takes the place of one that still waits, so that scrubbing never lags behind.
What was decoded is kept, up to a bound (`tui/pictures.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image
from rich.segment import Segment

from engine.previewfile import EpochPreviews, PreviewImage
from tui.blocks import fitted
from tui.judged import Judgement, judge
from tui.kitty import png_of
from tui.overlay import ALL, Shown, draw_in_cells
from tui.pictures import PictureShelf
from tui.pixels import draw_in_pixels


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The boxes of an epoch's previews.

    Attributes:
        run_id: Whose.
        path: As the event names the file.
        time: When the event was written: a run that went back draws an epoch again.
    """

    run_id: str
    path: str
    time: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What a picture is to show.

    Attributes:
        run_id: Whose.
        photo: Path of the picture in the run's folder.
        time: When the epoch's event was written.
        image: The boxes to draw on it; None where they are drawn in it.
        class_names: What their labels mean.
        threshold: Least score.
        shown: Which boxes.
    """

    run_id: str
    photo: str
    time: float
    image: PreviewImage | None = None
    class_names: tuple[str, ...] = ()
    threshold: float = 0.5
    shown: Shown = ALL


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to draw on.

    Attributes:
        columns: Cells.
        rows: Cells.
        cell: Pixels of a cell, (width, height), where pixels are wanted; None for characters.
        is_sixel: Whether pixels are wanted as sixels, else as a PNG for kitty.
    """

    columns: int
    rows: int
    cell: tuple[int, int] | None = None
    is_sixel: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A drawn picture: lines of characters, or pixels as a terminal takes them."""

    columns: int
    rows: int
    lines: tuple[tuple[Segment, ...], ...] = ()
    sixels: str = ""
    png: bytes = b""


def draw(photo: Image, sight: Sight, room: Room) -> Drawing:
    """Draw a photo with its boxes, as large as fits."""
    image = sight.image
    judgement = judge(image, sight.class_names, sight.threshold) if image is not None else Judgement()
    size = (image.width, image.height) if image is not None else photo.size
    if room.cell is None:
        columns, rows = fitted(size, room.columns, room.rows)
        return Drawing(columns, rows, draw_in_cells(photo, judgement, size, columns, rows, sight.shown))
    across, down = room.cell
    columns, rows = fitted(size, room.columns, room.rows, down / across)
    pixels = draw_in_pixels(photo, judgement, size, (columns * across, rows * down), sight.shown, down)
    if room.is_sixel:
        return Drawing(columns, rows, sixels=_sixels(pixels))
    return Drawing(columns, rows, png=png_of(pixels))


def _sixels(pixels: Image) -> str:
    from textual_image._sixel import image_to_sixels  # noqa: PLC0415 - its package asks the terminal on import

    return str(image_to_sixels(pixels))


EpochReply = Callable[[EpochKey, EpochPreviews | None, str], object]
DrawingReply = Callable[[Sight, Room, Drawing | None, str], object]


class Gallery:
    """Takes orders; replies are called from its thread, which starts with the first order.

    Args:
        runs_dir: The runs folder.
        broke: Told of a fault of our own, after which nothing more is drawn.
    """

    def __init__(self, runs_dir: Path, broke: Callable[[BaseException], object]) -> None:
        self._runs_dir = runs_dir
        self._broke = broke
        self._shelf = PictureShelf()
        self._orders: OrderedDict[object, Callable[[], object]] = OrderedDict()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def read(self, customer: object, key: EpochKey, reply: EpochReply) -> None:
        """Order the boxes of an epoch; returns at once."""

        def work() -> None:
            reply(key, *self._shelf.load_boxes(self._runs_dir / key.run_id, key.path))

        self._order((customer, "boxes"), work)

    def paint(self, customer: object, sight: Sight, room: Room, reply: DrawingReply) -> None:
        """Order a picture; returns at once."""

        def work() -> None:
            photo, trouble = self._shelf.load(self._runs_dir / sight.run_id, sight.photo)
            reply(sight, room, draw(photo, sight, room) if photo is not None else None, trouble)

        self._order((customer, "picture"), work)

    def stop(self) -> None:
        """End the thread soon."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _order(self, customer: object, work: Callable[[], object]) -> None:
        with self._changed:
            self._orders[customer] = work
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(target=self._run, name="gallery", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                work()
        except BaseException as error:  # noqa: BLE001 - told to the dashboard, which shows it and ends
            self._broke(error)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._orders or self._is_stopped)
            return None if self._is_stopped else self._orders.popitem(last=False)[1]
