"""Frames of videos, cameras and streams, and videos of drawn frames; all through PyAV.

PyAV brings FFmpeg in its wheel, for Linux, macOS and Windows; it is an extra, because most people detect in
photos. Sound isn't carried over.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, EngineError, Where
from engine.prediction.inputs import camera_of, is_stream

try:
    import av
except ImportError:  # an extra; see require_video
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame as AvFrame

Pixels = NDArray[np.uint8]

_TICKS_A_SECOND = 60_000  # a multiple of the usual frame rates; MPEG-4 knows none above 65,535
_DEFAULT_FPS = 25.0
# Seconds of video that are written in one piece, and lost if the machine dies before it is whole.
_FRAGMENT_S = 2
# Share of the frames a file promises that may be missing: some count those before the first picture.
_MISSING_SHARE = 0.05
_OPEN_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 20.0
# A stream that breaks off is opened again so often before it is given up.
_RECONNECTS = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: Zero-based number within the video, also where some are passed over.
        time_s: Seconds since the first.
        pixels: (H, W, 3) RGB, turned as the video says.
    """

    index: int
    time_s: float
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video file says of itself.

    Attributes:
        num_frames: How many it should have; 0 when it doesn't say.
        fps: Frames a second.
    """

    num_frames: int
    fps: float


def require_video() -> None:
    """Refuse videos where PyAV isn't installed.

    Raises:
        EngineError: It isn't (X111).
    """
    if av is None:
        raise EngineError.of(
            "X111", "", "videos, cameras and streams need PyAV, which isn't installed",
            'pip install "detection-engine[video]", or pip install av',
        )


def video_facts(path: Path) -> VideoFacts:
    """What a video file says of itself.

    Raises:
        DataError: It isn't a video that can be read (X112).
    """
    with _opened(str(path)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or _DEFAULT_FPS)
        length_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        return VideoFacts(stream.frames or round(length_s * fps), fps)


def read_video(path: Path, every: int = 1) -> Iterator[Frame]:
    """The frames of a video file, every so many.

    Raises:
        DataError: It can't be read, or not to its end (X112); the frames before were given.
    """
    yield from _frames(str(path), every)


def read_stream(word: str, every: int = 1) -> Iterator[Frame]:
    """The frames of a camera or a stream as they come; a stream that breaks off is opened again.

    Args:
        word: "camera:0", "camera:/dev/video2" or a URL.
        every: Give one of so many.

    Raises:
        DataError: It can't be opened, or breaks off again and again (X113).
    """
    started = time.monotonic()
    failures = index = 0
    while True:
        try:
            for frame in _frames(word, every):
                failures = 0
                yield Frame(index, time.monotonic() - started, frame.pixels)
                index += every
            if not word.startswith(("rtsp", "camera")):
                return  # a file on a server has an end
            raise _unreadable(word, "the stream ended")
        except DataError as error:
            failures += 1
            if index == 0 or failures > _RECONNECTS:
                raise DataError.of(
                    "X113", Where(item=shown_source(word)), f"the stream can't be read: {error.problems[0].found}",
                    "look whether it plays elsewhere, and whether its address, user and password are right",
                ) from error
            time.sleep(min(2.0**failures, 15.0))


def _frames(word: str, every: int) -> Iterator[Frame]:
    with _opened(word) as container:
        container.streams.video[0].thread_type = "AUTO"
        first_s: float | None = None
        index = -1
        try:
            for index, frame in enumerate(container.decode(video=0)):
                if index % every:
                    continue
                now_s = frame.time if frame.time is not None else index / _DEFAULT_FPS
                first_s = now_s if first_s is None else first_s
                yield Frame(index, max(0.0, now_s - first_s), _pixels(frame))
        except (av.FFmpegError, OSError) as error:
            raise _unreadable(word, f"breaks off after {index + 1} frames: {_words(error)}") from error
        promised = container.streams.video[0].frames
        if index < 0:
            raise _unreadable(word, "holds no frames")
        if index + 1 < promised * (1 - _MISSING_SHARE) - 1:
            raise _unreadable(word, f"breaks off after {index + 1} of {promised} frames")


def _pixels(frame: AvFrame) -> Pixels:
    pixels = frame.to_ndarray(format="rgb24")
    # Phones note how they were held; PyAV tells degrees anticlockwise.
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def _opened(word: str) -> InputContainer:
    place, form, options = _how_to_open(word)
    try:
        container = av.open(place, format=form, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(word, f"can't be opened: {_words(error)}") from error
    if not container.streams.video:
        container.close()
        raise _unreadable(word, "holds no video")
    return container


def _how_to_open(word: str) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg opens, in which format, with which options."""
    camera = camera_of(word)
    if camera is None:
        return word, None, {"rtsp_transport": "tcp"} if word.startswith("rtsp") else {}
    if sys.platform == "darwin":
        return camera, "avfoundation", {"framerate": "30"}
    return f"/dev/video{camera}" if camera.isdecimal() else camera, "v4l2", {}


def shown_source(word: str) -> str:
    """A stream's address as it may be shown and written: without user and password."""
    return re.sub(r"://[^/]*@", "://", word)


def _unreadable(word: str, found: str) -> EngineError:
    where = Where(item=shown_source(word)) if is_stream(word) else Where(word)
    return DataError.of("X112", where, found, "look whether it plays elsewhere, or convert it to MP4 (H.264)")


def _words(error: Exception) -> str:
    if isinstance(error, av.ExitError):  # what FFmpeg says when its time is up
        return "no answer in time"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()


class VideoWriter:
    """Writes an MP4 under a hidden name and gives it its own when closed; what is there before stays till then.

    Args:
        path: The file; its folder is made when missing.
        fps: About how many frames a second, for players; each frame carries its own time.
    """

    def __init__(self, path: Path, fps: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._fresh = path, path.with_name(f".{path.name}.new")
        # In fragments, so that what was written plays even if nobody comes to close the file.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self._container = av.open(str(self._fresh), "w", format="mp4", options=options)
        self._fps = Fraction(fps if fps > 0 else _DEFAULT_FPS).limit_denominator(1001)
        self._stream: Any = None
        self._last_tick = -1

    def write(self, pixels: Pixels, time_s: float) -> None:
        """Append a frame.

        Args:
            pixels: (H, W, 3) RGB, of the first frame's size.
            time_s: When it is shown; after the frame before.
        """
        even = np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
        if self._stream is None:
            self._stream = self._started(even.shape[1], even.shape[0])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        self._last_tick = max(self._last_tick + 1, round(time_s * _TICKS_A_SECOND))
        frame.pts, frame.time_base = self._last_tick, Fraction(1, _TICKS_A_SECOND)
        self._container.mux(self._stream.encode(frame))

    def _started(self, width: int, height: int) -> Any:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = self._container.add_stream(codec, rate=self._fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS_A_SECOND)
        stream.codec_context.gop_size = max(1, round(_FRAGMENT_S * self._fps))
        if codec == "libx264":
            stream.options = {"crf": "21", "preset": "veryfast"}
        else:
            stream.bit_rate = 4_000_000
        return stream

    def close(self) -> None:
        """Finish the file and give it its name; nothing is left where no frame was written."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._stream is None:
            self._fresh.unlink(missing_ok=True)
        else:
            self._fresh.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
