"""Changes to training images, their boxes along with them, that follow from a given generator alone.

The pixels and boxes are changed by torchvision's transforms v2; the numbers they are called with are
drawn here, from a numpy generator made for each image, because torchvision's own random classes draw
from a state shared by the whole process. A picture that a cut would rob of its last object stays as
it was before that cut: a picture with objects never becomes one without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from engine.boxes import area_xyxy, clip_xyxy, iou_xyxy
from engine.data.mosaic import mosaic
from engine.data.picture import Picture
from engine.recipe.schema import Augmentation

LoadPartners = Callable[[np.random.Generator], Sequence[Picture]]

# Greatest width and height of the canvas that zoom-out places a picture on, in pictures.
_GREATEST_ZOOM = 4.0
# No canvas gets a side longer than this, or than the picture's own longest: what doesn't fit is scaled down.
# Detectors resize to less than that anyway, and a photo of 12 megapixels on a canvas of 16 times its area is
# more than a loader should hold.
_LONGEST_CANVAS_PX = 2048
# Overlaps with an object of which SSD's crop draws one to demand. Its seventh choice, the whole picture, is left
# to the probability.
_LEAST_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
_LEAST_CROP_SHARE = 0.3
_GREATEST_CROP_ASPECT = 2.0
_TRIES = 40
# Each of SSD's four photometric changes comes with this probability; contrast comes before or after the others.
_EACH = 0.5
# A third word beside seed and step, so that no image's augmentation is drawn from the same numbers.
_MULTI_SCALE = 0x3CA1E


def augment(
    picture: Picture, augmentation: Augmentation, random: np.random.Generator, load_partners: LoadPartners
) -> Picture:
    """Change a training image as its recipe says.

    Args:
        picture: The image as loaded; untouched.
        augmentation: What may happen.
        random: Where all chance comes from. Whether to mirror is the first thing drawn from it.
        load_partners: Brings the three other images of a mosaic; called only for one.

    Returns:
        The image with its boxes: all within it, none degenerate.
    """
    mirrored = random.random() < augmentation.horizontal_flip
    upside_down = random.random() < augmentation.vertical_flip
    least = augmentation.min_visible
    if random.random() < augmentation.mosaic:
        picture = _with_objects(mosaic(picture, load_partners(random), random, least), picture)
    if random.random() < augmentation.photometric:
        picture = replace(picture, image=photometric(picture.image, random))
    if random.random() < augmentation.zoom_out:
        picture = _with_objects(zoom_out(picture, random), picture)
    if random.random() < augmentation.iou_crop:
        picture = iou_crop(picture, random, least)
    if augmentation.scale_jitter is not None:
        picture = scale_jitter(picture, augmentation.scale_jitter, random, least)
    if mirrored:
        picture = picture.mirrored()
    return picture.upside_down() if upside_down else picture


def in_force(augmentation: Augmentation, epoch: int, num_epochs: int | None) -> Augmentation:
    """What may happen in an epoch: in the last ones (`off_last_epochs`), only the flips.

    Args:
        augmentation: The recipe's.
        epoch: Zero-based epoch.
        num_epochs: Epochs that the run will have; None when nobody knows, so that none is the last.
    """
    if num_epochs is None or epoch < num_epochs - augmentation.off_last_epochs:
        return augmentation
    return Augmentation(
        horizontal_flip=augmentation.horizontal_flip, vertical_flip=augmentation.vertical_flip,
        off_last_epochs=augmentation.off_last_epochs,
    )


def min_size_at(step: int, seed: int, augmentation: Augmentation) -> int | None:
    """The shorter side in pixels that a step's images are resized to, where `multi_scale` asks for several.

    Args:
        step: Zero-based optimizer step of the run.
        seed: The recipe's seed.
        augmentation: What is `in_force` at the step's epoch.

    Returns:
        One of `multi_scale`; None to keep the model's own size.
    """
    if not augmentation.multi_scale:
        return None
    random = np.random.default_rng([seed, step, 0, _MULTI_SCALE])
    return augmentation.multi_scale[int(random.integers(len(augmentation.multi_scale)))]


def photometric(image: Tensor, random: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, each by chance, by as much as SSD does.

    Args:
        image: (3, H, W) uint8 RGB; untouched.
        random: Where chance comes from.

    Returns:
        A new image. Unlike `RandomPhotometricDistort`, channels keep their order: in many a dataset
        the colour is what tells classes apart.
    """
    early, brightness, contrast, saturation, hue = (random.random() < _EACH for _ in range(5))
    factor = random.uniform(0.5, 1.5)
    # Decoded pixels lie channel by channel within each pixel; these functions take a third longer on them.
    image = image.contiguous()
    if brightness:
        image = v2.adjust_brightness(image, random.uniform(0.875, 1.125))
    if contrast and early:
        image = v2.adjust_contrast(image, factor)
    if saturation:
        image = v2.adjust_saturation(image, random.uniform(0.5, 1.5))
    if hue:
        image = v2.adjust_hue(image, random.uniform(-0.05, 0.05))
    return v2.adjust_contrast(image, factor) if contrast and not early else image


def zoom_out(picture: Picture, random: np.random.Generator) -> Picture:
    """Place a picture anywhere on a canvas of its proportions, up to four times as wide and high."""
    zoom = random.uniform(1.0, _GREATEST_ZOOM)
    longest = max(picture.height, picture.width)
    scale = min(1.0, max(_LONGEST_CANVAS_PX, longest) / (zoom * longest))
    height, width = (max(1, round(scale * zoom * size)) for size in (picture.height, picture.width))
    if scale < 1:
        rows, columns = (max(1, round(scale * size)) for size in (picture.height, picture.width))
        picture = picture.resized(min(rows, height), min(columns, width))
    return _placed_anywhere(picture, max(height, picture.height), max(width, picture.width), random)


def iou_crop(picture: Picture, random: np.random.Generator, min_visible: float) -> Picture:
    """Cut a window out that overlaps an object by one of several shares, drawn at random.

    Args:
        picture: The picture; one without objects stays as it is.
        random: Where chance comes from.
        min_visible: An object of which less than this share is left is dropped.

    Returns:
        The window, or the picture itself when none was found.

    Source:
        SSD: Single Shot MultiBox Detector (Liu et al. 2016), section 2.2; torchvision's `RandomIoUCrop`.
    """
    if not len(picture.labels):
        return picture
    boxes = picture.boxes_xyxy.numpy()
    for least_iou in random.permutation(_LEAST_IOUS).tolist():
        for _ in range(_TRIES):
            window = _window(picture.height, picture.width, random)
            if window is not None and _overlaps(boxes, window, least_iou, min_visible):
                return _with_objects(picture.cut(*window, min_visible), picture)
    return picture


def _window(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) of a random window; None where its shape is too long."""
    rows, columns = (max(1, int(random.uniform(_LEAST_CROP_SHARE, 1.0) * size)) for size in (height, width))
    top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    aspect = columns / rows
    return (top, left, rows, columns) if 1 / _GREATEST_CROP_ASPECT <= aspect <= _GREATEST_CROP_ASPECT else None


def _overlaps(
    boxes_xyxy: NDArray[np.float32], window: tuple[int, int, int, int], least_iou: float, min_visible: float
) -> bool:
    """Whether a window overlaps an object by so much, and leaves enough of one."""
    top, left, rows, columns = window
    corners = np.array([[left, top, left + columns, top + rows]], dtype=np.float32)
    inside = area_xyxy(clip_xyxy(boxes_xyxy - corners[:, [0, 1, 0, 1]], columns, rows))
    enough = (inside > 0) & (inside >= min_visible * area_xyxy(boxes_xyxy))
    return bool(enough.any() and iou_xyxy(boxes_xyxy, corners)[enough].max() >= least_iou)


def scale_jitter(
    picture: Picture, factors: tuple[float, ...], random: np.random.Generator, min_visible: float
) -> Picture:
    """Scale a picture's content by a random factor while its size stays.

    Smaller content is placed anywhere on a canvas of the picture's size; of larger content a part is
    seen, one that shows an object if such a part is found.

    Args:
        picture: The picture.
        factors: Least and greatest factor.
        random: Where chance comes from.
        min_visible: An object of which less than this share is left is dropped.

    Returns:
        A picture of the same size; the picture itself when no object would be left.

    Source:
        Simple Copy-Paste (Ghiasi et al. 2021), "large scale jittering".
    """
    factor = random.uniform(min(factors), max(factors))
    height, width = picture.height, picture.width
    if factor <= 1:
        small = picture.resized(max(1, round(factor * height)), max(1, round(factor * width)))
        return _with_objects(_placed_anywhere(small, height, width, random), picture)
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    for _ in range(_TRIES):
        top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
        boxes = picture.boxes_xyxy.numpy()
        if not len(boxes) or _overlaps(boxes, (top, left, rows, columns), 0.0, min_visible):
            part = picture.cut(top, left, rows, columns, min_visible).resized(height, width)
            return _with_objects(part, picture)
    return picture


def _placed_anywhere(picture: Picture, height: int, width: int, random: np.random.Generator) -> Picture:
    top, left = int(random.integers(height - picture.height + 1)), int(random.integers(width - picture.width + 1))
    return picture.placed(top, left, height, width)


def _with_objects(changed: Picture, before: Picture) -> Picture:
    """The changed picture, unless the change took the last object away."""
    return changed if len(changed.labels) or not len(before.labels) else before
