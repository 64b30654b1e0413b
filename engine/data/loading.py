"""The loaders that bring batches, watched: one that hangs or dies is told, with its images."""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from engine.data.batch import Batch
from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample
from engine.data.sidestream import SideStream, side_stream_of
from engine.machine import num_cores

# prctl(2), Linux: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
# How often a loader that brings nothing is looked after.
_LOOK_EVERY_S = 1.0
# And how long one is waited for that has brought its next batch already.
_INSTANT_S = 1e-4
_TIMED_OUT = "DataLoader timed out"
# The rehearsal measures steps whose photos are copied when they are needed; so large a batch could make the difference.
_MOST_AHEAD_BYTES = 256 * 2**20
# Time for hanging loaders to write down where they hang before they are killed.
_STACKS_S = 0.5
# Words of the errors by which torch tells that a loader process came to an end, or could not hand its images over.
_DEATHS = (
    "DataLoader worker (pid", "Pin memory thread exited", "unable to write to file", "unable to open shared memory",
    "unable to allocate shared memory", "unable to resize file", "No space left on device",
)
# What a process that is killed while it hands an image over leaves.
_HALF_MESSAGES = (EOFError, ConnectionError, UnpicklingError)


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

    Where the device has a stream to copy on, the batch after the one that is given is copied already if it has
    come. It counts as loaded only when its turn comes: what went wrong with it is told then, and no earlier.

    Args:
        dataset: What to load.
        order: Which images in which batches; asked anew for each epoch.
        num_workers: Loader processes; 0 loads in this process, where hanging can't be noticed.
        device: Where the batches will go.
        sends_ahead: Whether to copy the next batch ahead where the device can.
    """

    def __init__(
        self, dataset: DetectionDataset, order: Sampler[list[Draw]], *, num_workers: int, device: torch.device,
        sends_ahead: bool = True,
    ) -> None:
        self._dataset, self._order, self._device = dataset, order, device
        self._side = side_stream_of(device) if sends_ahead else None
        self._start(num_workers)

    def _start(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._loading = _Loading.shared(num_workers)
        self._processes: set[BaseProcess] = set()
        self._ahead: Batch | Exception | None = None  # what comes next, or why nothing does
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
                batch = self._next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
                self._judge(error, time.monotonic() - waiting_since, patience_s)
                continue
            if self._side is not None:
                self._look_ahead(iterator, self._side)
            yield batch
            waiting_since = time.monotonic()

    def _next(self, iterator: Iterator[Batch]) -> Batch:
        ahead, self._ahead = self._ahead, None
        if isinstance(ahead, Exception):
            raise ahead
        return next(iterator) if ahead is None else ahead

    def _look_ahead(self, iterator: Iterator[Batch], side: SideStream) -> None:
        """Take the next batch, if it has come already, and send it on its way."""
        try:
            batch = _next_if_come(iterator)
        except Exception as error:  # noqa: BLE001 - raised when its turn comes
            self._ahead = error
            return
        self._ahead = batch
        if batch is not None and sum(image.nbytes for image in batch.images) <= _MOST_AHEAD_BYTES:
            try:
                batch.send(side)
            except torch.OutOfMemoryError:
                self.send_when_needed()

    def send_when_needed(self) -> None:
        """Copy no batch ahead any more, and let go of the one that was: memory on the device is short."""
        self._side = None
        if isinstance(self._ahead, Batch):
            self._ahead.call_back()

    def _iterate(self) -> Iterator[Batch]:
        assert self._loader is not None, "the stream is closed"
        self._ahead = None
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
        if words.startswith(_TIMED_OUT):
            if waited_s < patience_s():
                return
            raise LoaderTrouble("hangs", self._loading.places(), waited_s) from None
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
        self._ahead = None


def _next_if_come(iterator: Any) -> Batch | None:
    """What a loader brings next if it is there, else None; its errors are those of `next`.

    torch has no word for this, but its iterators give up waiting after `_timeout`, and one may go on then.
    """
    usual = getattr(iterator, "_timeout", 0)
    if not usual:  # loads in this process, or is of a torch that does it otherwise
        return None
    iterator._timeout = _INSTANT_S  # noqa: SLF001
    try:
        batch: Batch = next(iterator)
    except RuntimeError as error:
        if str(error).startswith(_TIMED_OUT):
            return None
        raise
    finally:
        iterator._timeout = usual  # noqa: SLF001
    return batch


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
