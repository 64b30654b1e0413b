"""The event log: what is written comes back, and what a crash or another version left harms nobody."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import (
    CheckpointEvent,
    Event,
    EventLog,
    EventTail,
    MessageEvent,
    PhaseEvent,
    Preview,
    PreviewEvent,
    RecoveryEvent,
    RunEnded,
    decode_event,
    encode_event,
)
from tests.builders import measured, process_environment, started, stepped

EVERY_TYPE: dict[str, Event] = {
    "started": started(versions={"torch": "2"}, first_step=3),
    "phase": PhaseEvent(phase="evaluating", epoch=1, done=3, total=9),
    "step": stepped(7, losses={"a": 0.1, "b": None}),
    "epoch": measured(1, ap=None, ap_per_class={"mug": 0.5, "laptop": None}),
    "preview": PreviewEvent(epoch=0, previews=(Preview("previews/0000/00.jpg", "a \u202e.jpg", 1, 2),)),
    "checkpoint": CheckpointEvent(kind="best", path="checkpoints/best.pt", epoch=0, step=4),
    "message": MessageEvent(level="warning", text="line\nbreak and \x1b"),
    "recovery": RecoveryEvent(
        kind="discarded step", text="why", epoch=0, step=4, images=("a.jpg",), losses={"a": None}, replay="replay/4.pt"
    ),
    "ended": RunEnded(outcome="failed", reason="why", cause="diverged", elapsed_s=2.5),
}


def message(text: str) -> MessageEvent:
    return MessageEvent(level="note", text=text)


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, MessageEvent)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.mark.parametrize("tag", EVERY_TYPE)
def test_every_event_comes_back_as_it_was(tag: str, path: Path) -> None:
    event = EVERY_TYPE[tag]
    with EventLog(path) as log:
        log.append(event)
    assert EventTail(path).read() == [event]
    assert json.loads(path.read_bytes())["event"] == tag


def test_every_event_type_is_among_them() -> None:
    assert {type(event) for event in EVERY_TYPE.values()} == set(Event.__args__)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
def test_a_number_that_json_lacks_becomes_null(number: float) -> None:
    line = encode_event(stepped(0, loss=number, losses={"a": number}))
    assert json.loads(line, parse_constant=pytest.fail)["losses"] == {"a": None}
    back = decode_event(line)
    assert back is not None
    assert back.loss is None


def test_an_event_is_one_line_and_knows_when_it_happened() -> None:
    line = encode_event(message("two\nlines\r\n\u2028"))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["time"] > 1.7e9


@given(st.binary(max_size=200))
def test_no_bytes_can_break_the_reader(line: bytes) -> None:
    assert decode_event(line) is None or line.strip()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b'{"event":"from the future","time":1}', id="unknown type"),
        pytest.param(b'{"event":"message","time":1,"level":"note"}', id="field missing"),
        pytest.param(b'{"event":"message","time":1,"level":"shout","text":""}', id="unknown word"),
        pytest.param(b'{"event":"message","time":"x","level":"note","text":""}', id="wrong type"),
        pytest.param(b'{"event":"message","time":1,"level":"note","text":"\xff"}', id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested deeply"),
    ],
)
def test_a_line_that_means_nothing_is_skipped(line: bytes, path: Path) -> None:
    path.write_bytes(line + b"\n" + encode_event(message("after")))
    assert texts(EventTail(path).read_all()) == ["after"]


def test_fields_of_a_newer_version_are_skipped() -> None:
    event = decode_event(b'{"event":"message","time":1,"level":"note","text":"hello","colour":"blue"}')
    assert event == MessageEvent(time=1, level="note", text="hello")


# --- the tail ---


def test_reading_a_missing_or_empty_log_gives_nothing(path: Path) -> None:
    tail = EventTail(path)
    assert tail.read() == []
    path.touch()
    assert tail.read() == []
    assert tail.restarts == 0


def test_a_half_line_is_left_until_it_is_whole(path: Path) -> None:
    line = encode_event(message("second"))
    path.write_bytes(encode_event(message("first")) + line[:10])
    tail = EventTail(path)
    assert texts(tail.read()) == ["first"]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(line[10:])
    assert texts(tail.read()) == ["second"]


def test_each_event_is_read_once(path: Path) -> None:
    tail = EventTail(path)
    with EventLog(path) as log:
        for text in "abc":
            log.append(message(text))
            assert texts(tail.read()) == [text]
    assert tail.read() == []


def test_a_replaced_log_is_read_from_its_start_and_told(path: Path) -> None:
    tail = EventTail(path)
    path.write_bytes(encode_event(message("old")))
    assert texts(tail.read()) == ["old"]
    other = path.with_name("other")
    other.write_bytes(encode_event(message("new")) + encode_event(message("newer")))
    other.replace(path)
    assert texts(tail.read()) == ["new", "newer"]
    assert tail.restarts == 1


def test_a_log_cut_short_in_place_is_read_from_its_start(path: Path) -> None:
    path.write_bytes(encode_event(message("one")) + encode_event(message("two")))
    tail = EventTail(path)
    tail.read()
    path.write_bytes(encode_event(message("0")))
    assert texts(tail.read()) == ["0"]
    assert tail.restarts == 1


def test_read_all_goes_on_behind_a_chunk_that_means_nothing(path: Path) -> None:
    path.write_bytes(b"{}\n" * 50 + encode_event(message("behind")))
    assert texts(EventTail(path, chunk_bytes=100).read_all()) == ["behind"]


def test_read_all_takes_what_read_gives_in_pieces(path: Path) -> None:
    path.write_bytes(b"".join(encode_event(message(str(number))) for number in range(30)))
    assert len(EventTail(path, chunk_bytes=200).read()) < 30
    assert texts(EventTail(path, chunk_bytes=200).read_all()) == [str(number) for number in range(30)]


# --- the log ---


@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        pytest.param(b'{"event":"mess', ["whole"], id="half a line"),
        pytest.param(b"\0" * 100, ["whole"], id="zeros after a power cut"),
        pytest.param(b"", ["whole"], id="nothing torn"),
    ],
)
def test_a_torn_tail_is_cut_off_on_opening(path: Path, torn: bytes, kept: list[str]) -> None:
    path.write_bytes(encode_event(message("whole")) + torn)
    with EventLog(path) as log:
        log.append(message("next"))
    assert texts(EventTail(path).read()) == [*kept, "next"]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_log_of_nothing_but_a_torn_line_is_emptied(path: Path) -> None:
    path.write_bytes(b'{"event":')
    with EventLog(path) as log:
        assert log.sync() == 0


def test_sync_tells_the_size(path: Path) -> None:
    with EventLog(path) as log:
        log.append(message("a"))
        assert log.sync() == path.stat().st_size > 0


def test_a_line_that_the_disk_took_only_half_of_is_an_error(path: Path) -> None:
    """A limit on the file's size stands in for a full disk: both make write() fall short."""
    program = (
        "import signal, resource, sys; from pathlib import Path\n"
        "from engine.events import EventLog, MessageEvent\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "log = EventLog(Path(sys.argv[1]))\n"
        "for _ in range(2):\n"
        "    try: log.append(MessageEvent(level='note', text='x' * 70))\n"
        "    except OSError as error: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=process_environment(), check=False)
    assert done.returncode == 7
