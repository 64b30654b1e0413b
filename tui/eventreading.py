"""Reads stretches of an event log fast: every step as columns, or only what a list of runs needs.

A log has one line for each of up to a million steps and a few others. `read_whole` takes every line;
`read_outline` decodes no steps but the latest; `read_glance` and `read_sample` don't even read them.
What can't be decoded is counted, and means nothing.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.events import (
    UNREADABLE,
    CheckpointEvent,
    Count,
    EpochEvent,
    Event,
    MessageEvent,
    PhaseEvent,
    PreviewEvent,
    RecoveryEvent,
    RunEnded,
    RunStarted,
    StepEvent,
    decode_event,
)
from engine.rundir import open_regular
from tui.pyramid import Floats
from tui.series import MOST_COLUMNS

OWN_COLUMNS = ("step", "loss", "lr", "elapsed_s", "step_s", "data_s")

# Of a long stretch of steps only the last ones count for the running mean of seconds per step, which
# forgets older ones (0.95 ** 200 < 1e-4).
_STEPS_FOLDED = 200
_PLAIN_NAME = re.compile(r"[\w ./:-]{1,200}", re.ASCII)
_STEP_LINE = b'{"event":"step",'
_HEAD_BYTES = 16_000
_TAIL_BYTES = 48_000
_SAMPLE_BYTES = 2_000
_SAMPLE_LINES = 3


@dataclass(frozen=True, slots=True)
class Steps:
    """A stretch of steps.

    Attributes:
        last: The last of them.
        step_s: Seconds of the latest of them, at least one.
        columns: Column -> values of all of them, named as in `RunView.steps`; {} when they weren't read.
    """

    last: StepEvent
    step_s: Sequence[float]
    columns: dict[str, Floats]


OtherEvent = (
    RunStarted | PhaseEvent | EpochEvent | PreviewEvent | CheckpointEvent | MessageEvent | RecoveryEvent | RunEnded
)
Told = Steps | OtherEvent


def gathered(events: Iterable[Event], *, with_columns: bool = True) -> Iterator[Told]:
    """Events with their stretches of steps put together."""
    for is_step, stretch in groupby(events, key=lambda event: isinstance(event, StepEvent)):
        if is_step:
            yield _steps([event for event in stretch if isinstance(event, StepEvent)], with_columns=with_columns)
        else:
            yield from (event for event in stretch if not isinstance(event, StepEvent))


def _steps(events: Sequence[StepEvent], *, with_columns: bool) -> Steps:
    columns = {}
    if with_columns:
        columns = {name: _floats([getattr(event, name) for event in events]) for name in OWN_COLUMNS}
        parts = dict.fromkeys(name for event in events for name in event.losses if name not in OWN_COLUMNS)
        columns |= {name: _floats([event.losses.get(name) for event in events]) for name in parts}
    return Steps(events[-1], [event.step_s for event in events[-_STEPS_FOLDED:]], columns)


def _floats(values: Sequence[float | None]) -> Floats:
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite and isn't drawn
        return np.array(values, dtype=np.float64).astype(np.float32)


# --- every line ---


def read_whole(data: bytes) -> tuple[list[Told], int]:
    """All that whole lines say, and how many of them say nothing that is known here."""
    num_lines = data.count(b"\n")
    parts = _parts_of(data)
    if parts is not None:
        step_type, decoder = _decoder_for(parts)
        try:
            items = decoder.decode_lines(data)
        except UNREADABLE:
            items = []
        if len(items) == num_lines:
            return list(_columns_of(items, step_type, parts)), 0
    # A line is damaged, or of another version, or parts of the loss came or went: each by itself.
    events = [event for event in map(decode_event, data.split(b"\n")[:-1]) if event is not None]
    return list(gathered(events)), num_lines - len(events)


def _parts_of(data: bytes) -> tuple[str, ...] | None:
    """Names of the parts of the loss in the first step there is; None when there is none to go by."""
    at = 0 if data.startswith(_STEP_LINE) else data.find(b"\n" + _STEP_LINE) + 1
    first = data[at : data.find(b"\n", at)]
    event = decode_event(first)
    if not isinstance(event, StepEvent) or len(event.losses) > MOST_COLUMNS:
        return None
    are_plain = all(_PLAIN_NAME.fullmatch(name) for name in event.losses)  # JSON writes others with escapes
    return tuple(event.losses) if are_plain else None


@lru_cache(maxsize=16)
def _decoder_for(parts: tuple[str, ...]) -> tuple[type, msgspec.json.Decoder[Any]]:
    """A decoder of events whose steps have these parts of the loss, as fast as it gets.

    Other parts make it fail; one that a step lacks is NaN.
    """
    names = {f"part_{index}": part for index, part in enumerate(parts)}
    fields = [(name, float | None, math.nan) for name in names]
    losses = msgspec.defstruct("Losses", fields, rename=names, forbid_unknown_fields=True, gc=False)
    step = msgspec.defstruct(
        "Step",
        [
            ("time", float), ("step", Count), ("epoch", Count), ("elapsed_s", float), ("loss", float | None),
            ("losses", losses), ("lr", float), ("step_s", float, 0.0), ("data_s", float, 0.0),
        ],
        tag_field="event", tag="step", gc=False,
    )  # fmt: skip
    return step, msgspec.json.Decoder(step | OtherEvent)


def _columns_of(items: list[Any], step_type: type, parts: tuple[str, ...]) -> Iterator[Told]:
    kinds = list(map(type, items))
    others = []
    if kinds.count(step_type) != len(kinds):
        others = [index for index, kind in enumerate(kinds) if kind is not step_type]
    begin = 0
    for end in (*others, len(items)):
        if end > begin:
            yield _stretch(items[begin:end], parts)
        if end < len(items):
            yield items[end]
        begin = end + 1


def _stretch(steps: list[Any], parts: tuple[str, ...]) -> Steps:
    columns = {name: _column(steps, name) for name in OWN_COLUMNS}
    losses = list(map(attrgetter("losses"), steps))
    for index, part in enumerate(parts):
        if part not in OWN_COLUMNS:
            columns[part] = _column(losses, f"part_{index}")
    last = steps[-1]
    event = StepEvent(
        time=last.time, step=last.step, epoch=last.epoch, elapsed_s=last.elapsed_s, loss=last.loss,
        losses={part: getattr(last.losses, f"part_{index}") for index, part in enumerate(parts)},
        lr=last.lr, step_s=last.step_s, data_s=last.data_s,
    )  # fmt: skip
    return Steps(event, [step.step_s for step in steps[-_STEPS_FOLDED:]], columns)


def _column(items: list[Any], name: str) -> Floats:
    values = map(attrgetter(name), items)
    try:
        column = np.fromiter(values, dtype=np.float64, count=len(items))
    except TypeError:  # a null among them
        return _floats([getattr(item, name) for item in items])
    with np.errstate(over="ignore"):
        return column.astype(np.float32)


# --- all but the steps ---


def read_outline(data: bytes) -> tuple[list[Told], int]:
    """What whole lines say, of the steps only where they lead to; and how many say nothing known."""
    starts, are_steps = _lines_of(data)
    latest = np.flatnonzero(are_steps)[-_STEPS_FOLDED:]
    wanted = np.union1d(np.flatnonzero(~are_steps), latest)
    ends = np.append(starts[1:], len(data))
    lines = [data[starts[index] : ends[index]] for index in wanted]
    events = [event for event in map(decode_event, lines) if event is not None]
    return list(gathered(events, with_columns=False)), len(lines) - len(events)


def _lines_of(data: bytes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each line begins, and whether it begins as a step does."""
    content = np.frombuffer(data, dtype=np.uint8)
    starts = np.concatenate(([0], np.flatnonzero(content == ord("\n")) + 1))[:-1]
    prefix = np.frombuffer(_STEP_LINE, dtype=np.uint8)
    are_long = starts + len(prefix) <= len(content)
    are_steps = np.zeros(len(starts), dtype=bool)
    # The tenth character tells most kinds of events apart.
    likely = np.flatnonzero(are_long)
    likely = likely[content[starts[likely] + 10] == prefix[10]]
    are_steps[likely] = (content[starts[likely, None] + np.arange(len(prefix))] == prefix).all(axis=1)
    return starts, are_steps


def read_glance(path: Path) -> list[Told]:
    """What the first and the last lines of a long log say.

    Raises:
        OSError: It can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = os.pread(file.fileno(), min(_HEAD_BYTES, size), 0)
        tail = os.pread(file.fileno(), _TAIL_BYTES, max(len(head), size - _TAIL_BYTES))
    first = head[: head.rfind(b"\n") + 1]
    last = tail[tail.find(b"\n") + 1 : tail.rfind(b"\n") + 1]
    return [*read_outline(first)[0], *read_outline(last)[0]]


def read_sample(path: Path, places: int) -> Steps | None:
    """A few steps at each of some places all over a log; None where there are none.

    Raises:
        OSError: It can't be read.
    """
    events: list[StepEvent] = []
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        for place in range(places):
            data = os.pread(file.fileno(), _SAMPLE_BYTES, size * place // places)
            events += _some_steps(data, events[-1].step if events else -1)
    return _steps(events, with_columns=True) if events else None


def _some_steps(data: bytes, after: int) -> Iterator[StepEvent]:
    lines = [line for line in data.split(b"\n")[1:-1] if line.startswith(_STEP_LINE)]
    for event in map(decode_event, lines[:_SAMPLE_LINES]):
        if isinstance(event, StepEvent) and event.step > after:
            after = event.step
            yield event
