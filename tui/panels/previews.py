"""The previews panel: what the detector sees in the same photos, epoch after epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.errors import printable
from tui.feed import PictureKey
from tui.graphics import Graphics
from tui.panels.panel import Panel
from tui.previewing import Previewing
from tui.scene import Scene
from tui.widgets.picture import Picture
from tui.widgets.scrubber import Scrubber

PREVIEW_KEYS: list[BindingType] = [
    Binding("left", "epoch(-1)", "Previews: epoch before", show=False),
    Binding("right", "epoch(1)", "Previews: epoch after", show=False),
    Binding("n", "image(1)", "Previews: next image", show=False),
    Binding("p", "image(-1)", "Previews: image before", show=False),
]
PREVIEW_HINTS = (
    ("←→", "epoch", "screen.on_panel('epoch(1)')"), ("n p", "image", "screen.on_panel('image(1)')"),
)


@dataclass
class PictureWanted(Message):
    """A preview should be loaded; the app answers the screen."""

    key: PictureKey


class PreviewKeys(Panel):
    """A panel that shows a preview, and the keys that choose which."""

    previewing: Previewing

    def action_epoch(self, places: int) -> None:
        """Look at the previews of another epoch."""
        if self.scene is not None and self.scene.chosen is not None:
            self.previewing.move_epoch(self.scene.chosen, places)
            self.show_again()

    def action_image(self, places: int) -> None:
        """Look at another image of the same epoch."""
        if self.scene is not None and self.scene.chosen is not None:
            self.previewing.move_image(self.scene.chosen, places)
            self.show_again()

    def draw_picture(self) -> None:
        """Draw the picture that has come, or the words in its place."""
        raise NotImplementedError


class PreviewsPanel(PreviewKeys):
    """One preview, large.

    Args:
        graphics: How pictures are drawn in this terminal.
        previewing: Which one.
    """

    PANEL = "pictures"
    TITLE = "Pictures"
    BINDINGS: ClassVar[list[BindingType]] = PREVIEW_KEYS
    HINTS = PREVIEW_HINTS

    def __init__(self, graphics: Graphics, previewing: Previewing) -> None:
        super().__init__()
        self._picture = Picture(graphics, id="pictures-picture")
        self._scrubber = Scrubber()
        self.previewing = previewing

    def compose(self) -> ComposeResult:
        """The picture over its scrubber."""
        yield self._picture
        yield self._scrubber

    def show(self, scene: Scene) -> None:
        """Show the preview that is looked at."""
        if scene.chosen is None:
            return
        looked, wanted = self.previewing.look(scene.chosen)
        if wanted is not None:
            self.post_message(PictureWanted(wanted))
        if looked is None:
            self._scrubber.show(0, 0, "", "")
        else:
            self._scrubber.show(looked.at, looked.num_epochs, looked.title, looked.counts)
        self.draw_picture()

    def draw_picture(self) -> None:
        """Draw the picture that has come, or the words in its place."""
        self._picture.show(self.previewing.image, printable(self.previewing.words))
