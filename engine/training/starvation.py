"""Whether loading photos keeps a training waiting, and what helps. Pure: nothing here looks at a machine.

Told at an epoch's end, once; again only when it has become much worse. The first step of an epoch waits
for its loaders whatever the machine, so it isn't counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.annotations import ImageRecord
from engine.recipe.schema import Recipe

# Waiting for more than this share of the time is worth a word.
STARVED = 0.25
# Fewer steps say little.
_LEAST_STEPS = 5
# Shorter waits than this are hardly worth mending, whatever share of a tiny step they are.
_LEAST_WAIT_S = 0.005
_WORSE = 1.5
# Photos of so many times the pixels that the network looks at spend most of their decoding on nothing.
_FAR_LARGER = 4.0


@dataclass(frozen=True, slots=True)
class Supplied:
    """What loading depends on.

    Attributes:
        num_workers: Loader processes now.
        num_cores: Cores that this process may use.
        on_cpu: The training computes on the same cores.
        photo_pixels: Pixels of a training photo, on average.
        input_pixels: Pixels that the network looks at, at most.
        mosaic: Share of the images that are made of four.
    """

    num_workers: int
    num_cores: int
    on_cpu: bool
    photo_pixels: float
    input_pixels: float
    mosaic: float = 0.0

    @classmethod
    def of(
        cls, recipe: Recipe, records: Sequence[ImageRecord], *, num_workers: int, num_cores: int, on_cpu: bool
    ) -> Supplied:
        """As a recipe's training images are supplied."""
        pixels = sum(record.width * record.height for record in records) / max(1, len(records))
        model = recipe.model
        return cls(
            num_workers, num_cores, on_cpu, pixels, model.input_min_size * model.input_max_size,
            recipe.augmentation.mosaic,
        )


def what_helps(supplied: Supplied) -> str:
    """What makes photos come sooner, in words that go on after "what helps:"."""
    found = []
    if not supplied.num_workers and supplied.num_cores > 1:
        found.append("set hardware.num_workers = 1, so that photos are loaded while the network computes")
    elif not supplied.on_cpu and supplied.num_workers < supplied.num_cores - 1:
        found.append(f"set hardware.num_workers = {supplied.num_cores - 1}")
    elif supplied.on_cpu and 0 < supplied.num_workers < supplied.num_cores:
        found.append(f"set hardware.num_workers = {supplied.num_workers + 1}, if other programs leave a core free")
    if supplied.mosaic:
        found.append(f"a lower augmentation.mosaic (now {supplied.mosaic:g}), which loads four photos for one")
    if supplied.photo_pixels > _FAR_LARGER * supplied.input_pixels:
        sizes = f"{supplied.photo_pixels / 1e6:.1f} megapixels where the network sees {supplied.input_pixels / 1e6:.1f}"
        found.append(f"smaller photos, their boxes shrunk with them: they have {sizes}")
    return "; ".join(found) or "photos on a quicker drive, or fewer other programs beside the training"


class Starvation:
    """Adds up an epoch's steps and says at its end whether loading kept them waiting."""

    def __init__(self) -> None:
        self._told = 0.0
        self._begin()

    def _begin(self) -> None:
        self._num_steps, self._step_s, self._data_s = -1, 0.0, 0.0

    def add(self, step_s: float, data_s: float) -> None:
        """One more step of the epoch took so long, and waited so long for its photos."""
        self._num_steps += 1
        if self._num_steps:
            self._step_s, self._data_s = self._step_s + step_s, self._data_s + data_s

    def end_epoch(self, epoch: int, supplied: Supplied) -> str:
        """What there is to tell about the epoch just trained, and what helps; "" for nothing.

        Args:
            epoch: Zero-based.
            supplied: What loading depends on now.
        """
        num_steps, step_s, data_s = self._num_steps, self._step_s, self._data_s
        self._begin()
        share = data_s / step_s if step_s else 0.0
        if num_steps < _LEAST_STEPS or share < max(STARVED, _WORSE * self._told) or data_s < _LEAST_WAIT_S * num_steps:
            return ""
        self._told = share
        return (
            f"training waits for photos {share:.0%} of the time ({data_s / num_steps:.2g} s of a step's "
            f"{step_s / num_steps:.2g} s in epoch {epoch + 1}); what helps: {what_helps(supplied)}"
        )
