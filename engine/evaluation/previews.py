"""Preview pictures: predictions and ground truth on the same validation images, epoch after epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from engine.annotations import ImageRecord, load_rgb
from engine.errors import DataError
from engine.evaluation.drawing import DrawnBoxes, draw_boxes, save_jpeg
from engine.events import Preview
from engine.models.detector import Detection
from engine.rundir import RunDir

log = logging.getLogger(__name__)

# Large enough to judge boxes by, small enough that 50 epochs of them weigh a few megabytes.
_LONGEST_SIDE = 640
_JPEG_QUALITY = 85


def pick_preview_images(records: Sequence[ImageRecord], count: int) -> list[int]:
    """Which images to draw: spread over the split, those with objects first; the same every epoch."""
    with_objects = [index for index, record in enumerate(records) if len(record.labels)]
    candidates = with_objects or list(range(len(records)))
    count = min(count, len(candidates))
    return [candidates[position * len(candidates) // count] for position in range(count)] if count else []


def draw_previews(
    run_dir: RunDir, epoch: int, records: Sequence[ImageRecord], detections: Sequence[Detection],
    chosen: Sequence[int], class_names: Sequence[str], score_threshold: float,
) -> tuple[Preview, ...]:
    """Draw and save the previews of an epoch; an image that can't be read any more has none.

    Args:
        run_dir: Where to.
        epoch: Zero-based.
        records: The validation images.
        detections: One an image, in the same order.
        chosen: Which images to draw.
        class_names: The class map's names.
        score_threshold: Least score drawn.

    Raises:
        OSError: The disk is full.
    """
    previews = []
    for position, index in enumerate(chosen):
        record, found = records[index], detections[index]
        shown = found["scores"] >= score_threshold
        predictions = DrawnBoxes(
            found["boxes_xyxy"][shown].numpy(), found["labels"][shown].numpy(), found["scores"][shown].numpy()
        )
        try:
            photo = load_rgb(record.image_path, apply_exif=record.apply_exif)
        except DataError as error:
            log.warning("no preview: %s", error)
            continue
        picture = draw_boxes(
            photo, class_names, predictions, DrawnBoxes(record.boxes_xyxy, record.labels), longest_side=_LONGEST_SIDE
        )
        path = run_dir.preview(epoch, position)
        save_jpeg(picture, path, quality=_JPEG_QUALITY)
        previews.append(
            Preview(run_dir.relative(path), record.image_path.name, len(record.labels), int(shown.sum()))
        )
    return tuple(previews)
