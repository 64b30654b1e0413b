"""The Python face: a trained model and what it finds, for notebooks and programs.

`load("runs/0004-desk-r50").predict("desk.jpg")` is all there is to it; `docs/predict.md` tells the rest.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.analysis import DEFAULT_SCORE, Thresholds
from engine.annotations.picture import load_rgb, to_rgb
from engine.evaluation.drawing import DrawnBoxes, draw_boxes
from engine.evaluation.predict import load_predictor
from engine.modelfile import ModelFile
from engine.prediction.apply import Applier
from engine.prediction.choices import Choices, require_choices
from engine.recipe.schema import AskedPrecision

Pixels: TypeAlias = NDArray[np.uint8]
Photo: TypeAlias = "str | os.PathLike[str] | Image.Image | Pixels"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was found in one picture, best first; N may be 0.

    Attributes:
        boxes_xyxy: (N, 4) float32, pixels of the picture as shown.
        labels: N class names.
        scores: (N,) float32 in [0, 1].
        pixels: (H, W, 3) uint8 RGB, the picture.
        class_names: The classes that the model knows, which decide the colours.
    """

    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    pixels: Pixels = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        counts = Counter(self.labels)
        told = ", ".join(f"{counts[name]} {name}" for name in self.class_names if counts[name]) or "nothing"
        height, width, _ = self.pixels.shape
        return f"<Result: {told}, in {width} x {height} px>"

    def draw(self) -> Image.Image:
        """The picture with boxes, classes and scores."""
        labels = np.array([self.class_names.index(name) for name in self.labels], np.int64)
        return draw_boxes(
            Image.fromarray(self.pixels), self.class_names, DrawnBoxes(self.boxes_xyxy, labels, self.scores)
        )

    def as_dicts(self) -> list[dict[str, Any]]:
        """The detections as plain values: label, score, box_xyxy."""
        rows = zip(self.labels, self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True)
        return [{"label": label, "score": score, "box_xyxy": box} for label, score, box in rows]

    def _repr_png_(self) -> bytes:
        """What notebooks show."""
        file = io.BytesIO()
        self.draw().save(file, "PNG")
        return file.getvalue()


class Model:
    """A trained model; made by `engine.load`.

    Args:
        applier: The model, ready.
    """

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._thresholds = applier.predictor.thresholds

    @property
    def name(self) -> str:
        """The run's id, or the checkpoint's file name."""
        return self._applier.predictor.file.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes it knows."""
        return self._applier.predictor.class_names

    @property
    def threshold(self) -> float:
        """The least score where none is given: the best by F1 on the run's validation photos, else 0.5."""
        return self._thresholds.overall if self._thresholds else DEFAULT_SCORE

    def __repr__(self) -> str:
        predictor = self._applier.predictor
        return f"<Model {self.name}: {predictor.model.arch}, {', '.join(self.class_names)}, on {predictor.device}>"

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str, and is taken for one path
        self, image: Photo, *, threshold: float | None = ..., classes: Sequence[str] = ..., tile: int | None = ...,
        overlap: float = ...,
    ) -> Result: ...

    @overload
    def predict(
        self, image: Sequence[Photo], *, threshold: float | None = ..., classes: Sequence[str] = ...,
        tile: int | None = ..., overlap: float = ...,
    ) -> list[Result]: ...

    def predict(
        self, image: Photo | Sequence[Photo], *, threshold: float | None = None, classes: Sequence[str] = (),
        tile: int | None = None, overlap: float = 0.2,
    ) -> Result | list[Result]:
        """Objects in a picture, or in each of several.

        Args:
            image: A file's path, a Pillow picture, an (H, W, 3) uint8 RGB array, or a list of such.
            threshold: Least score; `Model.threshold` when left out.
            classes: Class names to look for; all when empty.
            tile: Side in pixels of the tiles that large pictures are looked at in, 32 to 8192; whole when left out.
            overlap: Share of a tile that its neighbour shows too, up to 0.9.

        Raises:
            DataError: A file can't be read.
            EngineError: Memory doesn't hold the model with a picture (X109).
            TypeError: An argument is of another type, or it is no picture.
            ValueError: An argument is out of its bounds, a class isn't known, or an array isn't (H, W, 3) uint8.
        """
        require_choices(self.class_names, threshold=threshold, classes=classes, tile=tile, overlap=overlap)
        several = isinstance(image, Sequence) and not isinstance(image, str)
        photos: Sequence[Any] = image if several else [image]  # type: ignore[assignment]
        pixels = [as_pixels(photo) for photo in photos]
        least = self.threshold if threshold is None else threshold
        found = self._applier.apply(pixels, Choices(least, {}, tuple(classes), tile, overlap))
        results = [self._result(one, of) for one, of in zip(found, pixels, strict=True)]
        return results if several else results[0]

    def _result(self, found: DrawnBoxes, pixels: Pixels) -> Result:
        assert found.scores is not None  # predictions have scores
        labels = tuple(self.class_names[label] for label in found.labels.tolist())
        return Result(found.boxes_xyxy, labels, found.scores, pixels, self.class_names)


def as_pixels(photo: Photo) -> Pixels:
    """A picture as an (H, W, 3) uint8 RGB array, turned as its EXIF orientation says.

    Raises:
        DataError: A file can't be read.
        TypeError: It is no picture.
        ValueError: An array isn't (H, W, 3) uint8.
    """
    if isinstance(photo, (str, os.PathLike)):
        return np.array(load_rgb(Path(photo), apply_exif=True), dtype=np.uint8)
    if isinstance(photo, Image.Image):
        return np.array(to_rgb(photo, apply_exif=True), dtype=np.uint8)
    if not isinstance(photo, np.ndarray):
        raise TypeError(f"a picture is a path, a Pillow image or a numpy array, not {type(photo).__name__}")
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise ValueError(f"an array must be (H, W, 3) uint8 RGB, not {photo.shape} {photo.dtype}")
    return photo


def load_model(
    source: str | Path | ModelFile, device: str = "auto", precision: AskedPrecision = "fp32", *,
    runs_dir: Path = Path("runs"),
) -> Model:
    """See `engine.load`."""
    return Model(Applier(load_predictor(source, device, precision, runs_dir=runs_dir)))


__all__ = ["Model", "Photo", "Result", "Thresholds", "load_model"]
