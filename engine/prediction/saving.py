"""What was found in pictures, written in every form that was asked for; no torch."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.annotations.convert import write_names
from engine.annotations.raw import Numbers, RawAnnotation, RawObject
from engine.annotations.writers import Described, voc_xml, yolo_lines
from engine.boxes import clip_xyxy
from engine.evaluation.drawing import DrawnBoxes, draw_boxes, save_jpeg
from engine.prediction.inputs import Picture
from engine.prediction.outputs import Outputs
from engine.rundir import write_bytes_atomic

Pixels = NDArray[np.uint8]

_JPEG_QUALITY = 92
_FRAME_QUALITY = 95
# Pictures that wait to be drawn; each holds its pixels.
_MOST_WAITING = 8
_COLUMNS = ("image", "frame", "time_s", "label", "score", "x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture and what was found in it.

    Attributes:
        picture: The picture, or the frame of a video as one.
        pixels: (H, W, 3) RGB.
        found: Best first, in these pixels.
        frame: Zero-based number within a video.
        time_s: Seconds since the video began.
    """

    picture: Picture
    pixels: Pixels
    found: DrawnBoxes
    frame: int | None = None
    time_s: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def as_json(seen: Seen, class_names: Sequence[str]) -> dict[str, Any]:
    """One picture's detections as plain values; boxes as [x min, y min, x max, y max] in pixels."""
    when = {} if seen.frame is None or seen.time_s is None else {"frame": seen.frame, "time_s": round(seen.time_s, 3)}
    return {"image": str(seen.picture.path), **when, "detections": detections(seen.found, class_names)}


def detections(found: DrawnBoxes, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as plain values."""
    assert found.scores is not None  # predictions have scores
    rows = zip(found.boxes_xyxy.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    return [
        {"label": class_names[label], "score": round(score, 4), "box_xyxy": [round(value, 2) for value in box]}
        for box, label, score in rows
    ]


def drawn(seen: Seen, class_names: Sequence[str]) -> Image.Image:
    """The picture with its boxes."""
    return draw_boxes(Image.fromarray(seen.pixels), class_names, seen.found)


class Saver:
    """Writes what is found; drawing and encoding run in a thread of their own.

    Args:
        outputs: Where to.
        class_names: In the order of labels.
        about: What predictions.json says of the model and the choices.
    """

    def __init__(self, outputs: Outputs, class_names: Sequence[str], about: dict[str, Any]) -> None:
        self.outputs, self.class_names = outputs, tuple(class_names)
        self._about = about
        self.images: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []
        self._coco: list[tuple[str, tuple[int, int], list[dict[str, Any]]]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._waiting: deque[Future[None]] = deque()
        self._table: TextIO | None = None
        outputs.target.mkdir(parents=True, exist_ok=True)
        self._write_index()  # the folder is ours from now on, whatever happens
        if "csv" in outputs.forms:
            self._table = outputs.table.open("w", newline="", encoding="utf-8", errors="backslashreplace")
            csv.writer(self._table).writerow(_COLUMNS)

    def picture(self, seen: Seen, *, remember: bool = True) -> dict[str, Any]:
        """Write a picture's predictions; returns them as plain values.

        Args:
            seen: The picture.
            remember: Keep it for predictions.json; not where pictures never end.
        """
        plain = as_json(seen, self.class_names)
        if remember:
            self.images.append(plain)
        if "pictures" in self.outputs.forms:
            self._later(lambda: save_jpeg(
                drawn(seen, self.class_names), self.outputs.drawn(seen.picture), quality=_JPEG_QUALITY
            ))
        self._labels(seen, None)
        self._row(plain)
        self._remember_coco(seen.picture.name, seen, plain)
        return plain

    def frame(self, seen: Seen) -> dict[str, Any]:
        """Write what label files and tables say of a video's frame; returns it as plain values."""
        plain = as_json(seen, self.class_names)
        if self.outputs.label_forms or "coco" in self.outputs.forms:
            path = self.outputs.frames / "images" / seen.picture.name
            self._later(lambda: save_jpeg(Image.fromarray(seen.pixels), path, quality=_FRAME_QUALITY))
        self._labels(seen, self.outputs.frames)
        self._row(plain)
        self._remember_coco(f"frames/images/{seen.picture.name}", seen, plain)
        return plain

    def close(self) -> None:
        """Wait for what is being drawn, and write what is about all pictures.

        Raises:
            OSError: The disk is full.
        """
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown()
            if self._table is not None:
                self._table.close()
            self._write_index()
            self._write_names_and_coco()

    def index(self) -> dict[str, Any]:
        """What predictions.json says."""
        return {**self._about, "images": self.images, **({"videos": self.videos} if self.videos else {})}

    def _write_index(self) -> None:
        write_bytes_atomic(self.outputs.predictions, json.dumps(self.index(), indent=2).encode())

    def _later(self, job: Callable[[], None]) -> None:
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(job))

    def _labels(self, seen: Seen, within: Path | None) -> None:
        for form in self.outputs.label_forms:
            path = self.outputs.label(form, seen.picture, within)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(label_file(form, seen, self.class_names))

    def _row(self, plain: dict[str, Any]) -> None:
        if self._table is None:
            return
        when = (plain.get("frame", ""), plain.get("time_s", ""))
        rows = ((plain["image"], *when, one["label"], one["score"], *one["box_xyxy"]) for one in plain["detections"])
        csv.writer(self._table).writerows(rows)
        self._table.flush()

    def _remember_coco(self, name: str, seen: Seen, plain: dict[str, Any]) -> None:
        if "coco" in self.outputs.forms:
            corners = _within(seen)
            boxes = [{**one, "box_xyxy": box} for one, box in zip(plain["detections"], corners, strict=True)]
            self._coco.append((name, seen.size, boxes))

    def _write_names_and_coco(self) -> None:
        if "yolo" in self.outputs.forms:
            names = dict(enumerate(self.class_names))
            for folder in {self.outputs.target, *([self.outputs.frames] if self.outputs.frames.is_dir() else [])}:
                write_names(names, folder)
        if "coco" in self.outputs.forms:
            content = coco_content(self._coco, self.class_names)
            write_bytes_atomic(self.outputs.coco, json.dumps(content).encode())
            keys = ("image_id", "category_id", "bbox", "score")
            results = [{key: one[key] for key in keys} for one in content["annotations"]]
            write_bytes_atomic(self.outputs.coco_results, json.dumps(results).encode())


def _within(seen: Seen) -> list[Numbers]:
    """Boxes as labels need them: within the picture and a pixel large at least."""
    width, height = seen.size
    boxes = clip_xyxy(seen.found.boxes_xyxy, width, height).astype(np.float64)
    for low, high, length in ((0, 2, width), (1, 3, height)):
        thin = boxes[:, high] - boxes[:, low] < 1
        boxes[thin, low] = np.clip(np.floor(boxes[thin, low]), 0, max(0, length - 1))
        boxes[thin, high] = boxes[thin, low] + 1
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in boxes.tolist()]


def label_file(form: str, seen: Seen, class_names: Sequence[str]) -> bytes:
    """A picture's predictions as a label file.

    Args:
        form: "voc", in whole pixels as labelling tools write them, or "yolo".
        seen: The picture.
        class_names: In the order of YOLO's ids.
    """
    corners = _within(seen)
    if form == "voc":
        corners = [_whole(box, seen.size) for box in corners]
    objects = tuple(
        RawObject(class_names[label], box, f"object {number}")
        for number, (label, box) in enumerate(zip(seen.found.labels.tolist(), corners, strict=True), 1)
    )
    name = seen.picture.name.encode("utf-8", "backslashreplace").decode()  # a file's name needn't be text
    described = Described(name, seen.size, RawAnnotation("xyxy", objects), tuple(corners))
    if form == "voc":
        return voc_xml(described)
    return yolo_lines(described, {name: label for label, name in enumerate(class_names)}).encode()


def _whole(box: Numbers, size: tuple[int, int]) -> Numbers:
    x0, y0, x1, y1 = (float(round(value)) for value in box)
    x0, y0 = min(x0, size[0] - 1.0), min(y0, size[1] - 1.0)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def coco_content(
    images: Sequence[tuple[str, tuple[int, int], Sequence[dict[str, Any]]]], class_names: Sequence[str]
) -> dict[str, Any]:
    """Predictions in COCO's form, ids counted from 1; objects have a score besides.

    Args:
        images: Name, (width, height) and detections of each picture.
        class_names: The categories.
    """
    ids = {name: number for number, name in enumerate(class_names, start=1)}
    annotations: list[dict[str, Any]] = []
    for image_id, (_, _, found) in enumerate(images, start=1):
        for one in found:
            x0, y0, x1, y1 = one["box_xyxy"]
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": ids[one["label"]],
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "score": one["score"],
            })
    return {
        "images": [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
            for number, (name, size, _) in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
