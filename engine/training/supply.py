"""Whole batches for training, whatever becomes of files and loader processes during the night.

An image that can't be loaded any more, or whose loading hangs, is set aside and another comes in its
place; loaders that hang or die are replaced by fewer. The training's own state is never touched.
"""

from __future__ import annotations

import operator
import statistics
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from engine.data.batch import Batch
from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample
from engine.data.loading import BatchStream, LoaderTrouble
from engine.data.order import EpochOrder, substitute
from engine.errors import DataError
from engine.events import Recovery as Kind
from engine.recipe.schema import Recovery
from engine.training.recovery import num_may_be_set_aside

# Steps whose median tells how long a step takes.
_NUM_STEPS_REMEMBERED = 101


class Tell(Protocol):
    """Makes a recovery known."""

    def __call__(self, kind: Kind, text: str, *, images: tuple[str, ...] = ()) -> None:
        """Append the event; the step is the trainer's to add."""


class Pace:
    """How long steps take, and so when one has stalled."""

    def __init__(self, settings: Recovery) -> None:
        self._settings = settings
        self._steps_s: deque[float] = deque(maxlen=_NUM_STEPS_REMEMBERED)

    def add(self, step_s: float) -> None:
        """One more step took so many seconds."""
        self._steps_s.append(step_s)

    def patience_s(self) -> float:
        """Seconds after which waiting for data counts as stalled."""
        median = statistics.median(self._steps_s) if self._steps_s else 0.0
        return max(self._settings.stall_min_seconds, self._settings.stall_factor * median)


class Supply:
    """Training batches in an epoch's order.

    Args:
        data: The training images.
        order: Their order.
        stream: Loads them.
        seed: The recipe's seed.
        settings: The recipe's `[recovery]`.
        pace: When waiting has been too long.
        tell: Makes a recovery known.

    Attributes:
        set_aside: Places of images that are no longer trained on; part of every checkpoint.
    """

    def __init__(
        self, data: DetectionDataset, order: EpochOrder, stream: BatchStream, *, seed: int, settings: Recovery,
        pace: Pace, tell: Tell,
    ) -> None:
        self._data, self._order, self._stream = data, order, stream
        self._seed, self._settings, self._pace, self._tell = seed, settings, pace, tell
        self.set_aside: set[int] = order.set_aside

    def batches(self, epoch: int, first_batch: int) -> Iterator[Batch]:
        """The batches of an epoch from one on; each whole, and each exactly once.

        Raises:
            DataError: More images can't be used than the recipe allows.
        """
        self._order.epoch = epoch
        while first_batch < len(self._order):
            self._order.first_batch = first_batch
            try:
                for batch in self._stream.batches(self._pace.patience_s):
                    yield self._whole(batch, epoch)
                    first_batch += 1
            except LoaderTrouble as trouble:
                self._mend(trouble)
            else:
                return

    def put_aside(self, places: Iterable[int], why: str) -> None:
        """Train on these images no longer.

        Args:
            places: The images.
            why: What is wrong with them, in words that go on after their names.

        Raises:
            DataError: They are more than the recipe allows; one problem tells why.
        """
        new = sorted(set(places) - self.set_aside)
        if not new:
            return
        images = tuple(str(self._data.records[place].image_path) for place in new)
        allowed = num_may_be_set_aside(len(self._data), self._settings)
        if len(self.set_aside) + len(new) > allowed:
            raise DataError.of(
                "T212", images[0],
                f"the image {why}; {len(self.set_aside)} of {len(self._data)} training images are set "
                f"aside already and recovery.max_set_aside = {self._settings.max_set_aside} allows {allowed}",
                "mend the files (`engine check` names them) and retry the run, or raise recovery.max_set_aside",
            )
        self.set_aside.update(new)
        count = f"{len(self.set_aside)} of at most {allowed} set aside"
        name = ", ".join(images)
        self._tell("set aside", f"{name} {why}; training goes on without it ({count})", images=images)

    def _whole(self, batch: Batch, epoch: int) -> Batch:
        for broken in batch.broken:
            self._give_up(broken)
        if not self.set_aside:
            return batch
        allowed = [self._allowed(sample, epoch) for sample in batch.samples]
        # The batch itself where nothing is replaced: it may be on its way to the device already.
        return batch if all(map(operator.is_, allowed, batch.samples)) else Batch(allowed)

    def _allowed(self, sample: Sample | BrokenSample, epoch: int) -> Sample | BrokenSample:
        """The sample, or another one where it was loaded ahead, before an image of it was set aside.

        A resumed run, which knows from the start what is set aside, draws the very same.
        """
        if isinstance(sample, BrokenSample) or sample.place in self.set_aside:
            return self._replaced(sample.place, epoch)
        if self.set_aside.isdisjoint(sample.partners):
            return sample
        again = self._data[Draw(epoch, sample.place, sample.repeat, frozenset(self.set_aside))]
        if isinstance(again, Sample):
            return again
        self._give_up(again)
        return self._replaced(sample.place, epoch)

    def _give_up(self, broken: BrokenSample) -> None:
        problem = broken.problems[0]
        self.put_aside([broken.place], f"can't be used: {problem.found}")

    def _replaced(self, place: int, epoch: int) -> Sample:
        """Another image in the place of one that can't be used, by the rule that the order goes by as well."""
        while True:
            other = substitute(self._seed, epoch, place, len(self._data), self.set_aside)
            sample = self._data[Draw(epoch, other, avoid=frozenset(self.set_aside))]
            if isinstance(sample, Sample):
                return sample
            self._give_up(sample)

    def _mend(self, trouble: LoaderTrouble) -> None:
        before = self._stream.num_workers
        if trouble.reason == "hangs":
            self._stream.write_stacks()
            # One process is kept, for loading in our own could hang the training itself.
            after = max(1, before // 2)
            waited = f"nothing was loaded for {trouble.waited_s:.0f} s"
            self._tell("stalled", f"{waited}; {instead(before, after)}; worker.log shows where they hung")
            self._stream.restart(after)
            if trouble.places:
                self.put_aside(trouble.places, f"hung for {trouble.waited_s:.0f} s while it was loaded")
            return
        after = before // 2
        self._tell("loader restarted", f"a loader process died ({trouble.words}); {instead(before, after)}")
        self._stream.restart(after)


def instead(before: int, after: int) -> str:
    """What takes the place of loader processes that were ended, in words."""
    def processes(count: int) -> str:
        return f"{count} loader process{'' if count == 1 else 'es'}"

    return f"going on with {processes(after) if after else 'loading in the training process'} instead of {before}"
