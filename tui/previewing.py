"""Which preview images are looked at, and how: epoch, image, threshold, what is drawn, one or many.

One for all panels, so that the overview shows what the previews panel was left at. Knows no Textual.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from engine.errors import printable
from engine.events import PreviewEvent
from engine.previewfile import EpochPreviews, Kind, PreviewImage
from tui.gallery import EpochKey, Sight
from tui.judged import MISSED, RIGHT, WRONG, Judgement, judge
from tui.overlay import Shown
from tui.view import RunView
from tui.words import joined

_STEP = 0.05
_LEAST, _MOST = 0.05, 0.95
# Epochs whose boxes are kept at hand; at most some 100 kB each.
_MOST_EPOCHS = 48


@dataclass(frozen=True, slots=True)
class Shot:
    """One preview image of an epoch.

    Attributes:
        name: File name of the photo.
        photo: The picture in the run's folder.
        image: Its boxes; None where a run kept none, and they are drawn in the picture.
        class_names: What their labels mean.
        counts: How much was found and is true, where there are no boxes.
    """

    name: str
    photo: str
    image: PreviewImage | None = None
    class_names: tuple[str, ...] = ()
    counts: str = ""

    def judged(self, threshold: float) -> Judgement | None:
        """What each box is; None where there are none."""
        return judge(self.image, self.class_names, threshold) if self.image is not None else None


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked at in a run.

    Attributes:
        run_id: The run.
        event: The epoch's previews.
        at: The epoch's place among those that have previews.
        num_epochs: How many have.
        shots: The images of this epoch and kind.
        index: Place of the one that is looked at.
        kind: The same images every epoch, or the worst of this one.
        threshold: Least score of a box.
        trouble: Why there are no boxes where there should be some.
    """

    run_id: str
    event: PreviewEvent
    at: int
    num_epochs: int
    shots: tuple[Shot, ...]
    index: int
    kind: Kind
    threshold: float
    trouble: str = ""

    @property
    def shot(self) -> Shot | None:
        """The image that is looked at."""
        return self.shots[self.index] if self.shots else None

    @property
    def epoch_words(self) -> str:
        """Such as "epoch 3"."""
        return f"epoch {self.event.epoch + 1}"

    @property
    def image_words(self) -> str:
        """Such as "image 2/4"."""
        if not self.shots:
            return ""
        return f"{'image' if self.kind == 'fixed' else 'worst'} {self.index + 1}/{len(self.shots)}"

    @property
    def title(self) -> str:
        """Epoch, image and the photo's name."""
        newest = "latest" if self.at == self.num_epochs - 1 else ""
        name = printable(self.shot.name) if self.shot else ""
        return joined([self.epoch_words, newest, self.image_words, name])

    def counts_of(self, shot: Shot) -> str:
        """How much of an image is right and wrong, in signs."""
        judged = shot.judged(self.threshold)
        if judged is None:
            return shot.counts
        return f"{RIGHT}{judged.num_right} {WRONG}{judged.num_wrong} {MISSED}{judged.num_missed}"

    @property
    def counts(self) -> str:
        """How much of the image that is looked at is right and wrong, in words."""
        judged = self.shot.judged(self.threshold) if self.shot else None
        if judged is None:
            return self.shot.counts if self.shot else ""
        parts = ((RIGHT, judged.num_right, "right"), (WRONG, judged.num_wrong, "wrong"),
                 (MISSED, judged.num_missed, "missed"))  # fmt: skip
        return joined([f"{sign} {number} {word}" for sign, number, word in parts])

    def sight(self, shot: Shot, shown: Shown) -> Sight:
        """What a picture of an image is to show."""
        return Sight(
            self.run_id, shot.photo, self.event.time, shot.image, shot.class_names, self.threshold, shown
        )


class Previewing:
    """Where the person looks.

    Attributes:
        shown: Which boxes are drawn.
        kind: The same images every epoch, or the worst of each.
        is_grid: Whether several are shown at a time.
        has_table: Whether the boxes are listed as well.
        is_playing: Whether the epochs go by by themselves.
    """

    def __init__(self) -> None:
        self.shown = Shown()
        self.kind: Kind = "fixed"
        self.is_grid = False
        self.has_table = True
        self.is_playing = False
        self._threshold: float | None = None  # None is the recipe's own
        self._run: str | None = None
        self._epoch: int | None = None  # None follows the latest
        self._index: dict[Kind, int] = {"fixed": 0, "worst": 0}
        self._kept: OrderedDict[EpochKey, EpochPreviews | str] = OrderedDict()

    def look(self, view: RunView) -> Looked | EpochKey | None:
        """What is looked at in a run; the boxes that are needed for it first; None where there is nothing."""
        if view.run_id != self._run:
            self._run, self._epoch, self.is_playing = view.run_id, None, False
        event, at = self._event(view)
        if event is None:
            return None
        kept: EpochPreviews | str = ""
        if event.boxes:
            key = EpochKey(view.run_id, event.boxes, event.time)
            if key not in self._kept:
                return key
            self._kept.move_to_end(key)
            kept = self._kept[key]
        shots = self._shots(event, kept)
        if not shots and self.kind == "fixed":
            return None
        index = self._index[self.kind] % len(shots) if shots else 0
        threshold = self._threshold or (kept.score_threshold if isinstance(kept, EpochPreviews) else 0.5)
        trouble = kept if isinstance(kept, str) else ""
        return Looked(
            view.run_id, event, at, len(view.previews), shots, index, self.kind, round(threshold, 2), trouble
        )

    def take(self, key: EpochKey, boxes: EpochPreviews | None, trouble: str) -> None:
        """The boxes of an epoch have come, or why they can't."""
        self._kept[key] = boxes if boxes is not None else trouble
        if len(self._kept) > _MOST_EPOCHS:
            self._kept.popitem(last=False)

    def _event(self, view: RunView) -> tuple[PreviewEvent | None, int]:
        if not view.previews:
            return None, 0
        epochs = [event.epoch for event in view.previews]
        at = epochs.index(self._epoch) if self._epoch in epochs else len(epochs) - 1
        return view.previews[at], at

    def _shots(self, event: PreviewEvent, kept: EpochPreviews | str) -> tuple[Shot, ...]:
        if isinstance(kept, EpochPreviews):
            return tuple(
                Shot(image.name, image.photo, image, kept.class_names) for image in kept.of(self.kind)
            )
        if self.kind == "worst":
            return ()
        return tuple(
            Shot(one.image, one.path, counts=f"{one.num_detections} found, {one.num_ground_truth} true")
            for one in event.previews
        )

    def move_epoch(self, view: RunView, places: int) -> bool:
        """Look at another epoch; at the last one, follow the new ones again. Returns whether there was one."""
        event, at = self._event(view)
        if event is None:
            return False
        last = len(view.previews) - 1
        target = max(0, min(last, at + places))
        self._epoch = None if target == last else view.previews[target].epoch
        return target != at

    def play(self, view: RunView) -> None:
        """Let the epochs go by, from the first one where the last is looked at; or stop."""
        self.is_playing = not self.is_playing and len(view.previews) > 1
        event, at = self._event(view)
        if self.is_playing and event is not None and at == len(view.previews) - 1:
            self._epoch = view.previews[0].epoch

    def move_image(self, looked: Looked, places: int) -> None:
        """Look at another image of the same epoch."""
        if looked.shots:
            self._index[self.kind] = (looked.index + places) % len(looked.shots)

    def move_threshold(self, looked: Looked, places: int) -> None:
        """Draw boxes from a higher score on, or a lower one."""
        # In whole steps, whatever the recipe's own threshold is.
        steps = round(looked.threshold / _STEP) + places
        self._threshold = round(min(max(steps * _STEP, _LEAST), _MOST), 2)


def no_preview_words(view: RunView) -> str:
    """What stands where a picture would."""
    if view.state in {"queued", "held"}:
        return "pictures come with the first epoch"
    return "the first pictures come at the end of an epoch" if view.is_active else "this run drew no pictures"
