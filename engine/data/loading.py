"""Batches, and the loaders that bring them, watched: a loader that hangs or dies is told, with its images."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pickle import UnpicklingError
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample
from engine.errors import DataError, Problem
from engine.machine import num_cores
from engine.models.detector import Target

# prctl(2), Linux: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
# How often a loader that brings nothing is looked after.
_LOOK_EVERY_S = 1.0
# Time for hanging loaders to write down where they hang before they are killed.
_STACKS_S = 0.5
# Words of the errors by which torch tells that a loader process came to an end, or could not hand its images over.
_DEATHS = (
    "DataLoader worker (pid", "Pin memory thread exited", "unable to write to file", "unable to open shared memory",
    "unable to allocate shared memory", "unable to resize file", "No space left on device",
)


_HALF_MESSAGES = (EOFError, ConnectionError, UnpicklingError)


class Batch:
    """Images of one step, with their targets and places in the dataset.

    Attributes:
        samples: Everything that was drawn, broken images included.
        images: (3, H, W) float32 tensors in [0, 1] after `to`, uint8 before; whole ones only, as below.
        targets: One an image.
        places: Each image's record in the dataset.
        broken: The images that couldn't be loaded.
    """

    def __init__(self, samples: Sequence[Sample | BrokenSample]) -> None:
        self.samples = tuple(samples)
        whole = [sample for sample in samples if isinstance(sample, Sample)]
        self.images: list[Tensor] = [sample.image for sample in whole]
        self.targets: list[Target] = [sample.target for sample in whole]
        self.places: list[int] = [sample.place for sample in whole]
        self.broken: list[BrokenSample] = [sample for sample in samples if isinstance(sample, BrokenSample)]

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with images that couldn't be loaded."""
        return [problem for sample in self.broken for problem in sample.problems]

    def __len__(self) -> int:
        return len(self.images)

    def split(self, size: int) -> list[Batch]:
        """Batches of at most `size` images, in order; the batch must be whole."""
        if len(self.samples) <= size:
            return [self]
        return [Batch(self.samples[start : start + size]) for start in range(0, len(self.samples), size)]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, pixels scaled to [0, 1] there: bytes are cheaper to move.

        Raises:
            DataError: An image of the batch couldn't be loaded.
        """
        if self.broken:
            raise DataError(self.problems)
        moved = Batch(())
        moved.images = [image.to(device, non_blocking=True).float().div_(255) for image in self.images]
        moved.targets = [
            {
                "boxes_xyxy": target["boxes_xyxy"].to(device, non_blocking=True),
                "labels": target["labels"].to(device, non_blocking=True),
            }
            for target in self.targets
        ]
        moved.places = self.places
        return moved

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the loader calls this when told to."""
        pinned = [
            sample._replace(image=sample.image.pin_memory()) if isinstance(sample, Sample) else sample
            for sample in self.samples
        ]
        return Batch(pinned)


@dataclass(eq=False)
class LoaderTrouble(Exception):
    """The loader processes hang or died; the training's state is untouched.

    Attributes:
        reason: "hangs", or "died".
        places: Images that were being loaded, as far as that is known.
        waited_s: How long nothing came.
        words: What the system said.
    """

    reason: Literal["hangs", "died"]
    places: tuple[int, ...]
    waited_s: float
    words: str = ""


class BatchStream:
    """The batches of one epoch after another from loader processes that can be restarted.

    Args:
        dataset: What to load.
        order: Which images in which batches; asked anew for each epoch.
        num_workers: Loader processes; 0 loads in this process, where hanging can't be noticed.
        device: Where the batches will go.
    """

    def __init__(
        self, dataset: DetectionDataset, order: Sampler[list[Draw]], *, num_workers: int, device: torch.device
    ) -> None:
        self._dataset, self._order, self._device = dataset, order, device
        self._start(num_workers)

    def _start(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._loading = _Loading.shared(num_workers)
        self._processes: set[BaseProcess] = set()
        announced = _Announced(self._dataset, self._loading)
        self._loader: DataLoader[Batch] | None = make_loader(
            announced, self._order, num_workers=num_workers, device=self._device, watched=True
        )

    def batches(self, patience_s: Callable[[], float]) -> Iterator[Batch]:
        """The batches of the epoch that the order is set to.

        Args:
            patience_s: Seconds after which a loader that brings nothing counts as hanging.

        Raises:
            LoaderTrouble: The loaders hang or died; `restart` makes new ones.
        """
        iterator = self._iterate()
        waiting_since = time.monotonic()
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
                self._judge(error, time.monotonic() - waiting_since, patience_s)
                continue
            yield batch
            waiting_since = time.monotonic()

    def _iterate(self) -> Iterator[Batch]:
        assert self._loader is not None, "the stream is closed"
        before = set(multiprocessing.active_children())
        begun = time.monotonic()
        try:
            iterator = iter(self._loader)
        except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
            # Kept from the epoch before, each process has to answer first: one died, or is too slow to be waited for.
            self._judge(error, time.monotonic() - begun, lambda: 0.0)
            raise
        self._processes |= set(multiprocessing.active_children()) - before
        if self.num_workers and threading.current_thread() is threading.main_thread():
            # torch installs a handler that raises in the middle of whatever runs when a loader dies, an optimizer
            # step included. The loader's own look once a second is enough, and raises where batches are asked for.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return iterator

    def _judge(self, error: Exception, waited_s: float, patience_s: Callable[[], float]) -> None:
        """Return when the loader only needs more time; raise what is wrong otherwise."""
        words = str(error)
        if words.startswith("DataLoader timed out"):
            if waited_s < patience_s():
                return
            raise LoaderTrouble("hangs", self._loading.places(), waited_s) from None
        # A process that is killed while it hands an image over leaves half a message.
        is_death = isinstance(error, _HALF_MESSAGES) or any(death in words for death in _DEATHS)
        if not self.num_workers or not is_death:
            raise error
        words = (words.strip().splitlines() or ["it left half a message"])[-1]
        raise LoaderTrouble("died", self._loading.places(), waited_s, words) from error

    def restart(self, num_workers: int) -> None:
        """End the loader processes, whatever they do, and take new ones."""
        self.close()
        self._start(num_workers)

    def write_stacks(self) -> None:
        """Have every loader process write where it is to standard error."""
        for process in self._processes:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGUSR1)
        time.sleep(_STACKS_S)

    def close(self) -> None:
        """End the loader processes at once."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(_LOOK_EVERY_S)
        self._processes.clear()
        self._loader = None


@dataclass
class _Loading:
    """What each loader process is busy with, in memory that all of them share; -1 for nothing."""

    memory: mmap.mmap | None = None
    slots: NDArray[np.int64] = field(default_factory=lambda: np.full(1, -1, np.int64))

    @classmethod
    def shared(cls, num_workers: int) -> _Loading:
        # Only forked processes share it; under another start method nothing is known, which is allowed.
        if num_workers == 0 or multiprocessing.get_start_method() != "fork":
            return cls()
        memory = mmap.mmap(-1, 8 * num_workers)
        slots = np.frombuffer(memory, np.int64)
        slots[:] = -1
        return cls(memory, slots)

    def places(self) -> tuple[int, ...]:
        return tuple(int(place) for place in self.slots if place >= 0)


class _Announced(Dataset[Sample | BrokenSample]):
    """A dataset that says in shared memory which image it is loading."""

    def __init__(self, dataset: DetectionDataset, loading: _Loading) -> None:
        self._dataset = dataset
        self._slots = loading.slots

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, drawn: Draw) -> Sample | BrokenSample:
        worker = get_worker_info()
        slot = worker.id if worker is not None and worker.id < len(self._slots) else 0
        self._slots[slot] = drawn.place
        sample = self._dataset[drawn]
        self._slots[slot] = -1
        return sample


def make_loader(
    dataset: Dataset[Sample | BrokenSample],
    order: Sampler[list[Draw]],
    *,
    num_workers: int,
    device: torch.device,
    watched: bool = False,
) -> DataLoader[Batch]:
    """A loader that keeps its processes from one epoch to the next.

    Args:
        dataset: What to load.
        order: Which images in which batches.
        num_workers: Loader processes; 0 loads in this one.
        device: Where the batches will go.
        watched: Give up waiting every second with torch's RuntimeError, after which one may wait on.
    """
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the collate function turns samples into a Batch
        batch_sampler=order,
        num_workers=num_workers,
        collate_fn=Batch,
        # Its own, so that starting a loader draws nothing from the random state that training goes by:
        # a resumed epoch starts one more often than an uninterrupted one.
        generator=torch.Generator(),
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
        timeout=_LOOK_EVERY_S if watched and num_workers else 0,
        worker_init_fn=_begin_worker,
    )


def _begin_worker(_worker: int) -> None:
    """Let a loader process be asked where it hangs, and die with its parent; stopping is the parent's to judge."""
    if sys.platform == "linux":
        # torch's loaders look for their parent only every five seconds.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pick_num_workers(wanted: int | str, device: torch.device) -> int:
    """How many loader processes a recipe means by "auto".

    On a CPU the training itself needs the cores, so one process at most keeps ahead of it; beside a
    GPU the cores are free for loading.
    """
    if not isinstance(wanted, str):
        return wanted
    cores = num_cores()
    if device.type == "cpu":
        return min(1, cores - 1)
    return max(1, min(8, cores - 1))
