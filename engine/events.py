"""What a run tells the world: frozen event types, an append-only log, and a tail that reads it.

`events.jsonl` holds one JSON object a line. Numbers that JSON lacks (NaN, infinity) become null.
A reader ignores a last line without its newline, skips lines and event types it doesn't know, and
notices when the file was replaced.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Literal, Self

import msgspec

from engine.rundir import open_regular, write_bytes_atomic

Outcome = Literal["finished", "failed", "stopped"]
# A whole number as a sane log has it; exact as a float too.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Phase = Literal["loading", "training", "evaluating", "drawing", "saving"]
# What a run mended by itself.
Recovery = Literal["out of memory", "discarded step", "rolled back", "set aside", "stalled", "loader restarted"]


# No event can hold another one, so none needs the garbage collector: a log is read twice as fast without.
class _Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True, gc=False):
    time: float = msgspec.field(default_factory=time.time)
    """Seconds since 1970, UTC, when it happened."""


class RunStarted(_Event, frozen=True, gc=False, tag="started"):
    """A worker took the run up, for the first time or again."""

    attempt: Count
    device: str
    num_train_images: Count
    num_val_images: Count
    num_epochs: Count
    num_steps: Count
    """Optimizer steps in the whole run."""
    class_names: tuple[str, ...]
    first_step: Count = 0
    """Zero-based step it goes on from; above 0 after a resume."""
    versions: dict[str, str] = {}
    allocator: str = ""
    """What hands out memory, such as "tcmalloc"; "system" for the C library's own, "" where nobody wrote it down."""


class PhaseEvent(_Event, frozen=True, gc=False, tag="phase"):
    """What the worker is busy with from now on."""

    phase: Phase
    epoch: Count
    done: Count = 0
    total: Count = 0


class StepEvent(_Event, frozen=True, gc=False, tag="step"):
    """One optimizer step."""

    step: Count
    """Zero-based."""
    epoch: Count
    """Zero-based."""
    elapsed_s: float
    """Seconds the run has been worked on, attempts added up."""
    loss: float | None
    """Total training loss of the batch."""
    losses: dict[str, float | None]
    """Its parts, by torchvision's names."""
    lr: float
    """The learning rate this step used."""
    step_s: float = 0.0
    """Seconds the step took, waiting for data included."""
    data_s: float = 0.0
    """Seconds of it spent waiting for data."""


class EpochEvent(_Event, frozen=True, gc=False, tag="epoch"):
    """An epoch is over and measured."""

    epoch: Count
    step: Count
    """Last step of the epoch, zero-based."""
    elapsed_s: float
    train_loss: float | None
    """Mean training loss over the epoch's steps."""
    val_loss: float | None
    val_losses: dict[str, float | None]
    ap: float | None
    """COCO AP at IoU 0.50:0.95, in [0, 1]; null when nothing could be measured."""
    ap50: float | None
    ap75: float | None
    ar100: float | None
    ap_per_class: dict[str, float | None]
    best: bool
    """Whether this epoch's weights are the best so far."""
    evaluate_s: float = 0.0
    weights: Literal["trained", "averaged"] = "trained"
    """Which weights the figures are of: those that training ended the epoch with, or their moving average."""
    memory_bytes: int = 0
    """The most memory that the worker held at once so far, the device's on a GPU; 0 where nobody wrote it down."""


class Preview(msgspec.Struct, frozen=True, gc=False):
    """One drawn validation image."""

    path: str
    """Picture, relative to the run directory."""
    image: str
    """File name of the photo."""
    num_ground_truth: Count
    num_detections: Count


class PreviewEvent(_Event, frozen=True, gc=False, tag="preview"):
    """Previews of an epoch are drawn."""

    epoch: Count
    previews: tuple[Preview, ...]
    boxes: str = ""
    """What was found on them and on the worst images, relative to the run directory: see `engine.previewfile`."""


class CheckpointEvent(_Event, frozen=True, gc=False, tag="checkpoint"):
    """Weights are safe on disk."""

    kind: Literal["last", "best"]
    path: str
    """Relative to the run directory."""
    epoch: Count
    step: Count


class MessageEvent(_Event, frozen=True, gc=False, tag="message"):
    """Something a person should know."""

    level: Literal["note", "warning", "error"]
    text: str


class RecoveryEvent(_Event, frozen=True, gc=False, tag="recovery"):
    """Something went wrong and the run went on."""

    kind: Recovery
    text: str
    """What happened and what was done about it, in words."""
    epoch: Count
    step: Count
    """Zero-based step it happened at; the first one not yet done."""
    images: tuple[str, ...] = ()
    """Image files concerned."""
    losses: dict[str, float | None] = {}
    """Parts of the loss that was discarded."""
    replay: str = ""
    """Bundle with which `engine replay` repeats the step, relative to the run directory."""


class RunEnded(_Event, frozen=True, gc=False, tag="ended"):
    """The worker is done with the run, for now ("stopped") or for good."""

    outcome: Outcome
    reason: str
    """In words a person can act on; "" when there is nothing to say."""
    cause: str = ""
    """Recorded kind of failure, such as "out of memory"; "" otherwise."""
    elapsed_s: float = 0.0
    attempt: Count = 0
    """The attempt that ended."""


Event = (
    RunStarted
    | PhaseEvent
    | StepEvent
    | EpochEvent
    | PreviewEvent
    | CheckpointEvent
    | MessageEvent
    | RecoveryEvent
    | RunEnded
)

# What a damaged line can raise; the last one: a line of a hundred thousand brackets.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder[Event](Event)


def encode_event(event: Event) -> bytes:
    """One event as a line of `events.jsonl`, newline included."""
    return _encoder.encode(event) + b"\n"


def decode_event(line: bytes) -> Event | None:
    """The event in a line, or None for a damaged line or a type of another version."""
    try:
        event: Event = _decoder.decode(line)
    except UNREADABLE:
        return None
    return event


def decode_events(data: bytes) -> list[Event]:
    """The events of whole lines, damaged and unknown ones left out; several times as fast as one by one."""
    lines = data[: data.rfind(b"\n") + 1]
    try:
        events = _decoder.decode_lines(lines)
    except UNREADABLE:
        events = []
    if len(events) != lines.count(b"\n"):  # one is damaged, empty or unknown
        return [event for event in map(decode_event, lines.split(b"\n")[:-1]) if event is not None]
    return events


def rewind(path: Path, num_bytes: int) -> list[Event]:
    """Cut an event log back to what a checkpoint knows, so that no step is told twice.

    The log as it was is kept beside it as `events.before-N.jsonl`. The shortened one is a new file,
    by which readers notice. No writer may have the log open.

    Args:
        path: The log.
        num_bytes: Its length when the checkpoint was written; 0 to start over.

    Returns:
        The events that were cut off.
    """
    if not path.exists() or path.stat().st_size == num_bytes:
        return []
    content = path.read_bytes()
    number = 1
    while (kept := path.with_name(f"{path.stem}.before-{number}{path.suffix}")).exists():
        number += 1
    write_bytes_atomic(kept, content)
    write_bytes_atomic(path, content[:num_bytes])
    found = (decode_event(line) for line in content[num_bytes:].splitlines())
    return [event for event in found if event is not None]


class EventLog:
    """The only writer of a run's events.

    Opening cuts a torn last line off, so that a killed writer's half line can't swallow the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._file: BinaryIO = self._path.open("a+b", buffering=0)
        self._cut_torn_tail()

    def _cut_torn_tail(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - 1_000_000)
        self._file.seek(start)
        tail = self._file.read(size - start)
        if tail and not tail.endswith(b"\n"):
            self._file.truncate(start + tail.rfind(b"\n") + 1)

    def append(self, event: Event) -> None:
        """Write one event; it is in the kernel's hands when this returns.

        Raises:
            OSError: The disk is full.
        """
        line = encode_event(event)
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> int:
        """Force the log to disk; returns its size in bytes."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def rewind(self, num_bytes: int) -> list[Event]:
        """Cut the log back, as `rewind` does; returns the events that were cut off."""
        self.close()
        try:
            return rewind(self._path, num_bytes)
        finally:
            self._open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventTail:
    """Reads a growing `events.jsonl` from where it last stopped.

    Attributes:
        restarts: How often the file turned out to be another one (a resume replaced it); the
            reader then starts over, and whoever folds the events must too.
        is_at_end: Whether the last read came to the end of the file.
    """

    def __init__(self, path: Path, chunk_bytes: int = 8_000_000) -> None:
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._offset = 0
        self._inode: int | None = None
        self.restarts = 0
        self.is_at_end = False

    def read(self) -> list[Event]:
        """New whole events since the last call, at most one chunk's worth; [] when there are none.

        Raises:
            OSError: The file exists but can't be read.
        """
        return decode_events(self.read_lines())

    @property
    def place(self) -> int:
        """How far it was read, in bytes."""
        return self._offset

    @property
    def inode(self) -> int | None:
        """Which file it is; None before the first read."""
        return self._inode

    def go_to(self, place: int) -> None:
        """Go on from there: what lies before was read by somebody else."""
        self._offset = place

    def read_lines(self, until: int | None = None) -> bytes:
        """New whole lines since the last call, at most one chunk's worth; b"" when there are none.

        A line that is longer than a chunk is passed over: no event is.

        Args:
            until: Read no further than this place, where a line begins.

        Raises:
            OSError: The file exists but can't be read.
        """
        most = self._chunk_bytes
        try:
            with open_regular(self._path) as file:
                self._notice_replacement(os.fstat(file.fileno()))
                if until is not None and until > self._offset:
                    most = min(most, until - self._offset)
                file.seek(self._offset)
                data = file.read(most)
        except FileNotFoundError:
            self.is_at_end = True
            return b""
        self.is_at_end = len(data) < most
        end = data.rfind(b"\n") + 1
        if not end and len(data) == self._chunk_bytes:
            end = len(data)
        self._offset += end
        return data[:end]

    def read_all(self) -> list[Event]:
        """Everything up to the end of the file as it is now."""
        events = self.read()
        before = 0
        while before < self._offset:  # a chunk may hold nothing that is known here
            before = self._offset
            events.extend(self.read())
        return events

    def _notice_replacement(self, status: os.stat_result) -> None:
        replaced = self._inode is not None and status.st_ino != self._inode
        if replaced or status.st_size < self._offset:
            self._offset = 0
            self.restarts += 1
        self._inode = status.st_ino
