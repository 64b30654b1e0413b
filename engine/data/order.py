"""The order in which images come, as a pure function of seed and epoch.

`EpochOrder` shuffles, repeats images of rare classes where asked to, and draws another image in the
place of one that was set aside. No generator outlives a call: a resumed epoch goes on with the very
images that an uninterrupted one would have brought. The number of batches is the same in every
epoch, for learning rate and resume are counted in steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from engine.annotations import ImageRecord
from engine.data.dataset import Draw
from engine.errors import DataError

# A fourth word of the seeds, so that these draws aren't those of an image's augmentation, seeded by three.
_SUBSTITUTES = 0x5AB5


class EpochOrder(Sampler[list[Draw]]):
    """Batches of a shuffled epoch; the order follows from seed and epoch alone.

    Set `epoch` and `first_batch` before iterating. Images in `set_aside` are replaced as
    `substitute` says; what is added to it while iterating counts from the next batch on.

    Args:
        num_images: Images of the dataset; may be 0.
        batch_size: Images in a batch; the last batch may have fewer.
        seed: The recipe's seed.
        repeat_factors: (num_images,) how often each image comes in an epoch on average, 1 or more;
            see `repeat_factors`. None: each once.
    """

    def __init__(
        self, num_images: int, batch_size: int, seed: int, repeat_factors: NDArray[np.float64] | None = None
    ) -> None:
        if repeat_factors is not None and repeat_factors.shape != (num_images,):
            raise ValueError(f"{num_images} images need as many repeat factors, not {repeat_factors.shape}")
        self._num_images = num_images
        self._batch_size = batch_size
        self._seed = seed
        self._factors = repeat_factors
        self.num_draws = num_images if repeat_factors is None else _num_draws(repeat_factors)
        self.epoch = 0
        self.first_batch = 0
        self.set_aside: set[int] = set()

    def __len__(self) -> int:
        return (self.num_draws + self._batch_size - 1) // self._batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        """The epoch's batches from `first_batch` on.

        Raises:
            DataError: Every image has been set aside.
        """
        epoch = self.epoch
        draws = self._draws(epoch)
        for batch in range(self.first_batch, len(self)):
            start = batch * self._batch_size
            yield [self._allowed(drawn) for drawn in draws[start : start + self._batch_size]]

    def _draws(self, epoch: int) -> list[Draw]:
        random = np.random.default_rng([self._seed, epoch])
        if self._factors is None:
            return [Draw(epoch, place) for place in random.permutation(self._num_images).tolist()]
        counts = _rounded(self._factors, random)
        places = np.repeat(np.arange(self._num_images), counts)
        repeats = np.concatenate([np.arange(count) for count in counts]) if len(counts) else places
        return [Draw(epoch, int(places[at]), int(repeats[at])) for at in random.permutation(len(places))]

    def _allowed(self, drawn: Draw) -> Draw:
        if not self.set_aside:
            return drawn
        avoid = frozenset(self.set_aside)
        if drawn.place not in avoid:
            return drawn._replace(avoid=avoid)
        return Draw(drawn.epoch, substitute(self._seed, drawn.epoch, drawn.place, self._num_images, avoid), avoid=avoid)


class FixedOrder(Sampler[list[Draw]]):
    """Batches of every image once: images of one size together, each size in the records' order.

    A network pads the images of a batch to a common size, and finds other things at the padding's edge than in the
    image alone, as it is used. Images of one size have none.

    Args:
        sizes: (width, height) of each image; may be empty.
        batch_size: Images in a batch, at most.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int) -> None:
        places: dict[tuple[int, int], list[int]] = {}
        for place, size in enumerate(sizes):
            places.setdefault(size, []).append(place)
        self._batches = [
            same[start : start + batch_size] for same in places.values() for start in range(0, len(same), batch_size)
        ]

    @classmethod
    def of(cls, records: Sequence[ImageRecord], batch_size: int) -> FixedOrder:
        """The order of some images."""
        return cls([(record.width, record.height) for record in records], batch_size)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        for places in self._batches:
            yield [Draw(0, place) for place in places]


def substitute(seed: int, epoch: int, place: int, num_images: int, excluded: Collection[int]) -> int:
    """The image that comes in the place of one that can't be used.

    The first that isn't excluded in a shuffle that follows from seed, epoch and place: setting one
    more image aside changes only those choices that fell on it.

    Args:
        seed: The recipe's seed.
        epoch: Zero-based epoch.
        place: The image that can't be used; is excluded as well.
        num_images: Images of the dataset.
        excluded: Places that can't be used; may be empty.

    Raises:
        DataError: No image is left (T211).
    """
    random = np.random.default_rng([seed, epoch, place, _SUBSTITUTES])
    for other in random.permutation(num_images).tolist():
        if other != place and other not in excluded:
            return int(other)
    raise DataError.of(
        "T211", "", f"none of the {num_images} training images can be used any more",
        "see the messages before this one for what is wrong with them; `engine check` names unreadable files",
    )


def repeat_factors(records: Sequence[ImageRecord], num_classes: int, threshold: float) -> NDArray[np.float64]:
    """How often each image should come in an epoch, so that rare classes are seen more often.

    A class found in the share f of the images gets max(1, sqrt(threshold / f)); an image the
    greatest of its classes' factors, 1 without objects. Crowds, which aren't learnt from, don't count.

    Args:
        records: The training images; may be empty.
        num_classes: Classes of the map.
        threshold: Share of the images, in (0, 1], below which a class is rare.

    Returns:
        (N,), each 1 or more.

    Source:
        LVIS: A Dataset for Large Vocabulary Instance Segmentation (Gupta et al. 2019), appendix B.
    """
    shown = np.zeros((len(records), num_classes), dtype=bool)
    for place, record in enumerate(records):
        shown[place, record.labels[~record.crowd]] = True
    shares = np.maximum(shown.sum(axis=0), 1) / max(1, len(records))
    factors = np.maximum(1.0, np.sqrt(threshold / shares))
    return np.asarray(np.where(shown, factors, 1.0).max(axis=1, initial=1.0), dtype=np.float64)


def _num_draws(factors: NDArray[np.float64]) -> int:
    whole = np.floor(factors)
    return int(whole.sum()) + _num_extra(factors - whole)


def _num_extra(parts: NDArray[np.float64]) -> int:
    # Rounded down, so that marks lie at least 1 apart and none of the parts, all below 1, gets two.
    total = float(parts.sum())
    return max(1, int(total + 1e-9)) if total > 0 else 0


def _rounded(factors: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """Factors rounded up or down by chance, so that their sum is always the same.

    Systematic sampling: the fractional parts lie on a line in shuffled order, and equally spaced
    marks with a random start fall on them. Each is rounded up as often as its part says.
    """
    whole = np.floor(factors)
    counts = whole.astype(np.int64)
    parts = factors - whole
    num_extra = _num_extra(parts)
    if not num_extra:
        return counts
    shuffled = random.permutation(len(parts))
    ends = np.cumsum(parts[shuffled])
    marks = (np.arange(num_extra) + random.random()) * (ends[-1] / num_extra)
    # A mark that rounding puts at the very end belongs to the last part that isn't 0.
    last = int(np.flatnonzero(parts[shuffled])[-1])
    np.add.at(counts, shuffled[np.minimum(np.searchsorted(ends, marks, side="right"), last)], 1)
    return counts
