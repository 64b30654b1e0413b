"""Videos made, read and drawn again; a stream over a real connection."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import DataError, EngineError
from engine.prediction import video
from engine.prediction.ahead import Ahead
from engine.prediction.video import VideoWriter, read_stream, read_video, require_video, video_facts

SIZE = (48, 64)  # height, width


def write_clip(path: Path, num_frames: int = 6, fps: float = 10.0, size: tuple[int, int] = SIZE) -> Path:
    """A video that grows brighter from frame to frame."""
    with VideoWriter(path, fps) as writer:
        for index in range(num_frames):
            writer.write(np.full((*size, 3), 30 * index % 256, np.uint8), index / fps)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


def test_what_was_written_is_read_again(clip: Path) -> None:
    frames = list(read_video(clip))
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [frame.pixels.mean() for frame in frames] == pytest.approx([0, 30, 60, 90, 120, 150], abs=4)
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]
    assert video_facts(clip).fps == pytest.approx(10)


def test_every_second_frame_keeps_its_number_and_time(clip: Path) -> None:
    frames = list(read_video(clip, every=2))
    assert [(frame.index, round(frame.time_s, 3)) for frame in frames] == [(0, 0.0), (2, 0.2), (4, 0.4)]


def test_odd_sizes_lose_a_line(tmp_path: Path) -> None:
    [frame] = read_video(write_clip(tmp_path / "odd.mp4", 1, size=(33, 51)))
    assert frame.pixels.shape == (32, 50, 3)


def test_a_writer_without_frames_leaves_nothing(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "empty.mp4", 10).close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"no video at all")
    for read in (video_facts, lambda path: list(read_video(path))):
        with pytest.raises(DataError, match=r"noise\.mp4.*X112"):
            read(path)


def test_a_video_that_breaks_off_gives_what_it_had(tmp_path: Path) -> None:
    cut = write_clip(tmp_path / "cut.mp4", 60)
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    frames = read_video(cut)
    assert next(frames).index == 0
    with pytest.raises(DataError, match=r"X112 breaks off after \d+ "):
        list(frames)


def test_a_video_with_its_end_cut_off(tmp_path: Path) -> None:
    """As cameras write them: the header promises frames that aren't there."""
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seed in range(30):
            pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    frames = read_video(whole)
    assert next(frames).index == 0
    with pytest.raises(DataError, match=r"X112 breaks off after \d+ "):
        list(frames)


def test_without_pyav_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_video()
    monkeypatch.setattr(video, "av", None)
    with pytest.raises(EngineError, match=r"X111.*detection-engine\[video\]"):
        require_video()


@pytest.fixture
def served(clip: Path) -> Iterator[str]:
    """The clip's address on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(clip.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/clip.mp4"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_is_read_to_its_end(served: str) -> None:
    frames = list(read_stream(served, every=3))
    assert [frame.index for frame in frames] == [0, 3]


@pytest.mark.parametrize("word", ["rtsp://127.0.0.1:9/nothing", "camera:/dev/nothing-there"])
def test_a_stream_that_isnt_there(word: str) -> None:
    with pytest.raises(DataError, match="X113"):
        list(read_stream(word))


def test_passwords_are_neither_shown_nor_written() -> None:
    with pytest.raises(DataError, match=r"rtsp://127\.0\.0\.1:9/1: X113") as raised:
        list(read_stream("rtsp://admin:secret@127.0.0.1:9/1"))
    assert "secret" not in str(raised.value)


def test_reading_ahead_drops_what_is_late_only_where_asked() -> None:
    patient = Ahead(lambda: range(50), depth=2)
    assert list(patient) == list(range(50))
    assert patient.num_dropped == 0
    hasty = Ahead(lambda: range(50), depth=1, newest=True)
    while hasty.num_dropped < 30:
        pass
    assert sorted(got := list(hasty)) == got
    assert got[-1:] == [49]
    assert hasty.num_dropped + len(got) == 50


def test_reading_ahead_hands_errors_on_and_ends_when_closed() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError.of("X112", "clip.mp4", "breaks off", "mend it")

    items = iter(Ahead(broken, depth=2))
    assert next(items) == 1
    with pytest.raises(DataError, match="breaks off"):
        next(items)
    endless = Ahead(lambda: iter(int, 1), depth=2)
    endless.close()
    assert not endless._thread.is_alive()
