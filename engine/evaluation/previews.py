"""Preview pictures: predictions and ground truth on the same validation images, epoch after epoch.

Beside the drawn pictures lie the boxes as numbers and the plain photos, for whoever draws them at another
threshold, and the images that went worst in this epoch. Nothing here may harm the training: a photo that can't
be read or a full disk costs a picture and is told in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from PIL import Image

from engine.analysis import judge_images
from engine.annotations import ImageRecord, load_rgb
from engine.errors import DataError
from engine.evaluation.coco import detections_table, ground_truth_table
from engine.evaluation.drawing import DrawnBoxes, draw_boxes, save_jpeg
from engine.evaluation.validate import Validation
from engine.events import Preview, PreviewEvent
from engine.models.detector import Detection
from engine.previewfile import (
    LEAST_SCORE,
    MOST_BOXES,
    EpochPreviews,
    FoundBox,
    Kind,
    PreviewImage,
    TrueBox,
    encode_previews,
)
from engine.rundir import RunDir, write_bytes_atomic

log = logging.getLogger(__name__)

# Large enough to judge boxes by, small enough that 50 epochs of them weigh a few megabytes. An epoch's
# pictures aren't waited for on their way to the disk: a busy one takes longer than drawing, a power cut those at most.
_LONGEST_SIDE = 640
_JPEG_QUALITY = 85
_NUM_WORST = 4


def pick_preview_images(records: Sequence[ImageRecord], count: int) -> list[int]:
    """Which images to draw: spread over the split, those with objects first; the same every epoch."""
    with_objects = [index for index, record in enumerate(records) if len(record.labels)]
    candidates = with_objects or list(range(len(records)))
    count = min(count, len(candidates))
    return [candidates[position * len(candidates) // count] for position in range(count)] if count else []


def pick_worst_images(
    records: Sequence[ImageRecord], validation: Validation, class_names: Sequence[str], score_threshold: float,
    count: int = _NUM_WORST,
) -> list[int]:
    """The images with the most errors, worst first; images without any are none.

    An error is a detection from the threshold on that found no object, or an object that wasn't found, at IoU
    0.50. Of as many errors, the lower F1 is the worse.

    Args:
        records: The validation images.
        validation: What was found; images that weren't measured don't count.
        class_names: The class map's names.
        score_threshold: Detections below it are left out.
        count: How many at most.
    """
    places = validation.measured
    judged = judge_images(
        ground_truth_table([records[place] for place in places], class_names),
        detections_table([validation.detections[place] for place in places]), score_threshold,
    )
    errors = {
        place: (-(one.num_wrong + one.num_missed), one.f1 or 0.0, place)
        for place, one in zip(places, judged, strict=True) if one.num_wrong + one.num_missed
    }
    return sorted(errors, key=errors.__getitem__)[:count]


def make_previews(
    run_dir: RunDir, epoch: int, records: Sequence[ImageRecord], validation: Validation, chosen: Sequence[int],
    class_names: Sequence[str], score_threshold: float,
) -> PreviewEvent:
    """Draw the previews of an epoch, and write down what was found on them and on the worst images.

    Args:
        run_dir: Where to.
        epoch: Zero-based.
        records: The validation images.
        validation: What was found.
        chosen: Which images to draw.
        class_names: The class map's names.
        score_threshold: Least score drawn.
    """
    drawn = draw_previews(run_dir, epoch, records, validation.detections, chosen, class_names, score_threshold)
    worst = pick_worst_images(records, validation, class_names, score_threshold)
    for place in worst:
        _keep_photo(run_dir, place, records[place])
    kinds: tuple[tuple[Kind, Sequence[int]], ...] = (("fixed", chosen), ("worst", worst))
    images = [
        _preview_image(run_dir, records[place], validation.detections[place], place, kind)
        for kind, places in kinds for place in places
    ]
    boxes = EpochPreviews(
        epoch=epoch, class_names=tuple(class_names), score_threshold=score_threshold, images=tuple(images)
    )
    path = run_dir.preview_boxes(epoch)
    try:
        write_bytes_atomic(path, encode_previews(boxes))
    except OSError as error:
        log.warning("the previews' boxes aren't kept: %s", error)
        return PreviewEvent(epoch=epoch, previews=drawn)
    return PreviewEvent(epoch=epoch, previews=drawn, boxes=run_dir.relative(path))


def draw_previews(
    run_dir: RunDir, epoch: int, records: Sequence[ImageRecord], detections: Sequence[Detection],
    chosen: Sequence[int], class_names: Sequence[str], score_threshold: float,
) -> tuple[Preview, ...]:
    """Draw and save the previews of an epoch; an image that can't be read or written any more has none.

    Args:
        run_dir: Where to.
        epoch: Zero-based.
        records: The validation images.
        detections: One an image, in the same order.
        chosen: Which images to draw.
        class_names: The class map's names.
        score_threshold: Least score drawn.
    """
    previews = []
    for position, index in enumerate(chosen):
        record, found = records[index], detections[index]
        shown = found["scores"] >= score_threshold
        predictions = DrawnBoxes(
            found["boxes_xyxy"][shown].numpy(), found["labels"][shown].numpy(), found["scores"][shown].numpy()
        )
        path = run_dir.preview(epoch, position)
        try:
            photo = load_rgb(record.image_path, apply_exif=record.apply_exif)
            picture = draw_boxes(
                photo, class_names, predictions, DrawnBoxes(record.boxes_xyxy, record.labels),
                longest_side=_LONGEST_SIDE,
            )
            save_jpeg(picture, path, quality=_JPEG_QUALITY, durable=False)
        except (DataError, OSError) as error:
            log.warning("no preview: %s", error)
            continue
        previews.append(
            Preview(run_dir.relative(path), record.image_path.name, len(record.labels), int(shown.sum()))
        )
        _keep_photo(run_dir, index, record, photo)
    return tuple(previews)


def _keep_photo(run_dir: RunDir, place: int, record: ImageRecord, photo: Image.Image | None = None) -> None:
    """Write the plain photo of an image, unless that was done before."""
    path = run_dir.preview_photo(place)
    if path.exists():
        return
    try:
        plain = photo or load_rgb(record.image_path, apply_exif=record.apply_exif)
        small = plain.copy()
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        save_jpeg(small, path, quality=_JPEG_QUALITY)
    except (DataError, OSError) as error:
        log.warning("no photo for the previews: %s", error)


def _preview_image(
    run_dir: RunDir, record: ImageRecord, found: Detection, place: int, kind: Kind
) -> PreviewImage:
    truth = [
        TrueBox(int(label), _box(box), bool(excused))
        for label, box, excused in zip(
            record.labels, record.boxes_xyxy, record.crowd | record.difficult, strict=True
        )
    ]
    scores = found["scores"].numpy()
    order = np.argsort(-scores, kind="stable")[:MOST_BOXES]
    surest = [
        # Rounded down, so that no score crosses the threshold that it was judged by.
        FoundBox(int(found["labels"][row]), _box(found["boxes_xyxy"][row].numpy()), int(scores[row] * 1e4) / 1e4)
        for row in order.tolist() if scores[row] >= LEAST_SCORE
    ]
    return PreviewImage(
        name=record.image_path.name, photo=run_dir.relative(run_dir.preview_photo(place)), width=record.width,
        height=record.height, kind=kind, truth=tuple(truth), found=tuple(surest),
    )


def _box(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(value), 1) for value in values)
    return x0, y0, x1, y1
