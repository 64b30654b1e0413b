"""One go of `engine predict`: pictures, videos, streams and a watched folder, through a model, into files.

A picture that can't be read is remembered and passed over. Ctrl-C ends where it is; all that was found is kept.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from engine.errors import DataError, Problem
from engine.prediction.ahead import Ahead, load_ahead, load_pixels
from engine.prediction.apply import Applier
from engine.prediction.choices import Choices
from engine.prediction.inputs import Inputs, Picture
from engine.prediction.saving import Saver, Seen, drawn
from engine.prediction.video import Frame, VideoWriter, read_stream, read_video, shown_source, video_facts
from engine.prediction.watching import POLL_S, Arrivals

T = TypeVar("T")

_STREAM_FPS = 25.0


@dataclass(slots=True)
class Tally:
    """What a go came to.

    Attributes:
        num_images: Pictures and frames that were looked at.
        objects: Class name -> objects found.
        images: Class name -> pictures that show it.
        problems: Pictures and videos that couldn't be read.
        num_dropped: Frames of cameras that came too fast.
        interrupted: Ctrl-C ended something that had an end of its own.
    """

    num_images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    num_dropped: int = 0
    interrupted: bool = False

    def add(self, plain: dict[str, Any]) -> None:
        """Count a picture."""
        self.num_images += 1
        labels = [one["label"] for one in plain["detections"]]
        self.objects.update(labels)
        self.images.update(set(labels))


@dataclass(slots=True)
class Job:
    """Applies a model to what a person named.

    Attributes:
        applier: The model.
        choices: What is wanted of its findings.
        saver: Where they go.
        every: Look at every so-manieth frame of videos and streams.
        on_seen: Told each picture's findings as plain values.
        on_progress: Told (done, of how many or 0, in which source) now and then.
    """

    applier: Applier
    choices: Choices
    saver: Saver
    every: int = 1
    on_seen: Callable[[dict[str, Any]], None] = lambda _: None
    on_progress: Callable[[int, int, str], None] = lambda *_: None
    tally: Tally = field(default_factory=Tally)

    def run(self, inputs: Inputs) -> None:
        """Look at everything once; streams until they end or Ctrl-C."""
        try:
            self._pictures(inputs.pictures)
            for path in inputs.videos:
                self._video(path)
        except KeyboardInterrupt:
            self.tally.interrupted = True
            return
        for word in inputs.streams:
            self._stream(word)

    def watch(self, arrivals: Arrivals, folder: Path) -> None:
        """Look at what arrives in a folder until Ctrl-C."""
        path = self.saver.outputs.free_name(folder, folder.resolve().name or "watched", ".jsonl")
        with path.open("w", encoding="utf-8") as lines:
            try:
                while True:
                    for picture in arrivals.look():
                        self._arrived(picture, arrivals, lines)
                    self.on_progress(self.tally.num_images, 0, str(folder))
                    time.sleep(POLL_S)
            except KeyboardInterrupt:
                return

    # --- pictures ---

    def _pictures(self, pictures: Sequence[Picture]) -> None:
        size = self.applier.batch_size
        loaded = load_ahead(pictures, ahead=2 * size)
        for done, some in _in_groups(loaded, size):
            whole: list[tuple[Picture, Any]] = []
            for picture, pixels in some:
                if isinstance(pixels, DataError):
                    self.tally.problems.extend(map(_without_recipe, pixels.problems))
                else:
                    whole.append((picture, pixels))
            found = self.applier.apply([pixels for _, pixels in whole], self.choices)
            for (picture, pixels), one in zip(whole, found, strict=True):
                self._tell(self.saver.picture(Seen(picture, pixels, one)))
            self.on_progress(done, len(pictures), "")

    def _arrived(self, picture: Picture, arrivals: Arrivals, lines: TextIO) -> None:
        pixels = load_pixels(picture)
        if isinstance(pixels, DataError):
            if arrivals.is_hopeless(picture):
                self.tally.problems.extend(map(_without_recipe, pixels.problems))
            return
        [found] = self.applier.apply([pixels], self.choices)
        plain = self.saver.picture(Seen(picture, pixels, found), remember=False)
        arrivals.done(picture)
        _append(lines, plain)
        self._tell(plain)

    def _tell(self, plain: dict[str, Any]) -> None:
        self.tally.add(plain)
        self.on_seen(plain)

    # --- videos and streams ---

    def _video(self, path: Path) -> None:
        try:
            facts = video_facts(path)
        except DataError as error:
            self.tally.problems.extend(error.problems)
            return
        frames = Ahead(lambda: read_video(path, self.every), depth=2 * self.applier.batch_size)
        total, fps = -(-facts.num_frames // self.every), facts.fps / self.every
        self._frames(path, frames, stem=path.stem, fps=fps, total=total, size=self.applier.batch_size)

    def _stream(self, word: str) -> None:
        frames = Ahead(lambda: read_stream(word, self.every), depth=1, newest=True)
        address = shown_source(word)
        stem = re.sub(r"[^\w]+", "-", address.partition("://")[2] or address)[:40].strip("-") or "stream"
        try:
            self._frames(Path(stem), frames, stem=stem, fps=_STREAM_FPS, total=0, size=1)
        except KeyboardInterrupt:
            return  # nothing else ends a camera
        finally:
            self.tally.num_dropped += frames.num_dropped

    def _frames(self, source: Path, frames: Ahead[Frame], *, stem: str, fps: float, total: int, size: int) -> None:
        outputs = self.saver.outputs
        lines_path = outputs.free_name(source, stem, ".jsonl")
        writer = VideoWriter(outputs.free_name(source, stem, ".mp4"), fps) if "pictures" in outputs.forms else None
        num_frames = 0
        try:
            with lines_path.open("w", encoding="utf-8") as lines:
                for num_frames, some in _in_groups(iter(frames), size):
                    found = self.applier.apply([frame.pixels for frame in some], self.choices)
                    for frame, one in zip(some, found, strict=True):
                        self._one_frame(frame, one, stem, source, writer, lines)
                    self.on_progress(num_frames, total, stem)
        except DataError as error:
            self.tally.problems.extend(error.problems)
        finally:
            frames.close()
            if writer is not None:
                writer.close()
            self.saver.videos.append({"video": str(source), "num_frames": num_frames, "detections": lines_path.name})

    def _one_frame(
        self, frame: Frame, found: Any, stem: str, source: Path, writer: VideoWriter | None, lines: TextIO
    ) -> None:
        picture = Picture(source, f"{stem}/{frame.index:06d}.jpg")
        seen = Seen(picture, frame.pixels, found, frame.index, frame.time_s)
        plain = self.saver.frame(seen)
        _append(lines, plain)
        if writer is not None:
            writer.write(np.asarray(drawn(seen, self.saver.class_names)), frame.time_s)
        self._tell(plain)


def _in_groups(items: Iterator[T], size: int) -> Iterator[tuple[int, list[T]]]:
    """Groups of up to so many items, each with how many there were so far."""
    done = 0
    while group := list(islice(items, size)):
        done += len(group)
        yield done, group


def _append(lines: TextIO, plain: dict[str, Any]) -> None:
    lines.write(json.dumps(plain) + "\n")
    lines.flush()


def _without_recipe(problem: Problem) -> Problem:
    """The problem of a picture that no recipe is about: what to do is told without its keys."""
    return replace(problem, fix=problem.fix.partition(", or set dataset.")[0])
