"""Which preview picture is looked at: the epoch, the image, and the picture once it has come.

One for all panels, so that the overview shows what the previews panel was left at. Knows no Textual.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from engine.errors import printable
from engine.events import Preview, PreviewEvent
from tui.feed import PictureKey
from tui.view import RunView
from tui.words import joined


@dataclass(frozen=True, slots=True)
class Looked:
    """A preview of a run.

    Attributes:
        event: The epoch's previews.
        preview: The one that is looked at.
        index: Its place among them.
        at: The epoch's place among those that have previews.
        num_epochs: How many have.
    """

    event: PreviewEvent
    preview: Preview
    index: int
    at: int
    num_epochs: int

    @property
    def epoch_words(self) -> str:
        """Such as "epoch 3"."""
        return f"epoch {self.event.epoch + 1}"

    @property
    def image_words(self) -> str:
        """Such as "image 2/4"."""
        return f"image {self.index + 1}/{len(self.event.previews)}"

    @property
    def title(self) -> str:
        """Epoch, image and the photo's name."""
        newest = "latest" if self.at == self.num_epochs - 1 else ""
        return joined([self.epoch_words, newest, self.image_words, printable(self.preview.image)])

    @property
    def counts(self) -> str:
        """How much was found, how much there is."""
        return f"{self.preview.num_detections} found, {self.preview.num_ground_truth} true"


class Previewing:
    """Where the person looks.

    Attributes:
        image: The picture, once it has come.
        words: What stands in for it.
        is_loading: Whether it was asked for and hasn't come.
    """

    def __init__(self) -> None:
        self.image: Image | None = None
        self.words = ""
        self.is_loading = False
        self._run: str | None = None
        self._epoch: int | None = None  # None follows the latest
        self._index = 0
        self._key: PictureKey | None = None

    def look(self, view: RunView) -> tuple[Looked | None, PictureKey | None]:
        """What is looked at in a run, and the picture to ask for where another one is needed."""
        if view.run_id != self._run:
            self._run, self._epoch = view.run_id, None
        looked = self.looked(view)
        if looked is None:
            self._key, self.image, self.words, self.is_loading = None, None, _no_preview_words(view), False
            return None, None
        key = PictureKey(view.run_id, looked.preview.path)
        if key == self._key:
            return looked, None
        self._key, self.is_loading = key, True
        return looked, key

    def looked(self, view: RunView) -> Looked | None:
        """What is looked at in a run."""
        if not view.previews:
            return None
        epochs = [event.epoch for event in view.previews]
        at = epochs.index(self._epoch) if self._epoch in epochs else len(epochs) - 1
        event = view.previews[at]
        if not event.previews:
            return None
        index = self._index % len(event.previews)
        return Looked(event, event.previews[index], index, at, len(epochs))

    def take(self, key: PictureKey, image: Image | None, trouble: str) -> bool:
        """A picture has come; returns whether it is the one that is looked at."""
        if key != self._key:
            return False
        self.image, self.words, self.is_loading = image, trouble, False
        return True

    def move_epoch(self, view: RunView, places: int) -> None:
        """Look at another epoch; at the last one, follow the new ones again."""
        looked = self.looked(view)
        if looked is not None:
            target = max(0, min(looked.num_epochs - 1, looked.at + places))
            self._epoch = None if target == looked.num_epochs - 1 else view.previews[target].epoch

    def move_image(self, view: RunView, places: int) -> None:
        """Look at another image of the same epoch."""
        looked = self.looked(view)
        if looked is not None:
            self._index = (looked.index + places) % len(looked.event.previews)


def _no_preview_words(view: RunView) -> str:
    if view.state in {"queued", "held"}:
        return "pictures come with the first epoch"
    return "the first pictures come at the end of an epoch" if view.is_active else "this run drew no pictures"
