"""Detect objects with an exported model. Needs onnxruntime, numpy and Pillow, nothing else.

    python detect.py photo.jpg photos/          a table of what is in them
    python detect.py photos/ --save drawn/      the same, and the photos with boxes drawn on them
    python detect.py --camera                   a camera, until Ctrl-C (needs picamera2 or opencv-python)
    python detect.py photo.jpg --json           one JSON object a line

From Python: `Model("model.onnx").detect(pixels)`. Exit code 1 when a photo couldn't be read, 2 when nothing
could be done at all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
OUTPUTS = ("boxes_xyxy", "labels", "scores")
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")


class ModelError(Exception):
    """The file is no model of ours, or nothing can be done with what was asked; says why."""


@dataclass(frozen=True)
class Found:
    """What was found in one photo, best first.

    Attributes:
        boxes_xyxy: (N, 4) float32, in the photo's pixels. N may be 0.
        labels: (N,) int64, places in the model's class names.
        scores: (N,) float32 in [0, 1].
    """

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def above(self, threshold: float) -> Found:
        """Those with at least a score."""
        keep = self.scores >= threshold
        return Found(self.boxes_xyxy[keep], self.labels[keep], self.scores[keep])


class Model:
    """An exported detector.

    Args:
        path: The ONNX file.
        threads: Threads to compute with; None for as many as there are cores.

    Raises:
        ModelError: The file is missing, damaged, or not one of ours.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        if not Path(path).is_file():
            raise ModelError(f"{path}: there is no such file")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no common base
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{path}: the file is damaged or not an ONNX model: {reason}") from error
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        outputs = tuple(output.name for output in self._session.get_outputs())
        if outputs != OUTPUTS or "class_names" not in self.metadata:
            raise ModelError(f"{path}: an ONNX model, but not one that `engine export` wrote")
        self.class_names: list[str] = json.loads(self.metadata["class_names"])
        self.threshold = float(self.metadata.get("threshold", "0.5"))

    def detect(self, pixels: NDArray[np.uint8]) -> Found:
        """Objects in one photo.

        Args:
            pixels: (H, W, 3) uint8 RGB, of any size, the right way up.
        """
        boxes, labels, scores = self._session.run(list(OUTPUTS), {"image": np.ascontiguousarray(pixels)})
        return Found(boxes, labels, scores)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """A picture file as (H, W, 3) uint8 RGB, turned as its camera says.

    Raises:
        OSError: The file can't be read or is no picture.
    """
    try:
        with Image.open(path) as photo:
            return np.asarray(ImageOps.exif_transpose(photo).convert("RGB"), dtype=np.uint8)
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


def photos_in(names: list[Path]) -> Iterator[Path]:
    """The picture files that were named, folders searched.

    Raises:
        ModelError: There is nothing by a name.
    """
    for name in names:
        if name.is_dir():
            yield from sorted(path for path in name.rglob("*") if path.suffix.lower() in SUFFIXES)
        elif name.is_file():
            yield name
        else:
            raise ModelError(f"{name}: no such file or folder")


def camera_frames(index: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures of a camera, (H, W, 3) uint8 RGB: a Raspberry Pi's by picamera2, others by OpenCV.

    Raises:
        ModelError: Neither library is installed, or there is no such camera.
    """
    try:
        from picamera2 import Picamera2  # noqa: PLC0415 - only where a camera is asked for
    except ImportError:
        yield from _opencv_frames(index)
        return
    camera = Picamera2(index)
    # What libcamera calls BGR888 has red first in memory.
    camera.configure(camera.create_video_configuration({"format": "BGR888", "size": (1280, 720)}))
    camera.start()
    try:
        while True:
            yield np.asarray(camera.capture_array(), dtype=np.uint8)
    finally:
        camera.stop()


def _opencv_frames(index: int) -> Iterator[NDArray[np.uint8]]:
    try:
        import cv2  # noqa: PLC0415 - only where a camera is asked for
    except ImportError:
        raise ModelError("a camera needs picamera2 (Raspberry Pi: `sudo apt install python3-picamera2`) "
                         "or OpenCV (`pip install opencv-python-headless`)") from None
    camera: Any = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise ModelError(f"there is no camera {index}")
        while (answer := camera.read())[0]:
            yield np.asarray(answer[1][:, :, ::-1], dtype=np.uint8)
    finally:
        camera.release()


def drawn(pixels: NDArray[np.uint8], found: Found, class_names: list[str]) -> Image.Image:
    """The photo with boxes drawn on it."""
    photo = Image.fromarray(pixels)
    draw = ImageDraw.Draw(photo)
    stroke = max(2, max(photo.size) // 320)
    for box, label, score in zip(found.boxes_xyxy.tolist(), found.labels.tolist(), found.scores.tolist()):
        colour = COLOURS[label % len(COLOURS)]
        draw.rectangle(box, outline=colour, width=stroke)
        words, place = f"{class_names[label]} {score:.2f}", (box[0] + stroke, max(0, box[1] - 12))
        draw.rectangle(draw.textbbox(place, words), fill=colour)
        draw.text(place, words, fill="#000000")
    return photo


def told(name: str, found: Found, class_names: list[str], seconds: float, *, as_json: bool) -> str:
    """One photo's detections as text."""
    rows = list(zip(found.labels.tolist(), found.scores.tolist(), found.boxes_xyxy.tolist()))
    if as_json:
        return json.dumps({"image": name, "ms": round(1000 * seconds, 1), "detections": [
            {"label": class_names[label], "score": round(score, 4), "box_xyxy": [round(value, 1) for value in box]}
            for label, score, box in rows
        ]})
    lines = [f"{name}: {len(rows)} found in {1000 * seconds:.0f} ms"]
    lines += [f"  {class_names[label]:<20} {score:.2f}  {' '.join(f'{value:6.0f}' for value in box)}"
              for label, score, box in rows]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Answer a command line; returns the exit code."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Detect objects in photos or in a camera's pictures.")
    parser.add_argument("photos", nargs="*", type=Path, help="picture files and folders")
    parser.add_argument("--camera", nargs="?", type=int, const=0, metavar="N", help="look through a camera instead")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="end after so many pictures of the camera")
    parser.add_argument("--model", type=Path, default=here / "model.onnx", help="the model (default: beside this file)")
    parser.add_argument("--threshold", type=float, help="least score shown (default: the model's own)")
    parser.add_argument("--save", type=Path, metavar="DIR", help="draw the boxes and save the pictures there")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--threads", type=int, help="threads to compute with (default: all cores)")
    asked = parser.parse_args(arguments)
    if not asked.photos and asked.camera is None:
        parser.error("name photos or folders, or --camera")
    try:
        return _answer(asked, Model(asked.model, asked.threads))
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read the table (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer(asked: argparse.Namespace, model: Model) -> int:
    threshold = model.threshold if asked.threshold is None else asked.threshold
    failed = 0
    for name, pixels in _sources(asked):
        if isinstance(pixels, OSError):
            print(f"error: {name}: {pixels}", file=sys.stderr)
            failed += 1
            continue
        start = time.perf_counter()
        found = model.detect(pixels).above(threshold)
        seconds = time.perf_counter() - start
        print(told(name, found, model.class_names, seconds, as_json=asked.json), flush=True)
        if asked.save:
            _save(drawn(pixels, found, model.class_names), asked.save, Path(name))
    return 1 if failed else 0


def _sources(asked: argparse.Namespace) -> Iterator[tuple[str, NDArray[np.uint8] | OSError]]:
    """Names and pixels of what is to be looked at; what can't be read comes as its error."""
    for path in photos_in(asked.photos):
        try:
            yield str(path), read_photo(path)
        except OSError as error:
            yield str(path), error
    if asked.camera is not None:
        for index, pixels in enumerate(camera_frames(asked.camera)):
            yield f"frame-{index:06d}", pixels
            if asked.frames and index + 1 >= asked.frames:
                return


def _save(photo: Image.Image, folder: Path, name: Path) -> None:
    """Save a drawn picture under a name that nothing has yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / f"{name.stem}.jpg", 2
    while path.exists():
        path, number = folder / f"{name.stem}-{number}.jpg", number + 1
    photo.save(path, quality=92)


if __name__ == "__main__":
    sys.exit(main())
