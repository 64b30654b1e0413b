"""Whatever a log holds and however it is read, it says what it says line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from engine.events import Event, EventTail, RunStarted, StepEvent, decode_event, encode_event
from tests.tui.build import Course, events_of
from tui.eventreading import read_glance, read_outline, read_sample, read_whole
from tui.view import RunView, apply, apply_told, outlined


def step(number: int, losses: dict[str, float | None] | None = None, loss: float | None = 1.5) -> StepEvent:
    return StepEvent(
        time=float(number), step=number, epoch=number // 7, elapsed_s=number * 0.5, loss=loss, losses=losses or {},
        lr=0.01, step_s=0.5, data_s=0.1,
    )  # fmt: skip


COURSE = Course(epochs=2, steps_an_epoch=1)
OTHERS: list[Event] = [event for event in events_of(COURSE) if not isinstance(event, StepEvent)]
RESUMED = RunStarted(
    time=1, attempt=2, device="cpu", num_train_images=1, num_val_images=1, num_epochs=3, num_steps=99, class_names=(),
    first_step=3,
)  # fmt: skip

ODD_LINES = [
    b"\n",
    b"{}\n",
    b'{"event":"dream","step":1}\n',
    b'{"event":"step","step":-1}\n',
    b"\xff\xfe\n",
    b"\0" * 40 + b"\n",
    b'{"event":"step","step":3,"losses":{"a":1\n',
    b'{"event":"step","step":1' + b"0" * 400 + b"}\n",
    b'{"event":"step","x":' + b"[" * 5000 + b"\n",
    encode_event(step(4)).replace(b":", b": "),
    b'{"event":"step","step":1,"x":[1\n',
]
losses = st.dictionaries(
    st.sampled_from(["loss_a", "loss_b", "loss", 'odd "name"', "\x1b", "", "ä"]),
    st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3,
)  # fmt: skip
steps = st.builds(
    lambda number, parts, loss: encode_event(step(number, parts, loss)),
    st.integers(0, 30), losses, st.none() | st.floats(-1e300, 1e300),
)  # fmt: skip
lines = st.one_of(
    st.lists(st.integers(0, 30), min_size=1, max_size=20).map(
        lambda numbers: b"".join(encode_event(step(number, {"loss_a": 0.5})) for number in sorted(set(numbers)))
    ),
    steps,
    st.sampled_from([*OTHERS, RESUMED]).map(encode_event),
    st.sampled_from(ODD_LINES),
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b" ") + b"\n"),
)  # fmt: skip


def line_by_line(data: bytes) -> RunView:
    view = RunView("0001-a")
    for line in data.split(b"\n")[:-1]:
        event = decode_event(line)
        if event is not None:
            view = apply(view, event)
    return view


def assert_same(view: RunView, expected: RunView) -> None:
    """Equal but for the running mean of seconds a step, which forgets, and steps' own columns compared by value."""
    step_s = expected.progress.step_s
    assert view.progress.step_s == (None if step_s is None else pytest.approx(step_s, rel=1e-3))
    view = replace(view, progress=replace(view.progress, step_s=step_s))
    assert set(view.steps.names) == set(expected.steps.names)
    for name in expected.steps.names:
        assert_array_equal(view.steps.column(name), expected.steps.column(name))
    assert replace(view, steps=expected.steps) == expected


@given(st.lists(lines, max_size=12).map(b"".join))
@settings(deadline=None)
def test_read_whole_is_what_the_lines_say(data: bytes) -> None:
    told, num_unknown = read_whole(data)
    assert_same(apply_told(RunView("0001-a"), told), line_by_line(data))
    assert num_unknown == sum(decode_event(line) is None for line in data.split(b"\n")[:-1])


@given(st.lists(lines, max_size=12).map(b"".join), st.integers(1, 400))
@settings(deadline=None)
def test_read_outline_is_what_the_lines_say_but_for_the_steps(data: bytes, cut: int) -> None:
    cut = data.find(b"\n", cut) + 1
    view = RunView("0001-a")
    for piece in (data[:cut], data[cut:]):
        view = outlined(apply_told(view, read_outline(piece)[0]))
    expected = outlined(line_by_line(data))
    view = replace(view, journal_steps=expected.journal_steps)  # of an outline they are guesses
    if view.progress.step_s is not None and expected.progress.step_s is not None:
        view = replace(view, progress=replace(view.progress, step_s=expected.progress.step_s))
    assert_same(view, expected)


def test_a_long_stretch_keeps_the_pace_of_its_end() -> None:
    events = list(events_of(Course(epochs=2, steps_an_epoch=900)))
    data = b"".join(map(encode_event, events))
    expected = line_by_line(data)
    assert_same(apply_told(RunView("0001-a"), read_whole(data)[0]), expected)
    outline = outlined(apply_told(RunView("0001-a"), read_outline(data)[0]))
    assert_same(replace(outline, journal_steps=outlined(expected).journal_steps), outlined(expected))


def test_a_part_that_comes_later_is_a_column() -> None:
    data = b"".join(map(encode_event, [step(0, {"a": 1.0}), step(1, {"a": 1.0, "b": 2.0}), step(2, {"b": 3.0})]))
    table = apply_told(RunView("0001-a"), read_whole(data)[0]).steps
    assert_array_equal(table.column("b"), [float("nan"), 2, 3])
    assert_array_equal(table.column("a"), [1, 1, float("nan")])


def test_the_ends_of_a_log_tell_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    course = Course(epochs=5, steps_an_epoch=400)
    data = b"".join(map(encode_event, events_of(course)))
    path.write_bytes(data + b'{"event":"torn')
    glance = apply_told(RunView("0001-a"), read_glance(path))
    whole = line_by_line(data)
    assert glance.progress.step == whole.progress.step == 2000
    assert glance.progress.ap50 == whole.progress.ap50
    assert glance.started == whole.started
    assert glance.epochs[-1] == whole.epochs[-1]


def test_a_sample_has_steps_from_all_over_the_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(map(encode_event, events_of(Course(epochs=5, steps_an_epoch=400)))))
    sample = read_sample(path, 10)
    assert sample is not None
    numbers = sample.columns["step"]
    assert len(numbers) == 30
    assert numbers[0] < 20
    assert 1750 < numbers[-1] < 2000
    assert (numbers[1:] > numbers[:-1]).all()
    path.write_bytes(b"x" * 100_000)
    assert read_sample(path, 10) is None


def test_a_line_longer_than_a_piece_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 5000 + b"\n" + encode_event(step(3)))
    events = EventTail(path, chunk_bytes=1000).read_all()
    assert [msgspec.structs.asdict(event)["step"] for event in events] == [3]
